"""Log files: they rotate, they never stop the app, and they cannot hold a conversation."""

import logging
import logging.handlers
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from desktop.core.conversations.values import Conversation, StoredMessage
from desktop.core.logs import FILES_KEPT, MAXIMUM_FILE_BYTES, MAXIMUM_RECORD_CHARACTERS, Logs, engine_log_path

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
log = logging.getLogger("desktop.somewhere")


def test_records_of_our_packages_reach_the_file(tmp_path: Path) -> None:
    with Logs(tmp_path / "记录 logs") as logs:
        assert logs.problem is None
        log.info("The store is open: %s", "模型")
        log.debug("too fine")
        logging.getLogger("some.library").info("not ours")
    text = (tmp_path / "记录 logs" / "app.log").read_text(encoding="utf-8")
    assert "INFO desktop.somewhere: The store is open: 模型" in text
    assert "too fine" not in text
    assert "not ours" not in text


def test_level_can_be_chosen_and_ends_with_the_logs(tmp_path: Path) -> None:
    with Logs(tmp_path, level="DEBUG"):
        log.debug("fine")
    log.info("after the end")
    assert "fine" in (tmp_path / "app.log").read_text()
    assert "after the end" not in (tmp_path / "app.log").read_text()
    assert logging.getLogger("desktop").level == logging.NOTSET


def test_log_that_cannot_be_made_is_reported_and_does_no_harm(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with Logs(in_the_way / "logs") as logs:
        assert logs.problem is not None
        log.info("nowhere to go")


def test_long_record_is_cut_so_that_no_conversation_can_spill(tmp_path: Path) -> None:
    with Logs(tmp_path):
        log.info("x" * 100_000)
    assert len((tmp_path / "app.log").read_text()) < MAXIMUM_RECORD_CHARACTERS + 200


def test_app_log_rotates_and_stays_small(tmp_path: Path) -> None:
    with Logs(tmp_path):
        for _ in range((FILES_KEPT + 3) * MAXIMUM_FILE_BYTES // 7_000):
            log.info("x" * 7_000)
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["app.log", *(f"app.log.{number}" for number in range(1, FILES_KEPT + 1))]
    assert all(file.stat().st_size <= MAXIMUM_FILE_BYTES for file in tmp_path.iterdir())


def test_rotation_that_another_process_prevents_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "The process cannot access the file")

    with Logs(tmp_path):
        monkeypatch.setattr(os, "rename", refused)
        for _ in range(MAXIMUM_FILE_BYTES // 7_000 + 5):
            log.info("x" * 7_000)
        log.info("the last one")
    assert "the last one" in (tmp_path / "app.log").read_text()


def test_full_disk_is_not_shown_as_an_error_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Logs(tmp_path):
        monkeypatch.setattr(logging.handlers.RotatingFileHandler, "flush", full_disk)
        log.info("no room")
    assert capsys.readouterr().err == ""


def test_engine_log_is_put_aside_when_it_is_long(tmp_path: Path) -> None:
    path = engine_log_path(tmp_path / "logs")
    assert path.name == "engine.log"
    for round_number in range(FILES_KEPT + 2):
        path.write_bytes(b"x" * (MAXIMUM_FILE_BYTES + round_number + 1))
        assert engine_log_path(tmp_path / "logs") == path
        assert not path.exists()
    assert len(list(path.parent.iterdir())) == FILES_KEPT
    assert (path.parent / "engine.log.1").stat().st_size == MAXIMUM_FILE_BYTES + FILES_KEPT + 2


def test_values_hide_what_people_wrote_from_logs() -> None:
    message = StoredMessage(
        id="m", conversation_id="c", parent_id=None, role="user", text="secret text", thinking="secret thought",
        state="complete", reason="", error="", model_name="", model_path="", engine="", usage=None, options=None,
        created_at=_NOW, finished_at=None,
    )  # fmt: skip
    conversation = Conversation(
        id="c", title="secret title", title_by_user=False, created_at=_NOW, updated_at=_NOW, deleted_at=None,
        active_message_id=None, draft="secret draft",
    )  # fmt: skip
    assert "secret" not in f"{message!r} {conversation!r}"
    assert "secret text" in message.as_chat_message().content
