"""How long from starting the process to "ready to type", with an empty profile, beside the limit of 2 s.

    python -m benchmarks.startup [--runs 5]

"Ready" is: the window has been painted for the first time, and the composer has the keyboard. The clock begins before
the process is started, so the interpreter and every import are in the figure. "First" is a run whose files were put
out of the system's cache as far as that is possible without being root; "warm" are the runs after it. Without a
display the window is drawn off screen. The ten slowest imports come from one more run under `-X importtime`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_SECONDS = 2.0
TIMEOUT_SECONDS = 60

# Runs the app as `snug` does, and leaves when one can type.
RUNNER = """
import json, sys, time
import desktop.app
from desktop.__main__ import main
from PySide6.QtWidgets import QApplication

def on_ready(app):
    focus = type(QApplication.focusWidget()).__name__
    modules = sorted(sys.modules)
    print(json.dumps({"at": time.time(), "focus": focus, "modules": modules}), flush=True)
    app.window.close()

show = desktop.app.App.show
def show_and_leave(app):
    app.window.ready_to_type.connect(lambda: on_ready(app))
    show(app)
desktop.app.App.show = show_and_leave

sys.argv = ["snug"]
sys.exit(main())
"""
HEAVY = ("llama_cpp", "huggingface_hub", "mlx", "transformers", "numpy", "pygments", "markdown_it", "jinja2")
_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")


@dataclass(frozen=True, slots=True)
class Run:
    """One start."""

    seconds: float
    focus: str
    modules: frozenset[str]
    stderr: str


def start_once(*options: str) -> Run:
    """Starts the app with an empty profile and waits until one can type."""
    with tempfile.TemporaryDirectory(prefix="snug-startup-") as profile:
        environment = os.environ | {"SNUG_DATA_DIR": profile}
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"} & environment.keys():
            environment["QT_QPA_PLATFORM"] = "offscreen"
        began_at = time.time()
        done = subprocess.run(
            [sys.executable, "-P", *options, "-c", RUNNER],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    if done.returncode != 0 or not done.stdout.strip():
        raise SystemExit(f"the app did not start ({done.returncode}):\n{done.stderr}")
    answer = json.loads(done.stdout.splitlines()[0])
    return Run(answer["at"] - began_at, answer["focus"], frozenset(answer["modules"]), done.stderr)


def forget_files() -> int:
    """Asks the system to forget the cached pages of everything that the app may read; answers how many files."""
    if not hasattr(os, "posix_fadvise"):
        return 0
    import PySide6

    count = 0
    package = Path(str(PySide6.__file__)).parent
    for folder in (package, package.parent / "shiboken6", ROOT / "desktop", ROOT / "engines", ROOT / "assets"):
        for path in folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)
                count += 1
    return count


def slowest_imports(stderr: str, count: int = 10) -> list[tuple[float, str]]:
    """Milliseconds that modules took by themselves, without what they import in turn."""
    found = [(int(match[1]) / 1000, match[4]) for match in map(_IMPORT_LINE.match, stderr.splitlines()) if match]
    return sorted(found, reverse=True)[:count]


def main() -> int:
    """Prints the figures; fails when the limit is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="warm runs (default: 5)")
    runs = max(1, parser.parse_args().runs)
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} logical cores")
    start_once()  # byte code is compiled here: an installed app has it
    forgotten = forget_files()
    first = start_once()
    warm = [start_once() for _ in range(runs)]
    median = statistics.median(run.seconds for run in warm)
    print(f"first  {first.seconds:6.2f} s   ({forgotten} files put out of the cache)")
    print(f"warm   {median:6.2f} s   median of {runs} (from {min(run.seconds for run in warm):.2f} "
          f"to {max(run.seconds for run in warm):.2f} s)")  # fmt: skip
    print(f"limit  {LIMIT_SECONDS:6.2f} s   warm is {median / LIMIT_SECONDS:.2f} of it")
    print(f"focus  {warm[-1].focus}")
    heavy = sorted(name for name in warm[-1].modules if name.split(".")[0] in HEAVY)
    print(f"heavy modules before the window: {', '.join(heavy) or 'none'}")
    print("\nslowest imports, each by itself (measured with -X importtime, which slows them down):")
    for milliseconds, name in slowest_imports(start_once("-X", "importtime").stderr):
        print(f"  {milliseconds:6.1f} ms  {name}")
    return 0 if median <= LIMIT_SECONDS and not heavy and warm[-1].focus == "ComposerText" else 1


if __name__ == "__main__":
    sys.exit(main())
