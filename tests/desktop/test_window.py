"""The main window: side bar, pages, notices, keys, narrow and wide, opening and closing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from desktop.core.settings import load_settings, load_state
from desktop.services.notices import NoticeAction
from desktop.widgets.composer import ComposerText
from desktop.widgets.text import Text
from desktop.widgets.theme import ThemeController
from desktop.window import MainWindow

SLOW = 'name = "Slow"\n[[reply]]\ntext = "one two three four five "\nrepeat = 200\ntoken_seconds = 0.01\n'
LOCAL = datetime.now().astimezone().tzinfo
NO_MODIFIER = Qt.KeyboardModifier.NoModifier
CTRL = Qt.KeyboardModifier.ControlModifier


def shown_notices(bench: WindowBench) -> list[str]:
    return bench.window.notice_bar.keys()


class WindowBench:
    def __init__(self, bench: Any, window: MainWindow) -> None:
        self.bench = bench
        self.window = window
        self.wait = bench.wait

    def press(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = NO_MODIFIER) -> None:
        QTest.keyClick(QApplication.focusWidget() or self.window, key, modifiers)

    def send_and_wait(self, text: str) -> None:
        count = len(self.bench.ended)
        self.window.chat.composer.set_text(text)
        self.window.chat.composer.text_field().send_pressed.emit()
        self.wait(lambda: len(self.bench.ended) > count)

    def titles(self) -> list[str]:
        return self.window.side_bar.conversation_list().titles()


@pytest.fixture
def make_window(make_workbench: Callable[..., Any], qtbot: Any) -> Iterator[Callable[..., WindowBench]]:
    themes: list[ThemeController] = []

    def make(script: Any = "", size: tuple[int, int] = (1280, 800)) -> WindowBench:
        bench = make_workbench(script) if script else make_workbench()
        if not themes:
            themes.append(ThemeController(QApplication.instance()))
            themes[0].apply()
        window = MainWindow(bench.services, themes[0])
        qtbot.addWidget(window)
        window.resize(*size)
        window.show()
        qtbot.waitExposed(window)
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
        window.page.shown()
        bench.wait(lambda: bench.services.memory.memory is not None)
        return WindowBench(bench, window)

    yield make
    for theme in themes:
        theme.set_text_scale(1.0)
        theme.deleteLater()


def test_one_can_type_as_soon_as_it_is_shown(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    assert isinstance(QApplication.focusWidget(), ComposerText)
    assert bench.window.windowTitle() == "Snug"


def test_conversations_stand_in_the_side_bar_and_can_be_opened(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.send_and_wait("First question")
    first = bench.window.chat.conversation_id
    bench.press(Qt.Key.Key_N, CTRL)
    assert bench.window.chat.conversation_id == ""
    bench.send_and_wait("Second question")
    bench.wait(lambda: bench.titles() == ["Today", "Second question", "First question"])
    bench.window.side_bar.conversation_activated.emit(first)
    bench.wait(lambda: bench.window.chat.conversation_id == first)
    assert bench.window.side_bar.conversation_list().current_id() == first
    assert bench.bench.services.profile.state.last_conversation_id == first


def test_search_shows_matching_titles_only(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.send_and_wait("Bread with seeds")
    bench.window.chat.new_chat()
    bench.send_and_wait("Butter")
    bench.press(Qt.Key.Key_K, CTRL)
    QTest.keyClicks(QApplication.focusWidget(), "seeds")
    bench.wait(lambda: bench.titles() == ["Today", "Bread with seeds"])
    bench.press(Qt.Key.Key_Escape)
    bench.wait(lambda: len(bench.titles()) == 3)


def test_rename_and_delete_from_the_side_bar(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.send_and_wait("Helo")
    conversation_id = bench.window.chat.conversation_id
    bench.window.side_bar.rename_requested.emit(conversation_id, "Hello")
    bench.wait(lambda: bench.titles() == ["Today", "Hello"])
    bench.wait(lambda: bench.window.chat.header.title() == "Hello")
    bench.window.side_bar.delete_requested.emit(conversation_id)
    bench.wait(lambda: bench.titles() == [])
    assert bench.window.chat.conversation_id == ""


def test_memory_of_this_computer_is_shown(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    assert bench.window.side_bar._free.full_text().endswith("free")
    bench.send_and_wait("Hello")
    bench.wait(lambda: len(bench.window.side_bar._memory.state().parts) == 3)


@pytest.mark.parametrize(
    ("moment", "group"),
    [
        (datetime(2026, 11, 20, 8, tzinfo=LOCAL), "Today"),
        (datetime(2026, 11, 19, 23, tzinfo=LOCAL), "Yesterday"),
        (datetime(2026, 11, 15, 12, tzinfo=LOCAL), "Last week"),
        (datetime(2026, 11, 1, 12, tzinfo=LOCAL), "Last month"),
        (datetime(2026, 3, 1, 12, tzinfo=LOCAL), "Earlier this year"),
        (datetime(2024, 3, 1, 12, tzinfo=LOCAL), "2024"),
    ],
)
def test_groups_are_named_by_day(make_window: Callable[..., WindowBench], moment: datetime, group: str) -> None:
    window = make_window().window
    assert window._group(moment, date(2026, 11, 20)) == group


def test_narrow_window_keeps_the_side_bar_in_a_drawer(make_window: Callable[..., WindowBench], qtbot: Any) -> None:
    bench = make_window(size=(800, 600))
    window = bench.window
    assert not window.side_bar.isVisible()
    window.chat.header._menu_button.click()
    assert window.side_bar.isVisible()
    assert window.side_bar.parent() is window.drawer
    bench.press(Qt.Key.Key_Escape)
    assert not window.side_bar.isVisible()
    assert isinstance(QApplication.focusWidget(), ComposerText)
    window.chat.header._menu_button.click()
    QTest.mouseClick(window.drawer, Qt.MouseButton.LeftButton, pos=QPoint(700, 300))
    assert not window.side_bar.isVisible()
    window.resize(1200, 700)
    qtbot.waitUntil(window.side_bar.isVisible)
    assert window.side_bar.parent() is window.centralWidget()
    assert not window.chat.header._menu_button.isVisible()


def test_drawer_closes_when_the_window_becomes_wide(make_window: Callable[..., WindowBench], qtbot: Any) -> None:
    window = make_window(size=(800, 600)).window
    window.chat.header._menu_button.click()
    window.resize(1200, 700)
    qtbot.waitUntil(lambda: window.side_bar.parent() is window.centralWidget())
    assert window.side_bar.isVisible()
    assert window.drawer.isHidden()


def test_drawer_closes_when_a_conversation_is_chosen(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window(size=(800, 600))
    bench.send_and_wait("Hello")
    conversation_id = bench.window.chat.conversation_id
    bench.window.chat.new_chat()
    bench.window.chat.header._menu_button.click()
    bench.window.side_bar.conversation_activated.emit(conversation_id)
    assert bench.window.drawer.isHidden()
    bench.wait(lambda: bench.window.chat.conversation_id == conversation_id)


def test_search_key_opens_the_drawer_of_a_narrow_window(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window(size=(800, 600))
    bench.press(Qt.Key.Key_K, CTRL)
    assert bench.window.side_bar.isVisible()
    assert QApplication.focusWidget() is bench.window.side_bar._search


def test_list_of_keys_opens_and_closes(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.press(Qt.Key.Key_Slash, CTRL)
    assert bench.window.keys_panel.isVisible()
    bench.press(Qt.Key.Key_Escape)
    assert not bench.window.keys_panel.isVisible()
    assert isinstance(QApplication.focusWidget(), ComposerText)


def test_escape_stops_the_reply(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window(SLOW)
    bench.window.chat.composer.set_text("Count")
    bench.press(Qt.Key.Key_Return)
    bench.wait(lambda: bench.bench.services.chat.live is not None and bench.bench.services.chat.live.message.text != "")
    bench.press(Qt.Key.Key_Escape)
    bench.wait(lambda: len(bench.bench.ended) == 1)
    assert bench.bench.ended[0].state == "stopped"


def test_f6_goes_round_all_areas(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.send_and_wait("Hello")
    window = bench.window
    seen = []
    for _ in range(4):
        bench.press(Qt.Key.Key_F6)
        seen.append(QApplication.focusWidget())
    assert seen == [
        window.side_bar.conversation_list(),
        window.chat.header.switcher,
        window.chat.view.transcript,
        window.chat.composer.text_field(),
    ]


def test_model_key_opens_the_choice(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.press(Qt.Key.Key_M, CTRL)
    menu = QApplication.activePopupWidget()
    assert menu is not None
    menu.close()


def test_text_size_changes_and_is_remembered(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.press(Qt.Key.Key_Plus, CTRL)
    bench.press(Qt.Key.Key_Plus, CTRL)
    assert bench.bench.services.profile.settings.text_scale_percent == 120
    bench.press(Qt.Key.Key_Minus, CTRL)
    assert bench.bench.services.profile.settings.text_scale_percent == 110
    bench.press(Qt.Key.Key_0, CTRL)
    assert bench.bench.services.profile.settings.text_scale_percent == 100
    bench.press(Qt.Key.Key_Plus, CTRL)
    bench.bench.services.profile.close()
    assert load_settings(bench.bench.paths.settings_path)[0].text_scale_percent == 110


def test_large_text_makes_a_window_narrow_earlier(make_window: Callable[..., WindowBench], qtbot: Any) -> None:
    bench = make_window(size=(1000, 700))
    assert bench.window.side_bar.isVisible()
    bench.window._change_text_size(0.5)
    assert not bench.window.side_bar.isVisible()


def test_notice_is_shown_pressed_and_taken_away(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    pressed: list[str] = []
    notices = bench.bench.services.notices
    notices.show_warning("Look out.", key="k", actions=(NoticeAction("Do it", lambda: pressed.append("done")),))
    bench.wait(lambda: bench.window.notice_bar.keys() == ["k"])
    bench.window.notice_bar.action_requested.emit("k", "Do it")
    assert pressed == ["done"]
    assert bench.window.notice_bar.keys() == []
    notices.show_info("Fine.", key="other")
    bench.wait(lambda: bench.window.notice_bar.keys() == ["other"])
    bench.window.notice_bar.closed.emit("other")
    bench.wait(lambda: notices.current() == ())


@pytest.mark.parametrize("size", [(700, 600), (900, 600), (1280, 800)])
def test_every_line_of_a_notice_has_room(make_window: Callable[..., WindowBench], size: tuple[int, int]) -> None:
    bench = make_window(size=size)
    advice = "If you close now, what is there is kept, and you can continue it later. Nothing that you wrote is lost."
    actions = (NoticeAction("Close and keep what is there", lambda: None), NoticeAction("Wait", lambda: None))
    bench.bench.services.notices.show_warning("A reply is still being written.", advice, key="k", actions=actions)
    bench.wait(lambda: bench.window.notice_bar.keys() == ["k"])
    QApplication.processEvents()
    for text in bench.window.notice_bar.findChildren(Text):
        assert text.height() >= text.heightForWidth(text.width()), text.full_text()


def test_closing_in_mid_reply_asks_first(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window(SLOW)
    bench.window.chat.composer.set_text("Count")
    bench.window.chat.composer.text_field().send_pressed.emit()
    bench.wait(lambda: bench.bench.services.chat.live is not None and bench.bench.services.chat.live.message.text != "")
    closed: list[bool] = []
    bench.window.closed.connect(lambda: closed.append(True))
    bench.window.close()
    assert bench.window.isVisible()
    bench.wait(lambda: "closing" in shown_notices(bench))
    bench.bench.services.notices.press("closing", "Wait")
    assert bench.window.isVisible()
    bench.window.close()
    bench.wait(lambda: "closing" in shown_notices(bench))
    bench.bench.services.notices.press("closing", "Close and keep what is there")
    assert not bench.window.isVisible()
    assert closed == [True]


def test_question_about_a_reply_goes_away_with_it(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window(SLOW)
    bench.window.chat.composer.set_text("Count")
    bench.window.chat.composer.text_field().send_pressed.emit()
    bench.wait(lambda: bench.bench.services.chat.live is not None and bench.bench.services.chat.live.message.text != "")
    bench.window.close()
    bench.wait(lambda: "closing" in shown_notices(bench))
    bench.bench.services.chat.stop()
    bench.wait(lambda: bench.window.notice_bar.keys() == [])


def test_place_size_and_draft_are_remembered(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window(size=(780, 650))
    bench.send_and_wait("Hello")
    conversation_id = bench.window.chat.conversation_id
    bench.window.chat.composer.set_text("half a thought")
    bench.window.close()
    bench.bench.services.profile.close()
    state, problems = load_state(bench.bench.paths.state_path)
    assert not problems
    assert state.last_conversation_id == conversation_id
    store = bench.bench.services.conversations.store
    assert store.get_conversation(conversation_id).result(5).draft == "half a thought"
    again = MainWindow(bench.bench.services, bench.window._theme)
    assert (again.width(), again.height()) == (780, 650)
    again.open_last_conversation()
    bench.wait(lambda: again.chat.conversation_id == conversation_id)
    assert again.chat.composer.text() == "half a thought"
    again.deleteLater()


def test_unreadable_place_of_the_window_is_no_matter(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    for nonsense in ("not base64", "bm90IGEgZ2VvbWV0cnk="):
        bench.bench.services.profile.change_state(window_geometry=nonsense)
        again = MainWindow(bench.bench.services, bench.window._theme)
        assert (again.width(), again.height()) == (1280, 800)
        again.deleteLater()


def test_light_and_dark_change_in_the_open_window(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    bench.send_and_wait("Hello")
    theme = bench.window._theme
    lightness = []
    for appearance in ("light", "dark"):
        theme.set_appearance(appearance)
        QApplication.processEvents()
        image = bench.window.grab().toImage()
        lightness.append(image.pixelColor(image.width() // 2, image.height() // 2).lightness())
    theme.set_appearance("system")
    assert lightness[0] > 200 > 60 > lightness[1]


def test_models_are_reached_from_the_side_bar_and_by_key(make_window: Callable[..., WindowBench]) -> None:
    bench = make_window()
    window = bench.window
    bench.press(Qt.Key.Key_2, CTRL)
    assert window.page.NAME == "models"
    assert window.side_bar._pages["models"].isChecked()
    bench.press(Qt.Key.Key_1, CTRL)
    assert window.page is window.chat
    assert not window.side_bar._pages["models"].isChecked()
    window.side_bar._pages["models"].click()
    assert window.page.NAME == "models"
    window.pages["models"].chat_requested.emit()  # type: ignore[attr-defined]
    assert window.page is window.chat
    bench.wait(lambda: bench.bench.services.fit.assessment is not None)
