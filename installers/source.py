"""The two commands of the README: install everything from this checkout, then start Snug or run every check.

    python3 -m installers.source run [arguments for snug]
    python3 -m installers.source check [--quick] [arguments for pytest]

Everything goes into `.venv` inside the checkout (or into the folder that SNUG_VENV names): nothing on the system is
changed, and no rights are needed. Standard library only, because this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from installers.machine import (
    SetupError,
    compiler_problem,
    debian_packages,
    environment_problem,
    libraries_problem,
    missing_libraries,
    python_problem,
)

ROOT = Path(__file__).resolve().parent.parent
RUN_EXTRAS = frozenset({"starter"})
CHECK_EXTRAS = frozenset({"starter", "check"})
HEARTBEAT_S = 60.0
NETWORK_SIGNS = (
    "name resolution", "name or service not known", "dns error", "getaddrinfo failed", "nodename nor servname",
    "network is unreachable", "connection refused", "no route to host", "failed to fetch", "error sending request",
    "newconnectionerror", "connection timed out", "tunnel connection failed", "operation timed out",
)  # fmt: skip
COMPILER_SIGNS = ("cmake error", "ninja: build stopped", "cmake build failed", "no cmake_cxx_compiler")
USAGE = """\
usage: python3 -m installers.source run [arguments for snug]
           install Snug with its starter model into .venv, and open it
       python3 -m installers.source check [--quick] [arguments for pytest]
           install Snug with everything, and run every check (--quick leaves out the slow tests)
       python3 -m installers.source missing-packages
           name the Debian packages that this machine lacks, one a line

SNUG_VENV names another folder than .venv, for example to try another Python."""


# ------------------------------------------------------------------------------------------------- where things are


@dataclass(frozen=True)
class Place:
    """The checkout, and the virtual environment that belongs to it."""

    root: Path
    venv: Path

    @classmethod
    def make(cls, root: Path, environ: Mapping[str, str]) -> Place:
        return cls(root, root / (environ.get("SNUG_VENV") or ".venv"))

    def program(self, name: str) -> Path:
        """Path of a program inside the environment, whether it is there or not."""
        return self.venv / ("Scripts" if os.name == "nt" else "bin") / (f"{name}.exe" if os.name == "nt" else name)

    @property
    def python(self) -> Path:
        return self.program("python")

    @property
    def stamp_path(self) -> Path:
        """What the last finished installation was made from."""
        return self.venv / "snug-installed.json"

    @property
    def unfinished_path(self) -> Path:
        """Lies there while packages are being installed; found at the start, it tells of an interruption."""
        return self.venv / "snug-unfinished"


@dataclass(frozen=True)
class Stamp:
    """What an installation was made from. Equal stamps: nothing to do."""

    root: str
    sources: str
    extras: frozenset[str]

    @classmethod
    def wanted(cls, place: Place, extras: frozenset[str]) -> Stamp:
        sources = hashlib.sha256()
        for name in ("pyproject.toml", "constraints.txt"):
            sources.update(place.root.joinpath(name).read_bytes())
        return cls(str(place.root), sources.hexdigest(), extras)

    @classmethod
    def read(cls, place: Place) -> Stamp | None:
        try:
            found = json.loads(place.stamp_path.read_text("utf-8"))
            return cls(str(found["root"]), str(found["sources"]), frozenset(map(str, found["extras"])))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # missing or damaged: installing again is always right

    def write(self, place: Place) -> None:
        content = {"root": self.root, "sources": self.sources, "extras": sorted(self.extras)}
        place.stamp_path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    def covers(self, wanted: Stamp) -> bool:
        return (self.root, self.sources) == (wanted.root, wanted.sources) and self.extras >= wanted.extras


# ---------------------------------------------------------------------------------------------- running a program


def say(sentence: str) -> None:
    """Tell the user what happens now; at once, also into a pipe."""
    print(sentence, flush=True)


@dataclass(frozen=True)
class Shell:
    """Runs a program, shows what it prints, and says now and then that it is still at work."""

    heartbeat_s: float = HEARTBEAT_S

    def run(self, command: Sequence[str | Path], directory: Path, environ: Mapping[str, str]) -> tuple[int, str]:
        """Exit status, and the last lines that it printed."""
        process = subprocess.Popen(
            list(map(str, command)), cwd=directory, env=dict(environ), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line)
            lines.put(None)

        reader = threading.Thread(target=read, name="installer-reader", daemon=True)
        reader.start()
        try:
            tail = self._show(lines)
            return process.wait(), "".join(tail)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            reader.join()
            assert process.stdout is not None
            process.stdout.close()

    def ask(self, command: Sequence[str | Path]) -> str | None:
        """What a program prints, or None where it does not run or fails."""
        try:
            answer = subprocess.run(
                list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                check=False,
            )  # fmt: skip
        except OSError:
            return None
        return answer.stdout if answer.returncode == 0 else None

    def call(self, command: Sequence[str | Path], directory: Path) -> int:
        """Exit status of a program that prints by itself and asks nothing."""
        return subprocess.run(list(map(str, command)), cwd=directory, stdin=subprocess.DEVNULL, check=False).returncode

    def _show(self, lines: queue.Queue[str | None]) -> list[str]:
        tail: list[str] = []
        started = time.monotonic()
        while True:
            try:
                line = lines.get(timeout=self.heartbeat_s)
            except queue.Empty:
                minutes = (time.monotonic() - started) / 60
                say(f"  still at work, {minutes:.0f} min so far")
                continue
            if line is None:
                return tail
            print(f"  {line}", end="", flush=True)
            tail = [*tail[-199:], line]


def build_environment(environ: Mapping[str, str], processors: int) -> dict[str, str]:
    """The environment in which packages are installed: our Python and no other, all processors for the compiler."""
    result = {name: value for name, value in environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    result["UV_PYTHON_DOWNLOADS"] = "never"
    result["UV_NO_PROGRESS"] = "1"
    result["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    result.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(processors))
    return result


def explain_failure(what: str, printed: str) -> SetupError:
    """Turn what a failed installer printed into the likeliest reason."""
    text = printed.lower()
    if any(sign in text for sign in COMPILER_SIGNS):
        return SetupError(
            f"{what} failed: llama.cpp could not be compiled.",
            "The compiler's own words are above. Out of memory? Then set CMAKE_BUILD_PARALLEL_LEVEL=1 and try again.",
        )
    if any(sign in text for sign in NETWORK_SIGNS):
        return SetupError(
            f"{what} failed: the package index could not be reached.",
            "The first installation needs a network; after it, Snug needs none. "
            "Check the connection (and the proxy, if there is one), then start the same command again.",
        )
    return SetupError(f"{what} failed.", "The reason is above. Starting the same command again is safe.")


# ------------------------------------------------------------------------------------------------------ installing


@dataclass(frozen=True)
class Installer:
    """Brings the environment to what the checkout asks for; a second run has nothing to do."""

    place: Place
    environ: Mapping[str, str]
    shell: Shell = Shell()

    def install(self, extras: frozenset[str]) -> None:
        wanted = Stamp.wanted(self.place, extras)
        present = Stamp.read(self.place)
        interrupted = self.place.unfinished_path.exists()
        if present is not None and present.covers(wanted) and not interrupted and self.place.python.exists():
            return
        for problem in (environment_problem(), compiler_problem(environ=self.environ)):
            if problem is not None:
                raise problem
        moved = present is not None and present.root != wanted.root
        # An interruption can leave a package that only looks complete. uv's cache makes starting over quick.
        self._ensure_environment(anew=moved or interrupted)
        self._ensure_uv()
        if present is not None and not moved:
            wanted = Stamp(wanted.root, wanted.sources, wanted.extras | present.extras)
        self._install_packages(wanted)
        wanted.write(self.place)
        self.place.unfinished_path.unlink()

    def _ensure_environment(self, anew: bool) -> None:
        """Make the environment, or mend it; one that works is kept, whichever Python it holds."""
        version = None if anew else self._python_of_environment()
        if version is not None:
            problem = python_problem(version)
            if problem is None:
                return
            say(f"{self.place.venv.name} holds a Python that does not suit ({problem.title}), so it is made anew.")
        version = (sys.version_info[0], sys.version_info[1])
        say(f"Making a virtual environment in {self.place.venv.name} with Python {version[0]}.{version[1]}.")
        # Started with the environment's own Python? Then the one below it, which is not about to be deleted.
        python = getattr(sys, "_base_executable", sys.executable)
        self._must("Making the virtual environment", [python, "-m", "venv", "--clear", self.place.venv])

    def _python_of_environment(self) -> tuple[int, int] | None:
        """The version of the environment's Python, or None where it is no working environment."""
        question = "import sys; print(sys.prefix != sys.base_prefix, *sys.version_info[:2])"
        words = (self.shell.ask([self.place.python, "-I", "-c", question]) or "").split()
        return (int(words[1]), int(words[2])) if words[:1] == ["True"] else None

    def _ensure_uv(self) -> None:
        """Install uv, the installer of packages, with pip; bring pip back if an interruption lost it."""
        if self.shell.ask([self.place.program("uv"), "--version"]) is not None:
            return
        say("Installing uv, which installs everything else.")
        if self.shell.ask([self.place.python, "-m", "pip", "--version"]) is None:
            self._must("Installing pip", [self.place.python, "-m", "ensurepip", "--upgrade", "--default-pip"])
        self._must(
            "Installing uv",
            [self.place.python, "-m", "pip", "install", "--quiet", "--force-reinstall", "-c", "constraints.txt", "uv"],
        )

    def _install_packages(self, wanted: Stamp) -> None:
        say("Installing Snug and what it is made of. The first time, llama.cpp is compiled for this processor:")
        say("that takes about 5 minutes on two cores. Later starts take seconds.")
        self.place.unfinished_path.touch()
        extras = ",".join(sorted(wanted.extras))
        self._must(
            "Installing the packages",
            [
                self.place.program("uv"), "pip", "install", "--python", self.place.python,
                "--constraints", "constraints.txt", "--build-constraints", "constraints.txt",
                "--editable", f".[{extras}]",
            ],
        )  # fmt: skip

    def _must(self, what: str, command: Sequence[str | Path]) -> None:
        environ = build_environment(self.environ, os.cpu_count() or 1)
        status, printed = self.shell.run(command, self.place.root, environ)
        if status != 0:
            raise explain_failure(what, printed)


# ---------------------------------------------------------------------------------------------------- the commands


def run(place: Place, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Install what is needed for a chat, then become `snug`."""
    Installer(place, environ).install(RUN_EXTRAS)
    on_x11 = bool(environ.get("DISPLAY")) and not environ.get("WAYLAND_DISPLAY")
    problem = libraries_problem(missing_libraries(("qt", "x11") if on_x11 else ("qt",)))
    if problem is not None and not arguments:
        print(problem, file=sys.stderr)
        print("Until then, Snug chats in the terminal.", file=sys.stderr, flush=True)
        arguments = ["chat"]
    command = [str(place.program("snug")), *arguments]
    if os.name != "nt":  # on Windows, replacing the process would give the prompt back too early
        sys.stdout.flush()
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode


def static_checks(place: Place) -> dict[str, list[str | Path]]:
    """The checks that do not run the code, cheapest first."""
    return {
        "format": [place.program("ruff"), "format", "--check", "."],
        "lint": [place.program("ruff"), "check", "."],
        "types": [place.program("mypy")],
        "import contracts": [place.program("lint-imports")],
    }


def check(place: Place, arguments: Sequence[str], environ: Mapping[str, str], shell: Shell) -> int:
    """Install everything, run every check, and end with pytest, whose last line sums the tests up."""
    problem = libraries_problem(missing_libraries(("qt",)))
    if problem is not None:
        raise problem
    Installer(place, environ, shell).install(CHECK_EXTRAS)
    failed = []
    for name, command in static_checks(place).items():
        say(f"\n{name}")
        if shell.call(command, place.root) != 0:
            failed.append(name)
    if failed:
        say(f"\nThese checks failed: {', '.join(failed)}. The tests follow all the same.")
    say("\ntests")
    status = shell.call([place.python, "-m", "pytest", *arguments], place.root)
    return status or (1 if failed else 0)


def missing_packages(environ: Mapping[str, str]) -> list[str]:
    """Debian packages without which `check` could not run here."""
    packages = list(debian_packages(missing_libraries(("qt",))))
    if compiler_problem(environ=environ) is not None:
        packages.append("g++")
    if environment_problem() is not None:
        packages.append("python3-venv")
    return packages


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: done. 1: a check failed, or something is missing that only the user can get. 2: wrong usage."""
    place = Place.make(ROOT, os.environ)
    try:
        problem = python_problem((sys.version_info[0], sys.version_info[1]))
        if problem is not None:
            raise problem
        match list(arguments):
            case ["run", *rest]:
                return run(place, rest, os.environ)
            case ["check", *rest]:
                return check(place, rest, os.environ, Shell())
            case ["missing-packages"]:
                print("\n".join(missing_packages(os.environ)))
                return 0
            case ["--help" | "-h"]:
                print(USAGE)
                return 0
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on where this one stopped.", file=sys.stderr)
        return 130


def _end(_signal: int, _frame: object) -> None:
    """Asked to terminate, we leave by the ordinary way, which ends the program that we started."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(sys.argv[1:]))
