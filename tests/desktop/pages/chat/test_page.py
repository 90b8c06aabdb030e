"""The chat page, used as a person does, with services whose model plays scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engines.client_values import Ready

SLOW = 'name = "Slow"\n[[reply]]\ntext = "one two three four five "\nrepeat = 200\ntoken_seconds = 0.01\n'
MakePage = Callable[..., Any]


def test_message_of_a_new_chat_makes_a_conversation(make_page: MakePage) -> None:
    bench = make_page()
    shown: list[str] = []
    bench.page.conversation_shown.connect(shown.append)
    reply = bench.send_and_wait("Good morning")
    assert bench.texts() == ["Good morning", "Hello from turn 1."]
    assert reply.state == "complete"
    assert "words a second" in reply.footer
    assert reply.footer.endswith("script-1")
    assert bench.page.composer.text() == ""
    assert shown == [bench.page.conversation_id] != [""]
    bench.wait(lambda: bench.page.header.title() == "Good morning")


def test_reply_grows_on_screen_and_the_button_stops_it(make_page: MakePage) -> None:
    bench = make_page(SLOW)
    bench.begin("Count")
    assert bench.page.composer.mode() == "replying"
    first = bench.items[-1].text
    bench.wait(lambda: len(bench.items[-1].text) > len(first) + 20)
    assert bench.items[-1].state == "growing"
    bench.page.composer.stop_requested.emit()
    bench.wait(lambda: bench.items[-1].state == "stopped")
    assert bench.page.composer.mode() == "ready"


def test_escape_stops_the_reply(make_page: MakePage) -> None:
    bench = make_page(SLOW)
    assert not bench.page.handle_escape(), "there was nothing to stop"
    bench.begin("Count")
    assert bench.page.handle_escape()
    bench.wait(lambda: bench.items[-1].state == "stopped")


def test_stop_now_is_offered_where_stop_is_not_heeded(make_page: MakePage) -> None:
    script = '[[reply]]\ntext = "one two three"\n[reply.misbehaves]\nhow = "hang"\nafter_tokens = 2'
    bench = make_page(script, stop_now_after_ms=100)
    bench.begin("Count")
    bench.page.composer.stop_requested.emit()
    bench.wait(lambda: bench.page.composer.mode() == "stoppable_now")
    bench.page.composer.stop_now_requested.emit()
    bench.wait(lambda: bench.items[-1].state == "stopped")
    assert bench.items[-1].text.startswith("one")


def test_context_meter_shows_what_the_engine_counted(make_page: MakePage) -> None:
    bench = make_page('context_tokens = 300\n[[reply]]\ntext = "word "\nrepeat = 100')
    bench.send_and_wait("Go on")
    usage = bench.bench.ended[-1].usage
    assert bench.page.composer._used_share == usage.context_used_tokens / 300


def test_last_message_is_changed_and_the_draft_comes_back_after_a_cancel(make_page: MakePage) -> None:
    bench = make_page()
    bench.send_and_wait("Helo")
    bench.page.composer.set_text("half a thought")
    bench.page.edit_last()
    assert bench.page.composer.text() == "Helo"
    assert bench.page.editing_row.isVisible()
    assert bench.page.handle_escape()
    assert bench.page.composer.text() == "half a thought"
    assert not bench.page.editing_row.isVisible()
    bench.page.edit_last()
    bench.send_and_wait("Hello")
    bench.wait(lambda: bench.texts() == ["Hello", "Hello from turn 1."])
    bench.page.view.transcript.entry_requested.emit(bench.items[-1].id, "earlier")
    bench.wait(lambda: bench.texts()[0] == "Helo")


def test_reply_goes_on_in_its_own_conversation_while_another_is_shown(make_page: MakePage) -> None:
    bench = make_page(SLOW)
    bench.begin("Count")
    busy_id = bench.page.conversation_id
    bench.page.new_chat()
    assert bench.texts() == []
    assert bench.page.composer.mode() == "ready"
    bench.send("Not yet")
    bench.wait(lambda: "A reply is still being written in another conversation." in bench.bench.titles())
    assert bench.page.composer.text() == "Not yet", "nothing that was typed is lost"
    bench.services.notices.press("busy", "Show it")
    bench.wait(lambda: bench.page.conversation_id == busy_id and len(bench.items) == 2)
    before = bench.items[-1].text
    assert before.startswith("one")
    bench.wait(lambda: len(bench.items[-1].text) > len(before) + 20)
    assert bench.items[-1].text.startswith("one two three")
    bench.page.composer.stop_requested.emit()
    bench.wait(lambda: bench.items[-1].state == "stopped")
    bench.wait(lambda: bench.bench.titles() == [])
    bench.page.new_chat()
    assert bench.page.composer.text() == "Not yet"


def test_draft_belongs_to_its_conversation(make_page: MakePage) -> None:
    bench = make_page()
    bench.send_and_wait("Hello")
    first_id = bench.page.conversation_id
    bench.page.composer.set_text("for the first")
    bench.page.new_chat()
    assert bench.page.composer.text() == ""
    bench.page.composer.set_text("for a new one")
    bench.page.open_conversation(first_id)
    bench.wait(lambda: bench.page.conversation_id == first_id)
    assert bench.page.composer.text() == "for the first"
    bench.page.new_chat()
    assert bench.page.composer.text() == "for a new one"
    store = bench.services.conversations.store
    assert store.get_conversation(first_id).result(5).draft == "for the first"


def test_sent_message_leaves_no_draft(make_page: MakePage) -> None:
    bench = make_page()
    bench.send_and_wait("Hello")
    conversation_id = bench.page.conversation_id
    bench.page.composer.set_text("second")
    bench.page.save_draft()
    bench.send_and_wait("second")
    draft = bench.services.conversations.store.get_conversation(conversation_id).result(5).draft
    assert draft == ""


def test_message_that_could_not_be_stored_comes_back(make_page: MakePage) -> None:
    bench = make_page()
    bench.services.conversations.store.close()
    bench.send("Precious words")
    bench.wait(lambda: bench.page.composer.text() == "Precious words")
    assert bench.bench.titles()


def test_crash_is_told_at_the_reply_with_its_details(make_page: MakePage) -> None:
    script = '[[reply]]\ntext = "one two three"\n[reply.misbehaves]\nhow = "segfault"\nafter_tokens = 2'
    bench = make_page(script)
    item = bench.send_and_wait("Count")
    assert item.state == "interrupted"
    assert item.text == "one two"
    assert item.error_title
    assert item.error_advice
    assert "SIGSEGV" in item.error_details or "0xC0000005" in item.error_details
    assert bench.bench.titles() == [], "told once, at its place"
    bench.wait(lambda: isinstance(bench.services.engine.state, Ready))


def test_second_crash_is_told_once(make_page: MakePage) -> None:
    script = '[[reply]]\ntext = "one two"\n[reply.misbehaves]\nhow = "segfault"\nafter_tokens = 1'
    bench = make_page(script)
    bench.send_and_wait("Count")
    item = bench.send_and_wait("Again")
    assert item.error_title
    assert bench.bench.titles() == []


@pytest.mark.slow
def test_long_prompt_says_how_far_it_is_read(make_page: MakePage) -> None:
    bench = make_page('context_tokens = 8192\n[prompt]\nbatch_seconds = 0.2\n[[reply]]\ntext = "Read."')
    bench.send("word " * 3000)
    bench.wait(lambda: bool(bench.items) and bench.items[-1].status.startswith("Reading your message: "))
    bench.wait(lambda: bench.items[-1].text == "Read.")


def test_deleted_conversation_makes_room_for_a_new_chat(make_page: MakePage) -> None:
    bench = make_page()
    bench.send_and_wait("Hello")
    deleted = bench.page.conversation_id
    bench.page.header.entry_chosen.emit("delete")
    assert bench.page.conversation_id == ""
    assert bench.texts() == []
    bench.wait(lambda: bool(bench.bench.titles()))
    bench.page.open_conversation(deleted)
    bench.services.notices.press("deleted", "Undo")
    bench.wait(lambda: len(bench.services.conversations.store.list_conversations().result(5)) == 1)


def test_message_sent_before_the_disk_was_read_is_sent_then(
    make_page: MakePage,
) -> None:
    bench = make_page()
    models = bench.services.models
    models._was_read = False
    bench.send("Quick")
    assert bench.page.composer.text() == "Quick"
    models._end_waiting()
    bench.wait(lambda: bench.texts() == ["Quick", "Hello from turn 1."])


def test_no_model_is_said_with_a_way_out(make_page: MakePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.library.find_starter", lambda catalog: None)
    bench = make_page(None)
    bench.wait(lambda: bench.bench.titles() == ["There is no model on this computer yet."])
    bench.send("Hello")
    assert bench.page.composer.text() == "Hello"
    assert bench.texts() == []


def test_example_is_put_into_the_composer(make_page: MakePage) -> None:
    bench = make_page()
    bench.page.view.empty_state.example_chosen.emit("Explain an error message")
    assert bench.page.composer.text() == "Explain an error message"
