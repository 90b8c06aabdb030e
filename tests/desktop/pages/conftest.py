"""A chat page on the services of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from desktop.pages.chat.page import ChatPage
from desktop.widgets.transcript_model import MessageItem


class PageBench:
    """A shown chat page and the workbench behind it."""

    def __init__(self, bench: Any, page: ChatPage) -> None:
        self.bench = bench
        self.services = bench.services
        self.page = page
        self.wait = bench.wait

    @property
    def items(self) -> list[MessageItem]:
        """What the transcript shows."""
        return list(self.page.view.transcript.model)

    def texts(self) -> list[str]:
        return [item.text for item in self.items]

    def send(self, text: str) -> None:
        """As by Enter."""
        self.page.composer.set_text(text)
        self.page.composer.text_field().send_pressed.emit()

    def send_and_wait(self, text: str) -> MessageItem:
        """Until the reply has ended."""
        count = len(self.bench.ended)
        self.send(text)
        self.wait(lambda: len(self.bench.ended) > count)
        return self.items[-1]

    def begin(self, text: str) -> None:
        """Until the reply has its first words."""
        self.send(text)
        self.wait(lambda: bool(self.items) and self.items[-1].role == "assistant" and self.items[-1].text != "")


@pytest.fixture
def make_page(make_workbench: Callable[..., Any], qtbot: Any) -> Callable[..., PageBench]:
    """`make_page(script)` shows a chat page whose model plays `script`."""

    def make(script: Any = "", **engine_options: Any) -> PageBench:
        bench = make_workbench(script, **engine_options) if script != "" else make_workbench(**engine_options)
        page = ChatPage(bench.services)
        qtbot.addWidget(page)
        page.resize(1000, 700)
        page.show()
        qtbot.waitExposed(page)
        return PageBench(bench, page)

    return make
