"""A running app that a test can use from outside."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("driver.py")
WAIT_S = 60.0


class RunningApp:
    """The app in its own process."""

    def __init__(self, data_directory: Path, environment: dict[str, str]) -> None:
        self.data_directory = data_directory
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(DRIVER), "--data-dir", str(data_directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stderr: list[str] = []
        self._has_ended = False
        self._threads = [
            threading.Thread(target=self._read_answers),
            threading.Thread(target=self._read_stderr),
        ]
        for thread in self._threads:
            thread.start()

    def _read_answers(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        self._stderr.extend(self.process.stderr)

    def _next(self) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=WAIT_S)
        except queue.Empty:
            raise AssertionError(f"the app does not answer\n{self.errors()}") from None
        assert answer is not None, f"the app ended: {self.process.wait()}\n{''.join(self._stderr)}"
        return answer

    def wait_ready(self) -> RunningApp:
        """Until one can type."""
        assert self._next() == {"event": "ready"}
        return self

    def do(self, what: str, **arguments: Any) -> Any:
        """One command; answers its result."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self._next()
        return answer["result"]

    def look(self) -> dict[str, Any]:
        """What is on the screen."""
        result = self.do("look")
        assert isinstance(result, dict)
        return result

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Looks until something is so."""
        deadline = time.monotonic() + WAIT_S
        while True:
            seen = self.look()
            if condition(seen):
                return seen
            assert time.monotonic() < deadline, f"never came true; last seen: {seen}\n{''.join(self._stderr)}"
            time.sleep(0.02)  # another process sends no signal

    def say(self, text: str) -> None:
        """Types a message and sends it."""
        self.wait(lambda seen: seen["focus"] == "ComposerText" and seen["model"] is not None)
        self.do("type", text=text)
        self.do("press", key="Return")

    def kill(self) -> None:
        """As the system does when memory runs out."""
        if not self._has_ended:
            self.process.kill()
            self.end()

    def close(self) -> int:
        """Closes the window; answers the exit status."""
        self.do("close")
        return self.end()

    def end(self) -> int:
        """Waits for the end of the process."""
        assert self.process.stdin is not None
        status = self.process.wait(WAIT_S)
        self._has_ended = True
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        return status

    def errors(self) -> str:
        """What it wrote to standard error."""
        return "".join(self._stderr)


@pytest.fixture
def start_app(data_directory: Path) -> Iterator[Callable[..., RunningApp]]:
    """`start_app()` starts the app on this test's profile and waits until one can type."""
    apps: list[RunningApp] = []

    def start(**environment: str) -> RunningApp:
        app = RunningApp(data_directory, environment)
        apps.append(app)
        return app.wait_ready()

    yield start
    for app in apps:
        app.kill()


@pytest.fixture
def use_script(data_directory: Path, tmp_path: Path) -> Callable[..., Path]:
    """`use_script('[[reply]]\\ntext = "Hello"')` makes that script the model that was used last."""
    from desktop.core.paths import AppPaths
    from desktop.core.settings import State, save_state

    def use(body: str, name: str = "script") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text("format = 1\n" + body, encoding="utf-8")
        paths = AppPaths.make(data_directory)
        paths.ensure()
        save_state(paths.state_path, State().with_model_used(path))
        return path

    return use
