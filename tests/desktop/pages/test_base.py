"""What every page is."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QWidget

from desktop.core.assets import find_asset
from desktop.pages import PAGES
from desktop.pages.base import Page


def test_pages_have_names_of_their_own_and_icons_that_exist() -> None:
    names = [page.NAME for page in PAGES]
    assert len(set(names)) == len(names) > 0
    for page in PAGES:
        assert page.TITLE
        assert find_asset(f"icons/{page.ICON}.svg").is_file()


def test_every_page_gives_notices_a_place(workbench: Any, qtbot: Any) -> None:
    for page_class in PAGES:
        page = page_class(workbench.services)
        qtbot.addWidget(page)
        notices = QWidget()
        page.take_notices(notices)
        assert page.isAncestorOf(notices)


def test_page_of_its_own_may_leave_the_rest_as_it_is(workbench: Any, qtbot: Any) -> None:
    class Plain(Page):
        NAME, TITLE, ICON = "plain", "Plain", "info"

    page = Plain(workbench.services)
    qtbot.addWidget(page)
    page.shown()
    page.hidden()
    page.set_narrow(True)
    assert page.areas() == []
    assert not page.handle_escape()
