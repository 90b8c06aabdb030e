"""The application as a whole: built, shown, closed; one window per profile."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtWidgets import QApplication, QMessageBox

import desktop.app
from desktop.app import App, SingleInstance, open_window
from desktop.core.paths import AppPaths
from desktop.core.settings import State, save_state
from engines.lease import read_leases

SLOW = '[[reply]]\ntext = "one two three four five "\nrepeat = 200\ntoken_seconds = 0.01\n'


@pytest.fixture
def paths() -> AppPaths:
    made = AppPaths.make()
    made.ensure()
    return made


@pytest.fixture
def make_app(qapp: QApplication, paths: AppPaths) -> Iterator[Callable[[], App]]:
    apps: list[App] = []

    def make() -> App:
        apps.append(App(qapp, paths))
        return apps[-1]

    yield make
    for app in apps:
        app.close()
        app.deleteLater()


def test_window_is_ready_before_the_disk_is_searched_for_models(make_app: Callable[[], App], qtbot: Any) -> None:
    app = make_app()
    with qtbot.waitSignal(app.window.ready_to_type):
        app.show()
        assert not app.models.was_read
    qtbot.waitUntil(lambda: app.models.was_read)
    assert app.models.current is not None


def test_close_in_mid_reply_ends_everything_and_keeps_the_text(
    make_app: Callable[[], App], paths: AppPaths, write_script: Callable[..., Path], qtbot: Any
) -> None:
    save_state(paths.state_path, State().with_model_used(write_script(SLOW)))
    app = make_app()
    app.show()
    qtbot.waitUntil(lambda: app.models.was_read)
    app.chat.send(None, "Count")
    qtbot.waitUntil(lambda: app.chat.live is not None and app.chat.live.message.text != "", timeout=20_000)
    live = app.chat.live
    assert live is not None
    app.close()
    assert psutil.Process().children() == []
    assert read_leases(paths.leases_directory) == ()
    again = make_app()
    message = again.conversations.store.get_message(live.message.id).result(5)
    assert message.state == "interrupted"
    assert message.text.startswith(live.message.text)


def test_last_conversation_is_shown_again(make_app: Callable[[], App], qtbot: Any, paths: AppPaths) -> None:
    app = make_app()
    conversation = app.conversations.store.create_conversation("Bread").result(5)
    app.profile.change_state(last_conversation_id=conversation.id)
    app.close()
    again = make_app()
    again.show()
    qtbot.waitUntil(lambda: again.window.chat.conversation_id == conversation.id)


def test_conversation_of_a_cut_off_reply_is_shown_where_nothing_else_was_remembered(
    make_app: Callable[[], App], qtbot: Any, paths: AppPaths
) -> None:
    # A second process begins a reply and is killed before anything else is written.
    code = """
        import os, sys
        from pathlib import Path
        from desktop.core.conversations.store import Store
        store = Store(Path(sys.argv[1]))
        conversation = store.create_conversation("Cut").result(5)
        user = store.add_message(conversation.id, "user", "Hello").result(5)
        store.begin_reply(conversation.id).result(5)
        os._exit(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(paths.database_path)]
    subprocess.run(command, check=True, timeout=60)
    app = make_app()
    app.show()
    qtbot.waitUntil(lambda: app.window.chat.header.title() == "Cut")
    assert app.window.chat.view.messages[-1].state == "interrupted"


def test_settings_reach_the_services(make_app: Callable[[], App]) -> None:
    app = make_app()
    assert app.engine._idle_timer.interval() == 15 * 60_000
    app.profile.change_settings(idle_eject_minutes=1)
    assert app.engine._idle_timer.interval() == 60_000
    app.profile.change_settings(idle_eject_minutes=0)
    assert app.engine._idle_timer.interval() == 0


def test_second_instance_asks_the_first_to_show_itself(qtbot: Any, paths: AppPaths) -> None:
    first = SingleInstance(paths.data_directory)
    assert first.take()
    code = """
        import sys
        from pathlib import Path
        from PySide6.QtCore import QCoreApplication
        from desktop.app import SingleInstance
        application = QCoreApplication([])
        sys.exit(0 if SingleInstance(Path(sys.argv[1])).take() else 7)
    """
    with qtbot.waitSignal(first.asked_to_show, timeout=20_000):
        second = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(paths.data_directory)])
    assert second.wait(20) == 7
    first.release()


def test_lock_of_a_killed_window_does_not_keep_the_next_one_out(qtbot: Any, paths: AppPaths) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from PySide6.QtCore import QCoreApplication
        from desktop.app import SingleInstance
        application = QCoreApplication([])
        instance = SingleInstance(Path(sys.argv[1]))
        assert instance.take()
        os._exit(9)
    """
    dead = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(paths.data_directory)], check=False, timeout=60
    )
    assert dead.returncode == 9
    assert (paths.data_directory / "window.lock").exists()
    instance = SingleInstance(paths.data_directory)
    assert instance.take()
    instance.release()
    other = SingleInstance(paths.data_directory)
    assert other.take()
    other.release()


def test_two_profiles_have_two_windows(qtbot: Any, tmp_path: Path) -> None:
    instances = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        instances.append(SingleInstance(tmp_path / name))
    assert [instance.take() for instance in instances] == [True, True]
    for instance in instances:
        instance.release()


def test_data_folder_that_cannot_be_used_is_said_in_a_box(
    qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where the folder should be."""
    monkeypatch.setattr("desktop.app.QApplication", lambda arguments: qapp)
    shown: list[str] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: shown.append(box.text()))
    (tmp_path / "file").write_text("not a folder")
    assert open_window(AppPaths.make(tmp_path / "file")) == 1
    assert len(shown) == 1
    assert shown[0] in capsys.readouterr().err


def test_first_reply_does_not_wait_for_imports(
    make_app: Callable[[], App], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[str] = []
    monkeypatch.setattr("desktop.app._warm_up", lambda: warmed.append(threading.current_thread().name))
    app = make_app()
    app.show()
    assert not warmed
    qtbot.waitUntil(lambda: bool(warmed))
    assert warmed[0].startswith("snug-background"), "not on the GUI thread"


def test_what_the_first_reply_needs_is_imported() -> None:
    desktop.app._warm_up()
    assert {"markdown_it", "pygments.lexers"} <= sys.modules.keys()


def test_end_of_the_session_is_not_held_up_by_a_question(
    make_app: Callable[[], App], paths: AppPaths, write_script: Callable[..., Path], qtbot: Any
) -> None:
    save_state(paths.state_path, State().with_model_used(write_script(SLOW)))
    app = make_app()
    app.show()
    qtbot.waitUntil(lambda: app.models.was_read)
    app.chat.send(None, "Count")
    app.window.let_close()
    with qtbot.waitSignal(app.window.closed):
        app.window.close()
