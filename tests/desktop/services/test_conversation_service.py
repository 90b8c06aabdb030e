"""The store on the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from desktop.core.conversations.values import Conversation, StoredMessage
from desktop.core.errors import StorageFullError
from desktop.core.paths import AppPaths
from desktop.services.conversation_service import tell_of_problems


def make(bench: Any, *titles: str) -> list[Conversation]:
    store = bench.services.conversations.store
    return [store.create_conversation(title).result(5) for title in titles]


def test_list_is_read_and_searched(workbench: Any) -> None:
    lists: list[list[str]] = []
    service = workbench.services.conversations
    service.list_changed.connect(lambda conversations: lists.append([one.title for one in conversations]))
    make(workbench, "Bread", "Butter")
    service.refresh()
    workbench.wait(lambda: lists == [["Butter", "Bread"]])
    service.set_search("rea")
    workbench.wait(lambda: lists[-1] == ["Bread"])
    service.set_search("")
    workbench.wait(lambda: lists[-1] == ["Butter", "Bread"])


def test_answer_to_an_older_search_is_dropped(workbench: Any) -> None:
    lists: list[list[str]] = []
    service = workbench.services.conversations
    make(workbench, "Bread", "Butter")
    service.list_changed.connect(lambda conversations: lists.append([one.title for one in conversations]))
    service.set_search("Br")
    service.set_search("Bu")
    workbench.wait(lambda: bool(lists))
    assert lists == [["Butter"]]


def test_conversation_is_opened_with_its_messages(workbench: Any) -> None:
    (conversation,) = make(workbench, "Bread")
    workbench.services.conversations.store.add_message(conversation.id, "user", "How long?").result(5)
    opened: list[tuple[Conversation, tuple[StoredMessage, ...]]] = []
    workbench.services.conversations.open(conversation.id, lambda *arguments: opened.append(arguments))
    workbench.wait(lambda: bool(opened))
    assert opened[0][0].title == "Bread"
    assert [message.text for message in opened[0][1]] == ["How long?"]


def test_conversation_that_is_gone_opens_nothing_and_complains_of_nothing(workbench: Any) -> None:
    opened: list[Any] = []
    (conversation,) = make(workbench, "Here")
    service = workbench.services.conversations
    service.open("gone", lambda *arguments: opened.append("gone"))
    service.open(conversation.id, lambda *arguments: opened.append("here"))
    workbench.wait(lambda: bool(opened))
    assert opened == ["here"]
    assert workbench.titles() == []


def test_deleted_conversation_can_be_brought_back(workbench: Any) -> None:
    (conversation,) = make(workbench, "Bread")
    service, notices = workbench.services.conversations, workbench.services.notices
    service.delete(conversation.id)
    workbench.wait(lambda: workbench.titles() == ["“Bread” was deleted."])
    assert service.store.list_conversations().result(5) == ()
    notices.press("deleted", "Undo")
    workbench.wait(lambda: len(service.store.list_conversations().result(5)) == 1)


def test_rename_and_draft_reach_the_disk(workbench: Any) -> None:
    (conversation,) = make(workbench, "Bread")
    service = workbench.services.conversations
    service.rename(conversation.id, "Cake")
    service.save_draft(conversation.id, "half a")
    stored = service.store.get_conversation(conversation.id).result(5)
    assert (stored.title, stored.draft) == ("Cake", "half a")


def test_trouble_with_the_disk_is_said_and_taken_back(workbench: Any) -> None:
    on_problem, on_recovered = tell_of_problems(workbench.services.notices)
    on_problem(StorageFullError("The disk is full."))
    workbench.wait(lambda: workbench.titles() == ["The disk is full."])
    on_recovered()
    workbench.wait(lambda: workbench.titles() == [])


def test_damaged_file_is_said(make_workbench: Callable[..., Any], expect_log: Callable[..., Any]) -> None:
    expect_log("damaged", level=40)
    paths = AppPaths.make()
    paths.ensure()
    Path(paths.database_path).write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    bench = make_workbench()
    bench.wait(lambda: "The file with your conversations was damaged." in bench.titles())
