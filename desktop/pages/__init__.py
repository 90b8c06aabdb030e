"""Where features meet: one module or package per page. A new page is one line in PAGES."""

from __future__ import annotations

from desktop.pages.base import Page
from desktop.pages.chat.page import ChatPage

PAGES: tuple[type[Page], ...] = (ChatPage,)
"""In the order of the side bar; the first is the one that the window opens with."""
