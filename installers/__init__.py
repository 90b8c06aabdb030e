"""Recipes that build, install and check Snug. Not shipped; only the standard library, because they run first.

This file is read by whatever Python the user happens to have: it stays readable for old ones, so that they get a
sentence and not a syntax error.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - that is the question here
    sys.exit(
        "Snug needs Python 3.11 or newer, and this is Python %d.%d.\n"  # noqa: UP031
        "Install a newer one (for example from python.org, with Homebrew, or with your system's packages)\n"
        "and start the command with it, for example: python3.12 -m installers.source run" % sys.version_info[:2]
    )
