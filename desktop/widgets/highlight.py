"""Colours for code: lines of code become stretches of colour. Pygments is imported with the first code block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from desktop.widgets.theme import Theme

if TYPE_CHECKING:
    from pygments.lexer import Lexer

LONGEST_WHOLE_CODE = 30_000
"""Characters up to which code is read as a whole; longer code is coloured chunk by chunk, which is nearly as right."""

_ROLES = (
    ("Token.Comment", "code_comment"),
    ("Token.Keyword.Type", "code_function"),
    ("Token.Keyword", "code_keyword"),
    ("Token.Operator.Word", "code_keyword"),
    ("Token.Literal.String", "code_string"),
    ("Token.Literal.Number", "code_number"),
    ("Token.Name.Function", "code_function"),
    ("Token.Name.Class", "code_function"),
    ("Token.Name.Builtin", "code_function"),
    ("Token.Name.Decorator", "code_function"),
    ("Token.Name.Tag", "code_keyword"),
    ("Token.Name.Attribute", "code_function"),
    ("Token.Generic.Deleted", "no"),
    ("Token.Generic.Inserted", "ok"),
    ("Token.Generic.Heading", "code_function"),
)

DISPLAY_NAMES = {
    "bash": "Bash",
    "c": "C",
    "c++": "C++",
    "cpp": "C++",
    "cs": "C#",
    "csharp": "C#",
    "css": "CSS",
    "html": "HTML",
    "java": "Java",
    "javascript": "JavaScript",
    "js": "JavaScript",
    "json": "JSON",
    "latex": "LaTeX",
    "php": "PHP",
    "py": "Python",
    "python": "Python",
    "sh": "Shell",
    "shell": "Shell",
    "sql": "SQL",
    "toml": "TOML",
    "ts": "TypeScript",
    "typescript": "TypeScript",
    "xml": "XML",
    "yaml": "YAML",
    "yml": "YAML",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters of one line that have a colour: a field name of Theme."""

    start: int
    length: int
    role: str


def display_name(language: str) -> str:
    """The language as it stands on a code card."""
    return DISPLAY_NAMES.get(language.lower(), language[:1].upper() + language[1:])


def highlight_lines(code: str, language: str) -> list[list[Stretch]]:
    """One list of stretches for each line of `code`; all empty where the language is unknown."""
    lines: list[list[Stretch]] = [[]]
    lexer = _lexer(language)
    if lexer is None:
        return [[] for _ in range(code.count("\n") + 1)]
    column = 0
    for token_type, value in lexer.get_tokens(code):
        role = _role(str(token_type))
        for index, part in enumerate(value.split("\n")):
            if index:
                lines.append([])
                column = 0
            if part and role:
                lines[-1].append(Stretch(column, len(part), role))
            column += len(part)
    wanted = code.count("\n") + 1
    del lines[wanted:]
    lines.extend([] for _ in range(wanted - len(lines)))
    return lines


def color_of(theme: Theme, role: str) -> str:
    """The colour of a stretch in a theme."""
    return str(getattr(theme, role))


@lru_cache(maxsize=256)
def _role(token_type: str) -> str:
    return next((role for prefix, role in _ROLES if token_type.startswith(prefix)), "")


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language.lower(), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
