"""Where features meet: one module or package per page. A new page is one line in PAGES."""

from __future__ import annotations

from desktop.pages.base import Page
from desktop.pages.chat.page import ChatPage
from desktop.pages.models.page import ModelsPage

PAGES: tuple[type[Page], ...] = (ChatPage, ModelsPage)
"""In the order of the side bar; the first is the one that the window opens with."""
