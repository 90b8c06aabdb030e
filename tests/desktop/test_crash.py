"""Snug itself breaks: it is logged, shown and reported, without anybody's words."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import qWarning

from desktop.crash import FAULT_LOG, CrashHooks, crash_report, describe_error
from desktop.services.notices import Notices

SECRET = "my secret prompt"


@pytest.fixture
def notices(qtbot: Any) -> Notices:
    return Notices()


@pytest.fixture
def hooks(notices: Notices, tmp_path: Path) -> Iterator[CrashHooks]:
    made = CrashHooks(notices, tmp_path)
    yield made
    made.uninstall()


def raise_secret() -> None:
    raise ValueError(SECRET)


def caught(call: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught_error:
        call()
    return caught_error.value


def test_report_names_place_and_kind_and_no_words_of_a_person() -> None:
    text = describe_error(caught(raise_secret))
    assert "raise_secret" in text
    assert "ValueError" in text
    assert SECRET not in text


def test_errors_about_files_and_names_keep_their_words() -> None:
    assert "no-such-file" in describe_error(caught(lambda: Path("no-such-file").read_text()))
    assert "has no attribute" in describe_error(caught(lambda: object().missing))  # type: ignore[attr-defined]


def test_cause_comes_before_its_consequence() -> None:
    def chain() -> None:
        try:
            raise_secret()
        except ValueError as error:
            raise RuntimeError(SECRET) from error

    text = describe_error(caught(chain))
    assert text.index("ValueError") < text.index("RuntimeError")
    assert SECRET not in text


def test_report_begins_with_versions() -> None:
    report = crash_report("the rest")
    assert report.startswith("Snug ")
    assert "Qt " in report
    assert report.endswith("the rest")


def test_uncaught_errors_of_all_threads_are_shown_once_each(
    hooks: CrashHooks, notices: Notices, qtbot: Any, expect_log: Callable[..., Any]
) -> None:
    expect_log("Uncaught error in the main thread", level=logging.ERROR)
    expect_log("Uncaught error in a-thread", level=logging.ERROR)
    shown: list[str] = []
    notices.shown.connect(lambda notice: shown.append(notice.details))
    hooks.install()
    error = caught(raise_secret)
    for _ in range(3):
        sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=lambda: 1 / 0, name="a-thread")
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: len(shown) == 2)
    assert "raise_secret" in shown[0]
    assert "ZeroDivisionError" in shown[1]
    assert SECRET not in "".join(shown)


def test_ctrl_c_is_no_crash(hooks: CrashHooks, notices: Notices, capsys: pytest.CaptureFixture[str]) -> None:
    hooks.install()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert "KeyboardInterrupt" in capsys.readouterr().err
    assert notices.current() == ()


def test_words_of_qt_reach_the_log(hooks: CrashHooks, expect_log: Callable[..., Any]) -> None:
    expect_log("Qt .*: something odd")
    hooks.install()
    qWarning("something odd")


def test_hooks_are_given_back(hooks: CrashHooks, tmp_path: Path) -> None:
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    hooks.install()
    assert sys.excepthook != before[0]
    assert (tmp_path / FAULT_LOG).exists()
    hooks.uninstall()
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before
    assert not (tmp_path / FAULT_LOG).exists(), "an orderly end leaves nothing"


def test_next_start_tells_of_a_fault_in_native_code(
    hooks: CrashHooks, notices: Notices, tmp_path: Path, qtbot: Any
) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from PySide6.QtCore import QCoreApplication
        from desktop.crash import CrashHooks
        from desktop.services.notices import Notices
        application = QCoreApplication([])
        CrashHooks(Notices(), Path(sys.argv[1])).install()
        import faulthandler
        faulthandler._sigsegv()
    """
    crashed = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=False, timeout=60)
    assert crashed.returncode != 0
    hooks.install()
    qtbot.waitUntil(lambda: bool(notices.current()))
    (notice,) = notices.current()
    assert notice.title == "Snug closed unexpectedly last time."
    assert "Fatal Python error" in notice.details or "access violation" in notice.details
    hooks.uninstall()
    assert len(list(tmp_path.glob("fault-*.log"))) == 1, "the report is kept"
    second = CrashHooks(notices, tmp_path)
    notices.remove("last-crash")
    qtbot.waitUntil(lambda: notices.current() == ())
    second.install()
    second.uninstall()
    qtbot.wait(20)  # would have been shown by now
    assert notices.current() == (), "told once"


def test_log_folder_that_cannot_be_written_is_no_matter(notices: Notices, tmp_path: Path) -> None:
    hooks = CrashHooks(notices, tmp_path / "missing")
    hooks.install()
    hooks.uninstall()
