"""What is asked at a message, with services whose model plays scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QDesktopServices, QGuiApplication

from engines.memory import Memory

MakePage = Callable[..., Any]


def test_stopped_reply_is_continued_in_its_place(make_page: MakePage) -> None:
    bench = make_page('[[reply]]\ntext = "one two three four five six seven eight"\ntoken_seconds = 0.05')
    bench.begin("Count")
    bench.page.composer.stop_requested.emit()
    bench.wait(lambda: bench.items[-1].state == "stopped")
    bench.page.view.transcript.continue_requested.emit(bench.items[-1].id)
    bench.wait(lambda: bench.items[-1].state == "complete")
    assert bench.texts() == ["Count", "one two three four five six seven eight"]


def test_writing_again_shows_the_new_version_and_the_old_one_can_be_reached(make_page: MakePage) -> None:
    bench = make_page()
    first = bench.send_and_wait("Hello")
    bench.page.view.transcript.regenerate_requested.emit(first.id)
    bench.wait(lambda: len(bench.items) == 2 and bench.items[-1].id != first.id and bench.items[-1].state == "complete")
    second = bench.items[-1]
    bench.wait(lambda: "version 2 of 2" in bench.items[-1].footer)
    bench.page.view.transcript.entry_requested.emit(second.id, "earlier")
    bench.wait(lambda: bench.items[-1].id == first.id)
    bench.page.view.transcript.entry_requested.emit(first.id, "later")
    bench.wait(lambda: bench.items[-1].id == second.id)
    bench.page.view.transcript.entry_requested.emit(second.id, "later")
    bench.wait(lambda: bench.bench.titles() == ["There is no later version."])


def test_model_that_does_not_fit_can_be_loaded_anyway(make_page: MakePage) -> None:
    bench = make_page()
    model = bench.services.models.current
    bench.services.models._current = dataclasses.replace(model, size_bytes=1 << 40)
    bench.services.engine._keeper._leases._memory_now = lambda: Memory(8 << 30, 4 << 30)
    item = bench.send_and_wait("Hello")
    assert item.state == "failed"
    assert "not enough free memory" in item.error_title
    bench.wait(lambda: bench.bench.titles() == ["You can load the model anyway."])
    bench.services.notices.press("anyway", "Load anyway")
    bench.wait(lambda: bench.items[-1].state == "complete")
    assert bench.texts() == ["Hello", "Hello from turn 1."]


def test_reply_and_conversation_are_copied_as_markdown(make_page: MakePage) -> None:
    bench = make_page('[[reply]]\ntext = "**Bold** words"')
    item = bench.send_and_wait("Hello\nthere")
    bench.page.view.transcript.copy_requested.emit(item.id)
    assert QGuiApplication.clipboard().text() == "**Bold** words"
    QGuiApplication.clipboard().clear()
    bench.page.copy_last_reply()
    assert QGuiApplication.clipboard().text() == "**Bold** words"
    bench.page.header.entry_chosen.emit("copy")
    assert QGuiApplication.clipboard().text() == "> Hello\n> there\n\n**Bold** words"


def test_figures_of_a_reply_are_shown_on_request(make_page: MakePage) -> None:
    bench = make_page()
    item = bench.send_and_wait("Hello")
    bench.page.view.transcript.entry_requested.emit(item.id, "details")
    bench.wait(lambda: bool(bench.bench.titles()))
    assert bench.bench.titles()[0].startswith("4 tokens")
    bench.send_and_wait("And on")
    bench.wait(lambda: bench.bench.titles() == [])


def test_continue_and_write_again_wait_for_the_disk_too(make_page: MakePage) -> None:
    bench = make_page('[[reply]]\ntext = "one two three four five six seven eight"\ntoken_seconds = 0.05')
    bench.begin("Count")
    bench.page.composer.stop_requested.emit()
    bench.wait(lambda: bench.items[-1].state == "stopped")
    models, transcript = bench.services.models, bench.page.view.transcript
    models._was_read = False
    transcript.continue_requested.emit(bench.items[-1].id)
    assert not bench.services.chat.is_busy
    models._end_waiting()
    bench.wait(lambda: bench.items[-1].state == "complete")
    first = bench.items[-1].id
    models._was_read = False
    transcript.regenerate_requested.emit(first)
    assert not bench.services.chat.is_busy
    models._end_waiting()
    bench.wait(lambda: bench.items[-1].id != first and bench.items[-1].state == "complete")


def test_link_opens_in_the_browser(make_page: MakePage, monkeypatch: Any) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    bench = make_page()
    bench.page.view.transcript.link_activated.emit("https://example.org/a")
    assert opened == ["https://example.org/a"]


def test_only_messages_of_the_user_are_changed(make_page: MakePage) -> None:
    bench = make_page()
    reply = bench.send_and_wait("Hello")
    bench.page.view.transcript.edit_requested.emit(reply.id)
    assert bench.page.editing_row.isHidden()
    bench.page.view.transcript.edit_requested.emit(bench.items[0].id)
    assert not bench.page.editing_row.isHidden()
    assert bench.page.composer.text() == "Hello"
