"""The program's door: worker flag first, before any Qt import; then commands; then the window.

`main` is the console command `snug`, `main_window` the GUI script `snug-desktop`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desktop.core.paths import AppPaths

WORKER_FLAG = "--engine-worker"
HUB_WORKER_FLAG = "--hub-worker"


def main() -> int:
    """Runs `snug`; answers the exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] == [WORKER_FLAG]:
        # A frozen app is its own Python: this is how it starts its engine process.
        from engines.workers.engine import main as run_worker

        return run_worker()
    if arguments[:1] == [HUB_WORKER_FLAG]:
        from engines.workers.hub import main as run_hub_worker

        return run_hub_worker()
    from desktop.commands import run

    return run(arguments, open_window=_open_window)


def main_window() -> int:
    """Runs `snug-desktop`; the same, where no console can be expected."""
    return main()


def _open_window(paths: AppPaths) -> int:
    try:
        from desktop.app import open_window
    except ImportError as error:
        # A missing system library names neither PySide6 nor itself in `name`; the file that wanted it tells.
        if not {"PySide6", "shiboken6"} & {*(error.name or "").split("."), *Path(error.path or "").parts}:
            raise
        from desktop.commands import open_terminal_chat

        return open_terminal_chat(paths, f"the window's libraries cannot be loaded ({error})")
    return open_window(paths)


if __name__ == "__main__":
    sys.exit(main())
