"""What a page is: a widget with a name that the window can show, and the services that it may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.services.chat_service import ChatService
from desktop.services.conversation_service import ConversationService
from desktop.services.engine_service import EngineService
from desktop.services.fit_service import FitService
from desktop.services.memory_service import MemoryService
from desktop.services.model_service import ModelService
from desktop.services.notices import Notices
from desktop.services.profile import Profile


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a page may ask. Made once, in `desktop.app`."""

    profile: Profile
    notices: Notices
    conversations: ConversationService
    models: ModelService
    memory: MemoryService
    engine: EngineService
    fit: FitService
    chat: ChatService


class Page(QWidget):
    """A page of the window. Subclasses take `Services` and set the three names.

    Signals: menu_requested when the menu button of a narrow window is pressed.
    """

    NAME: ClassVar[str]
    """For the program: unique, lower case."""
    TITLE: ClassVar[str]
    """For people; where the side bar leads to the page."""
    ICON: ClassVar[str]
    """A drawing in assets/icons."""

    menu_requested = Signal()

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.services = services

    def shown(self) -> None:
        """Called when the window turns to this page."""

    def hidden(self) -> None:
        """Called when the window turns away from this page."""

    def take_notices(self, notices: QWidget) -> None:
        """Gives the window's notices a place on this page."""
        raise NotImplementedError

    def set_narrow(self, narrow: bool) -> None:
        """Whether the side bar is a drawer now, so that the page offers a menu button."""

    def areas(self) -> list[QWidget]:
        """What F6 goes through, in reading order."""
        return []

    def handle_escape(self) -> bool:
        """Esc: closes or stops what is uppermost; answers whether there was anything."""
        return False
