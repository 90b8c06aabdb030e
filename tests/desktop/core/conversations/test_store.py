"""The store as the app uses it: conversations, branches, replies, two processes, the end of the interpreter."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import pytest

from desktop.core.conversations.store import Store
from desktop.core.conversations.values import Conversation, Place, StoredMessage
from desktop.core.errors import NotFoundError, StorageError, StoreClosedError
from engines.base import GenerationOptions, Usage

Result = TypeVar("Result")
TIMEOUT_SECONDS = 20


def get(future: Future[Result]) -> Result:
    """The answer; whoever waits longer than that waits for ever."""
    return future.result(TIMEOUT_SECONDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a profile with spaces 与中文" / "conversations.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same file again and again; everything is closed at the end."""
    stores: list[Store] = []

    def open_one() -> Store:
        stores.append(Store(path))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def conversation(store: Store) -> Conversation:
    return get(store.create_conversation())


def _texts(messages: tuple[StoredMessage, ...]) -> list[str]:
    return [message.text for message in messages]


# Conversations


def test_everything_comes_back_after_a_restart(open_store: Callable[[], Store]) -> None:
    store = open_store()
    conversation = get(store.create_conversation())
    get(store.add_message(conversation.id, "system", "Answer in 中文 🦊"))
    get(store.add_message(conversation.id, "user", "What is a *fox*?"))
    options = GenerationOptions(temperature=0.0, seed=7, stop=("END",))
    usage = Usage(prompt_tokens=12, generated_tokens=3, decode_seconds=0.5, time_to_first_token_seconds=0.1, seed=7)
    reply = get(
        store.begin_reply(
            conversation.id, model_name="Tiny", model_path="/models/tiny.gguf", engine="llama", options=options
        )
    )
    store.append_reply(reply.id, "", "It is an animal.")
    store.append_reply(reply.id, "A ")
    store.append_reply(reply.id, "fox.")
    get(store.finish_reply(reply.id, "complete", "end", usage))
    get(store.save_draft(conversation.id, "And what is"))
    store.close()

    again = open_store()
    (found,) = get(again.list_conversations())
    assert found.title == "What is a fox?"
    assert not found.title_by_user
    assert found.draft == "And what is"
    assert found.created_at <= found.updated_at
    system, user, assistant = get(again.load_messages(conversation.id))
    assert (system.role, system.text, system.state) == ("system", "Answer in 中文 🦊", "complete")
    assert (user.role, user.parent_id) == ("user", system.id)
    assert (assistant.text, assistant.thinking) == ("A fox.", "It is an animal.")
    assert (assistant.state, assistant.reason, assistant.error) == ("complete", "end", "")
    assert (assistant.model_name, assistant.model_path, assistant.engine) == ("Tiny", "/models/tiny.gguf", "llama")
    assert (assistant.options, assistant.usage) == (options, usage)
    assert assistant.finished_at is not None
    assert not assistant.can_continue


def test_last_used_conversation_is_listed_first(store: Store) -> None:
    first = get(store.create_conversation("first"))
    second = get(store.create_conversation("second"))
    assert [found.id for found in get(store.list_conversations())] == [second.id, first.id]
    get(store.add_message(first.id, "user", "again"))
    assert [found.id for found in get(store.list_conversations())] == [first.id, second.id]


def test_search_finds_all_words_in_titles_whatever_their_case(store: Store) -> None:
    for title in ("Über Füchse", "Foxes and hens", "100% of 50_000", "关于狐狸"):
        get(store.create_conversation(title))

    def found(search: str) -> list[str]:
        return [conversation.title for conversation in get(store.list_conversations(search))]

    assert found("ÜBER") == ["Über Füchse"]
    assert found("hens foxes") == ["Foxes and hens"]
    assert found("0% _") == ["100% of 50_000"]
    assert found("狐") == ["关于狐狸"]
    assert found("hens wolves") == []
    assert len(found("")) == 4


def test_name_of_the_user_is_never_replaced(store: Store, conversation: Conversation) -> None:
    get(store.rename(conversation.id, "Mine"))
    get(store.add_message(conversation.id, "user", "Something else"))
    named = get(store.get_conversation(conversation.id))
    assert (named.title, named.title_by_user) == ("Mine", True)


def test_title_comes_from_the_first_message_of_the_user_only(store: Store, conversation: Conversation) -> None:
    get(store.add_message(conversation.id, "user", "First"))
    get(store.add_message(conversation.id, "user", "Second"))
    assert get(store.get_conversation(conversation.id)).title == "First"


def test_deleted_conversation_lies_in_the_bin_until_it_is_restored(store: Store, conversation: Conversation) -> None:
    get(store.add_message(conversation.id, "user", "Hello"))
    assert get(store.delete(conversation.id)).deleted_at is not None
    assert get(store.list_conversations()) == ()
    assert [found.id for found in get(store.list_conversations(in_bin=True))] == [conversation.id]
    assert get(store.restore(conversation.id)).deleted_at is None
    assert _texts(get(store.load_messages(conversation.id))) == ["Hello"]
    assert get(store.list_conversations(in_bin=True)) == ()


def test_erased_conversation_is_gone_with_its_messages(store: Store, conversation: Conversation) -> None:
    message = get(store.add_message(conversation.id, "user", "Hello"))
    get(store.begin_reply(conversation.id))
    get(store.erase(conversation.id))
    questions: list[Future[Any]] = [store.get_message(message.id), store.load_messages(conversation.id)]
    for question in questions:
        with pytest.raises(NotFoundError):
            get(question)


def test_what_does_not_exist_is_said_in_words(store: Store) -> None:
    questions: list[Future[Any]] = [
        store.load_messages("none"),
        store.rename("none", "x"),
        store.add_message("none", "user", "x"),
        store.begin_reply("none"),
        store.finish_reply("none", "complete"),
        store.reopen_reply("none"),
        store.choose_branch("none"),
    ]
    for question in questions:
        with pytest.raises(NotFoundError) as caught:
            get(question)
        assert "does not exist" in caught.value.title


def test_broken_characters_from_outside_do_not_stop_a_message(store: Store, conversation: Conversation) -> None:
    message = get(store.add_message(conversation.id, "user", "half \ud83d and \x00 zero"))
    assert message.text == "half ? and \x00 zero"
    reply = get(store.begin_reply(conversation.id))
    store.append_reply(reply.id, "\udc00\x00!")
    assert get(store.finish_reply(reply.id, "complete")).text == "?\x00!"


# Branches


def test_second_reply_to_the_same_question_is_a_branch(store: Store, conversation: Conversation) -> None:
    question = get(store.add_message(conversation.id, "user", "Question"))
    replies = []
    for text in ("one", "two"):
        reply = get(store.begin_reply(conversation.id, parent=question.id))
        store.append_reply(reply.id, text)
        replies.append(get(store.finish_reply(reply.id, "complete", "end")))
    shown = get(store.load_messages(conversation.id))
    assert _texts(shown) == ["Question", "two"]
    assert shown[-1].sibling_ids == (replies[0].id, replies[1].id)
    get(store.choose_branch(replies[0].id))
    assert _texts(get(store.load_messages(conversation.id))) == ["Question", "one"]


def test_edited_first_message_begins_a_branch_of_its_own(store: Store, conversation: Conversation) -> None:
    first = get(store.add_message(conversation.id, "user", "First"))
    get(store.add_message(conversation.id, "assistant", "Answer"))
    get(store.add_message(conversation.id, "user", "More"))
    get(store.add_message(conversation.id, "user", "First, edited", parent=Place.AT_START))
    shown = get(store.load_messages(conversation.id))
    assert _texts(shown) == ["First, edited"]
    assert shown[0].sibling_ids == (first.id, shown[0].id)
    get(store.choose_branch(first.id))
    assert _texts(get(store.load_messages(conversation.id))) == ["First", "Answer", "More"]


def test_message_cannot_hang_on_another_conversation(store: Store, conversation: Conversation) -> None:
    foreign = get(store.add_message(get(store.create_conversation()).id, "user", "Elsewhere"))
    with pytest.raises(NotFoundError):
        get(store.add_message(conversation.id, "user", "Here", parent=foreign.id))
    assert get(store.load_messages(conversation.id)) == ()


# Replies


def test_growing_reply_can_be_read_while_it_grows(store: Store, conversation: Conversation) -> None:
    reply = get(store.begin_reply(conversation.id))
    assert (reply.state, reply.text, reply.finished_at) == ("growing", "", None)
    store.append_reply(reply.id, "So ")
    store.append_reply(reply.id, "far", "Hm")
    seen = get(store.get_message(reply.id))
    assert (seen.state, seen.text, seen.thinking) == ("growing", "So far", "Hm")


@pytest.mark.parametrize(("state", "reason"), [("stopped", "cancelled"), ("failed", ""), ("interrupted", "")])
def test_cut_off_reply_continues_where_it_ended(
    store: Store, conversation: Conversation, state: str, reason: str
) -> None:
    reply = get(store.begin_reply(conversation.id))
    store.append_reply(reply.id, "One, two", "Counting")
    ended = get(store.finish_reply(reply.id, state, reason, error="The engine stopped."))  # type: ignore[arg-type]
    assert (ended.state, ended.error, ended.can_continue) == (state, "The engine stopped.", True)

    reopening = store.reopen_reply(reply.id)
    store.append_reply(reply.id, ", three")  # without waiting for the answer
    assert get(reopening).state == "growing"
    store.append_reply(reply.id, ", four", " on")
    done = get(store.finish_reply(reply.id, "complete", "end"))
    assert (done.text, done.thinking) == ("One, two, three, four", "Counting on")
    assert (done.state, done.reason, done.error, done.can_continue) == ("complete", "end", "", False)


def test_reply_that_is_growing_cannot_be_reopened(store: Store, conversation: Conversation) -> None:
    reply = get(store.begin_reply(conversation.id))
    with pytest.raises(NotFoundError):
        get(store.reopen_reply(reply.id))


def test_text_after_the_end_changes_nothing(store: Store, conversation: Conversation) -> None:
    reply = get(store.begin_reply(conversation.id))
    store.append_reply(reply.id, "Done")
    get(store.finish_reply(reply.id, "complete", "end"))
    store.append_reply(reply.id, " too late")
    later = get(store.get_message(reply.id))
    assert (later.text, later.state) == ("Done", "complete")


def test_reply_of_an_erased_conversation_is_no_problem_for_the_others(store: Store, conversation: Conversation) -> None:
    lost = get(store.begin_reply(get(store.create_conversation()).id))
    kept = get(store.begin_reply(conversation.id))
    get(store.erase(lost.conversation_id))
    store.append_reply(lost.id, "nowhere to go")
    store.append_reply(kept.id, "here")
    assert get(store.finish_reply(kept.id, "complete")).text == "here"


def test_appending_never_waits_for_the_disk(store: Store, conversation: Conversation) -> None:
    reply = get(store.begin_reply(conversation.id))
    release, blocked = threading.Event(), threading.Event()

    def block(_: object) -> None:
        blocked.set()
        release.wait(TIMEOUT_SECONDS)

    # A callback of a future runs on the store's thread: it stands still meanwhile.
    store.list_conversations().add_done_callback(block)
    assert blocked.wait(TIMEOUT_SECONDS)
    for _ in range(10_000):
        store.append_reply(reply.id, "x")
    release.set()
    assert get(store.finish_reply(reply.id, "complete")).text == "x" * 10_000


# The end


def test_closing_writes_everything_and_marks_what_was_growing(open_store: Callable[[], Store]) -> None:
    store = open_store()
    conversation = get(store.create_conversation())
    reply = get(store.begin_reply(conversation.id))
    store.append_reply(reply.id, "to be ")
    late = store.add_message(conversation.id, "user", "queued before the end")
    store.append_reply(reply.id, "continued")
    store.close()
    store.close()
    assert late.done()
    found = get(open_store().get_message(reply.id))
    assert (found.text, found.state, found.can_continue) == ("to be continued", "interrupted", True)


def test_closed_store_answers_with_an_error_and_ignores_text(store: Store, conversation: Conversation) -> None:
    store.close()
    store.append_reply("any", "text")
    with pytest.raises(StoreClosedError):
        get(store.list_conversations())


def test_store_can_be_closed_from_a_callback(store: Store) -> None:
    closed = threading.Event()

    def close(_: object) -> None:
        store.close()
        closed.set()

    store.list_conversations().add_done_callback(close)
    assert closed.wait(TIMEOUT_SECONDS)


def test_file_that_cannot_be_opened_fails_every_call_with_the_same_words(tmp_path: Path) -> None:
    (tmp_path / "conversations.db").mkdir()
    store = Store(tmp_path / "conversations.db")
    with pytest.raises(StorageError) as opening:
        get(store.opened)
    with pytest.raises(StorageError) as listing:
        get(store.list_conversations())
    store.close()
    assert opening.value.title == listing.value.title
    assert opening.value.advice


_FORGETFUL = """
import sys
from pathlib import Path
from desktop.core.conversations.store import Store
store = Store(Path(sys.argv[1]))
conversation = store.create_conversation("forgotten").result()
reply = store.begin_reply(conversation.id).result()
print(reply.id)
store.append_reply(reply.id, "written at the very end")
{ending}
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise RuntimeError"])
def test_program_that_forgets_to_close_loses_nothing_and_ends(
    ending: str, path: Path, open_store: Callable[[], Store]
) -> None:
    program = _FORGETFUL.format(ending=ending)
    finished = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    found = get(open_store().get_message(finished.stdout.strip()))
    assert (found.text, found.state) == ("written at the very end", "interrupted")


# Two processes


_SECOND_PROCESS = """
import sys
from pathlib import Path
from desktop.core.conversations.store import Store
store = Store(Path(sys.argv[1]))
print("interrupted", store.opened.result().interrupted_count, flush=True)
conversation_id = sys.argv[2]
for number in range(100):
    store.add_message(conversation_id, "user", f"theirs {number}").result()
reply = store.begin_reply(conversation_id).result()
for number in range(100):
    store.append_reply(reply.id, f"{number} ")
store.finish_reply(reply.id, "complete", "end").result()
store.close()
print("done", flush=True)
"""


def test_two_processes_write_at_the_same_time(store: Store, conversation: Conversation, path: Path) -> None:
    theirs = get(store.create_conversation("theirs"))
    growing = get(store.begin_reply(conversation.id))
    store.append_reply(growing.id, "still ")
    with subprocess.Popen(
        [sys.executable, "-c", _SECOND_PROCESS, str(path), theirs.id], stdout=subprocess.PIPE, text=True
    ) as second:
        assert second.stdout is not None
        # Our growing reply has a living owner: the other process leaves it alone.
        assert second.stdout.readline() == "interrupted 0\n"
        for number in range(100):
            get(store.add_message(conversation.id, "user", f"ours {number}"))
            store.append_reply(growing.id, "growing ")
        assert second.stdout.readline() == "done\n"
    assert second.returncode == 0
    assert get(store.finish_reply(growing.id, "complete")).text == "still " + "growing " * 100
    assert _texts(get(store.load_messages(conversation.id)))[1:] == [f"ours {number}" for number in range(100)]
    *messages, reply = get(store.load_messages(theirs.id))
    assert [message.text for message in messages] == [f"theirs {number}" for number in range(100)]
    assert reply.text == "".join(f"{number} " for number in range(100))
