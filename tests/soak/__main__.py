"""Long runs that are no part of the suite. `python -m tests.soak` lists them, `python -m tests.soak NAME` runs one.

A soak is a module in this folder with `run(arguments) -> exit status`; its log is kept in docs/soaks/NAME.md.
"""

from __future__ import annotations

import importlib
import sys

SOAKS = {
    "headers": "at least 100,000 damaged and hostile model headers",
}


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    if name not in SOAKS:
        print("python -m tests.soak NAME [options]\n")
        for soak, what in SOAKS.items():
            print(f"  {soak:<12} {what}")
        return 0 if name in ("", "-h", "--help") else 2
    status: int = importlib.import_module(f"tests.soak.{name}").run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
