"""The main window: side bar, pages, the window's notices, keys. What the pages do is theirs."""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from PySide6.QtCore import QByteArray, QEvent, QObject, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QSizePolicy, QStackedWidget, QWidget

from desktop.core.conversations.values import Conversation
from desktop.pages import PAGES
from desktop.pages.base import Page, Services
from desktop.pages.chat.memory_figures import computer_state, free_words
from desktop.pages.chat.page import ChatPage
from desktop.pages.models.page import ModelsPage
from desktop.services.notices import Notice, NoticeAction
from desktop.widgets.conversation_list import ConversationEntry
from desktop.widgets.drawer import Drawer
from desktop.widgets.icons import application_icon
from desktop.widgets.keys_panel import KeyEntry, KeysPanel
from desktop.widgets.notice_bar import Notice as ShownNotice
from desktop.widgets.notice_bar import NoticeAction as ShownAction
from desktop.widgets.notice_bar import NoticeBar
from desktop.widgets.side_bar import PageEntry, SearchField, SideBar
from desktop.widgets.theme import ThemeController, scaled

logger = logging.getLogger(__name__)

NARROW_PX = 900
DEFAULT_SIZE = QSize(1280, 800)
MINIMUM_SIZE = QSize(700, 480)
_CLOSING_NOTICE = "closing"
_TEXT_STEP = 0.1


class MainWindow(QMainWindow):
    """The one window.

    Signals: ready_to_type, once, when it has been painted and the composer has the keyboard; closed.
    """

    ready_to_type = Signal()
    closed = Signal()

    def __init__(self, services: Services, theme: ThemeController) -> None:
        super().__init__()
        self._services = services
        self._theme = theme
        self._is_narrow = False
        self._closes_anyway = False
        self.setWindowTitle("Snug")
        self.setWindowIcon(application_icon())
        self.setMinimumSize(MINIMUM_SIZE)
        self.side_bar = SideBar()
        self.notice_bar = NoticeBar()
        self.notice_bar.setContentsMargins(0, 12, 0, 4)
        # As high as its words need at this width, which may be more than at the width that it would like best.
        self.notice_bar.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.pages = {page_class.NAME: page_class(services) for page_class in PAGES}
        chat = self.pages[ChatPage.NAME]
        assert isinstance(chat, ChatPage)
        self.chat = chat
        self._stack = QStackedWidget()
        for page in self.pages.values():
            self._stack.addWidget(page)
            page.menu_requested.connect(self._on_menu_requested)
        content = QWidget()
        self._row = QHBoxLayout(content)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addWidget(self.side_bar)
        self._row.addWidget(self._stack, 1)
        self.setCentralWidget(content)
        self.drawer = Drawer(content)
        self._shortcuts: list[KeyEntry] = []
        self._add_shortcuts()
        self.keys_panel = KeysPanel(self._shortcuts, content)
        self._connect()
        self._restore_geometry()
        self.show_page(self.chat)
        self.installEventFilter(_FirstPaint(self, self.ready_to_type.emit))

    # What is shown

    @property
    def page(self) -> Page:
        """The page on screen."""
        page = self._stack.currentWidget()
        assert isinstance(page, Page)
        return page

    def show_page(self, page: Page) -> None:
        """Turns to a page; the notices come along."""
        before = self._stack.currentWidget()
        if before is not page and isinstance(before, Page):
            before.hidden()
        self._stack.setCurrentWidget(page)
        page.take_notices(self.notice_bar)
        self.side_bar.set_current_page(page.NAME)
        page.shown()

    def open_last_conversation(self) -> None:
        """Where the user was when the window was closed."""
        conversation_id = self._services.profile.state.last_conversation_id
        if conversation_id:
            self.chat.open_conversation(conversation_id)
        else:
            self._services.conversations.find_interrupted(self.chat.open_conversation)

    def raise_to_front(self) -> None:
        """Somebody started Snug a second time."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def let_close(self) -> None:
        """The next close is not asked about: the session ends, and what is there is kept in any case."""
        self._closes_anyway = True

    def close_anyway(self) -> None:
        """Closes without a question; a reply in the making is kept as far as it is."""
        self.let_close()
        self.close()

    # Building

    def _connect(self) -> None:
        services, bar = self._services, self.side_bar
        bar.new_chat_requested.connect(self._on_new_chat)
        bar.search_changed.connect(services.conversations.set_search)
        bar.conversation_activated.connect(self._on_conversation_activated)
        bar.rename_requested.connect(services.conversations.rename)
        bar.delete_requested.connect(self.chat.delete_conversation)
        bar.page_activated.connect(self._on_page_activated)
        bar.set_shortcut_hint(QKeySequence("Ctrl+N").toString(QKeySequence.SequenceFormat.NativeText))
        bar.set_pages(
            PageEntry(page.NAME, page.TITLE, page.ICON) for page in self.pages.values() if page is not self.chat
        )
        self.chat.conversation_shown.connect(self._on_conversation_shown)
        self.chat.keys_requested.connect(self._open_keys)
        models = self.pages[ModelsPage.NAME]
        assert isinstance(models, ModelsPage)
        models.chat_requested.connect(lambda: self.show_page(self.chat))
        self.chat.rename_requested.connect(self._on_rename_requested)
        self.keys_panel.closed.connect(self._on_keys_closed)
        self.drawer.closed.connect(self._on_drawer_closed)
        services.conversations.list_changed.connect(self._on_list_changed)
        services.memory.memory_changed.connect(self._show_memory)
        services.engine.state_changed.connect(self._show_memory)
        services.chat.busy_changed.connect(self._on_busy_changed)
        services.notices.shown.connect(self._on_notice)
        services.notices.removed.connect(self.notice_bar.remove)
        self.notice_bar.action_requested.connect(services.notices.press)
        self.notice_bar.closed.connect(services.notices.remove)
        for notice in services.notices.current():
            self._on_notice(notice)

    def _add_shortcuts(self) -> None:
        # On macOS Ctrl+M, there Command-M, minimises every window.
        choose_model = "Ctrl+Shift+M" if sys.platform == "darwin" else "Ctrl+M"
        for keys, does, call in (
            ("Ctrl+N", self.tr("new chat"), self._on_new_chat),
            ("Ctrl+K", self.tr("search conversations"), self._on_search),
            (choose_model, self.tr("choose model"), self._on_choose_model),
            ("Ctrl+1", self.tr("chat"), lambda: self.show_page(self.chat)),
            ("Ctrl+2", self.tr("models"), lambda: self.show_page(self.pages[ModelsPage.NAME])),
            ("Ctrl+Up", self.tr("change last message"), self.chat.edit_last),
            ("Ctrl+Shift+C", self.tr("copy last reply"), self.chat.copy_last_reply),
            ("Escape", self.tr("stop reply, close panel"), self._on_escape),
            ("F6", self.tr("next area"), self._on_next_area),
            ("Ctrl++", self.tr("larger text"), lambda: self._change_text_size(_TEXT_STEP)),
            ("Ctrl+-", self.tr("smaller text"), lambda: self._change_text_size(-_TEXT_STEP)),
            ("Ctrl+0", self.tr("usual text size"), lambda: self._change_text_size(None)),
            ("Ctrl+/", self.tr("this list"), self._open_keys),
        ):
            self._add_shortcut(keys, call)
            native = QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)
            self._shortcuts.append(KeyEntry(native, does))
        self._add_shortcut("Ctrl+=", lambda: self._change_text_size(_TEXT_STEP))
        self._shortcuts.insert(7, KeyEntry(self.tr("Enter"), self.tr("send")))
        self._shortcuts.insert(8, KeyEntry(self.tr("Shift+Enter"), self.tr("new line")))

    def _add_shortcut(self, keys: str, call: Callable[[], None]) -> None:
        shortcut = QShortcut(QKeySequence(keys), self)
        shortcut.activated.connect(call)
        shortcut.setAutoRepeat(False)

    # Side bar

    def _on_new_chat(self) -> None:
        self.drawer.close_drawer()
        self.show_page(self.chat)
        self.chat.new_chat()

    def _on_search(self) -> None:
        if self._is_narrow:
            self._on_menu_requested()
        self.side_bar.focus_search()

    def _on_conversation_activated(self, conversation_id: str) -> None:
        self.drawer.close_drawer()
        self.show_page(self.chat)
        self.chat.open_conversation(conversation_id)

    def _on_rename_requested(self, conversation_id: str) -> None:
        if self._is_narrow:
            self._on_menu_requested()
        self.side_bar.conversation_list().start_rename(conversation_id)

    def _on_page_activated(self, name: str) -> None:
        self.drawer.close_drawer()
        self.show_page(self.pages[name])

    def _on_conversation_shown(self, conversation_id: str) -> None:
        self.side_bar.set_current_conversation(conversation_id)
        self._services.profile.change_state(last_conversation_id=conversation_id or None)

    def _on_list_changed(self, conversations: tuple[Conversation, ...]) -> None:
        today = datetime.now().astimezone().date()
        self.side_bar.set_conversations(
            ConversationEntry(
                conversation.id, conversation.title or self.tr("New chat"), self._group(conversation.updated_at, today)
            )
            for conversation in conversations
        )

    def _group(self, moment: datetime, today: date) -> str:
        day = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone().date()
        if day >= today:
            return self.tr("Today")
        if day == today - timedelta(days=1):
            return self.tr("Yesterday")
        if day > today - timedelta(days=7):
            return self.tr("Last week")
        if day > today - timedelta(days=30):
            return self.tr("Last month")
        return str(day.year) if day.year != today.year else self.tr("Earlier this year")

    def _show_memory(self, _: object = None) -> None:
        memory = self._services.memory.memory
        if memory is not None:
            state = computer_state(memory, self._services.engine.loaded)
            self.side_bar.set_memory(state, free_words(memory))

    # Narrow windows

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._apply_width()

    def _apply_width(self) -> None:
        is_narrow = self.width() < scaled(NARROW_PX)
        if is_narrow == self._is_narrow:
            return
        self._is_narrow = is_narrow
        self.drawer.close_drawer()
        if is_narrow:
            self.side_bar.hide()
        else:
            self._take_side_bar_back()
            self.side_bar.show()
        for page in self.pages.values():
            page.set_narrow(is_narrow)

    def _on_menu_requested(self) -> None:
        if not self._is_narrow:
            self.side_bar.focus_search()
        elif self.drawer.isHidden():
            self._row.removeWidget(self.side_bar)
            self.drawer.open_with(self.side_bar)
            self.side_bar.focus_search()
        else:
            self.drawer.close_drawer()

    def _on_drawer_closed(self) -> None:
        self._take_side_bar_back()
        self.side_bar.setVisible(not self._is_narrow)
        self.page.shown()

    def _take_side_bar_back(self) -> None:
        if self._row.indexOf(self.side_bar) < 0:
            self._row.insertWidget(0, self.side_bar)

    # Keys

    def _on_escape(self) -> None:
        focused = self.focusWidget()
        if isinstance(focused, SearchField) and focused.text():
            focused.clear()
        elif not self.drawer.isHidden():
            self.drawer.close_drawer()
        elif not self.keys_panel.isHidden():
            self.keys_panel.close_panel()
        else:
            self.page.handle_escape()

    def _open_keys(self) -> None:
        self.keys_panel.open_panel()

    def _on_keys_closed(self) -> None:
        self.page.shown()

    def _on_choose_model(self) -> None:
        self.show_page(self.chat)
        self.chat.header.switcher.click()

    def _on_next_area(self) -> None:
        areas = [self.side_bar.conversation_list(), *self.page.areas()]
        areas = [area for area in areas if area.isVisible()]
        focused = self.focusWidget()
        here = next((i for i, area in enumerate(areas) if focused is area or area.isAncestorOf(focused)), -1)
        areas[(here + 1) % len(areas)].setFocus(Qt.FocusReason.TabFocusReason)

    def _change_text_size(self, step: float | None) -> None:
        self._theme.set_text_scale(1.0 if step is None else self._theme.scale + step)
        self._services.profile.change_settings(text_scale_percent=round(self._theme.scale * 100))
        self._apply_width()

    # Notices

    def _on_notice(self, notice: Notice) -> None:
        self.notice_bar.show_notice(
            ShownNotice(
                key=notice.key,
                severity=notice.severity,
                title=notice.title,
                advice=notice.advice,
                details=notice.details,
                actions=tuple(ShownAction(action.label, action.label) for action in notice.actions),
            )
        )

    # Opening and closing

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._services.memory.start()
        self.page.shown()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._services.chat.is_busy and not self._closes_anyway:
            event.ignore()
            self._ask_about_reply()
            return
        self.chat.save_draft()
        geometry = base64.b64encode(bytes(self.saveGeometry().data())).decode()
        self._services.profile.change_state(window_geometry=geometry)
        self._services.memory.stop()
        event.accept()
        self.closed.emit()

    def _ask_about_reply(self) -> None:
        self._services.notices.show(
            Notice(
                _CLOSING_NOTICE,
                "warning",
                self.tr("A reply is still being written."),
                self.tr("If you close now, what is there is kept, and you can continue it later."),
                actions=(
                    NoticeAction(self.tr("Close and keep what is there"), self.close_anyway),
                    NoticeAction(self.tr("Wait"), lambda: None),
                ),
            )
        )

    def _on_busy_changed(self, is_busy: bool) -> None:
        if not is_busy:
            self._services.notices.remove(_CLOSING_NOTICE)

    def _restore_geometry(self) -> None:
        geometry = self._services.profile.state.window_geometry
        restored = False
        if geometry:
            try:
                restored = self.restoreGeometry(QByteArray(base64.b64decode(geometry, validate=True)))
            except ValueError:
                logger.info("the stored place of the window could not be read")
        if not restored:
            self.resize(DEFAULT_SIZE)
        self._apply_width()


class _FirstPaint(QObject):
    """Calls once, as soon as the window has been painted for the first time and what was waiting has been done."""

    def __init__(self, window: MainWindow, call: Callable[[], None]) -> None:
        super().__init__(window)
        self._window = window
        self._call = call

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._window, self._call)
        return False
