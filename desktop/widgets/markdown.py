"""Markdown as values: a text becomes a flat list of leaves (paragraph, heading, code, table, rule).

Nesting is flattened: a leaf carries its indentation, its list marker and the quote bars beside it, so that every leaf
can be drawn, measured and kept on its own. No Qt here, and markdown-it is imported with the first text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LeafKind = Literal["paragraph", "heading", "code", "table", "rule", "bubble"]
Align = Literal["left", "center", "right"]

LINE_BREAK = "\u2028"
LIST_STEP_PX = 20
WIDE_LIST_STEP_PX = 28
QUOTE_STEP_PX = 16
SPACE_PX = 8
TIGHT_SPACE_PX = 1
CARD_SPACE_PX = 10
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"'`]+[^\s<>\"'`.,:;!?)\]}]")
_TASK = re.compile(r"\[([ xX])\](?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text in one style. `link` is the address that a click asks for."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    link: str = ""


Runs = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One thing that is drawn. Lengths are the design's pixels at 100 %."""

    kind: LeafKind
    runs: Runs = ()
    level: int = 0
    indent_px: int = 0
    quote_bars_px: tuple[int, ...] = ()
    """Distances from the left edge at which a quote's bar stands."""
    marker: str = ""
    """A bullet, "3.", or "task" / "task done"; drawn in the indentation."""
    language: str = ""
    text: str = ""
    """Code, or what the user wrote, as it is copied."""
    rows: tuple[tuple[Runs, ...], ...] = ()
    """Cells of a table; the first row is its head."""
    aligns: tuple[Align, ...] = ()
    space_after_px: int = SPACE_PX
    is_dim: bool = False
    """Thinking: said more quietly than the reply."""


@lru_cache(maxsize=1)
def parser() -> MarkdownIt:
    """CommonMark with tables, strikethrough and formulas; raw HTML stays text."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.texmath import texmath_plugin

    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    made.use(texmath_plugin, delimiters="brackets")
    made.use(dollarmath_plugin, allow_labels=False, allow_space=False, allow_digits=False, double_inline=True)
    return made


def parse_leaves(text: str) -> list[Leaf]:
    """All leaves of a finished text."""
    return leaves_of(parser().parse(text))


def leaves_of(tokens: Sequence[Token], *, first_number: int | None = None) -> list[Leaf]:
    """The leaves of some block tokens. `first_number` goes on counting a list whose beginning is not among them."""
    return _Flattener(tokens, first_number=first_number).leaves()


def plain_text(runs: Runs) -> str:
    """The words of some runs, without their styles."""
    return "".join(run.text for run in runs).replace(LINE_BREAK, "\n")


@dataclass(slots=True)
class _Level:
    """Where the flattener stands: indentation, bars, and the marker that the next leaf takes."""

    indent_px: int = 0
    bars: tuple[int, ...] = ()
    step_px: int = LIST_STEP_PX
    number: int | None = None
    delimiter: str = "."
    bullet: str = "•"


class _Flattener:
    """Walks the tokens of a text once and makes leaves of them."""

    def __init__(self, tokens: Sequence[Token], *, first_number: int | None = None) -> None:
        self._tokens = tokens
        self._levels = [_Level()]
        self._marker = ""
        self._leaves: list[Leaf] = []
        self._first_number = first_number

    def leaves(self) -> list[Leaf]:
        iterator = iter(self._tokens)
        for token in iterator:
            self._take(token, iterator)
        if self._marker:
            self._add(Leaf("paragraph"))
        return self._leaves

    def _add(self, leaf: Leaf) -> None:
        level = self._levels[-1]
        if leaf.kind in {"code", "table"} and self._leaves and self._leaves[-1].space_after_px == TIGHT_SPACE_PX:
            self._leaves[-1] = replace(self._leaves[-1], space_after_px=6)
        self._leaves.append(replace(leaf, indent_px=level.indent_px, quote_bars_px=level.bars, marker=self._marker))
        self._marker = ""

    def _take(self, token: Token, rest: Iterator[Token]) -> None:
        match token.type:
            case "paragraph_open":
                runs = _runs(next(rest))
                next(rest)
                self._add_paragraph(runs, is_tight=token.hidden)
            case "heading_open":
                runs = _runs(next(rest))
                next(rest)
                self._add(Leaf("heading", runs=runs, level=int(token.tag[1]), space_after_px=4))
            case "fence" | "code_block":
                language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
                code = token.content.removesuffix("\n")
                self._add(Leaf("code", language=language, text=code, space_after_px=CARD_SPACE_PX))
            case "math_block" | "math_block_label" | "math_block_eqno" | "math_block_end":
                code = token.content.strip("\n")
                self._add(Leaf("code", language="latex", text=code, space_after_px=CARD_SPACE_PX))
            case "html_block":
                self._add(Leaf("paragraph", runs=(Run(token.content.rstrip("\n").replace("\n", LINE_BREAK)),)))
            case "hr":
                self._add(Leaf("rule"))
            case "table_open":
                self._add(_table(rest))
            case _:
                self._take_container(token)

    def _take_container(self, token: Token) -> None:
        level = self._levels[-1]
        match token.type:
            case "blockquote_open":
                bars = (*level.bars, level.indent_px)
                self._levels.append(_Level(level.indent_px + QUOTE_STEP_PX, bars))
            case "bullet_list_open":
                bullet = "•" if len(self._levels) == 1 else "◦"
                self._levels.append(_Level(level.indent_px, level.bars, LIST_STEP_PX, bullet=bullet))
            case "ordered_list_open":
                start = int(token.attrs.get("start", 1))
                if self._first_number is not None and len(self._levels) == 1 and not self._leaves:
                    start = self._first_number
                self._levels.append(_Level(level.indent_px, level.bars, WIDE_LIST_STEP_PX, number=start))
            case "list_item_open":
                if self._marker:
                    self._add(Leaf("paragraph", space_after_px=TIGHT_SPACE_PX))
                self._marker = level.bullet if level.number is None else f"{level.number}{token.markup or '.'}"
                if level.number is not None:
                    level.number += 1
                self._levels.append(_Level(level.indent_px + level.step_px, level.bars))
            case "list_item_close":
                if self._marker:  # an empty item
                    self._add(Leaf("paragraph", space_after_px=TIGHT_SPACE_PX))
                self._levels.pop()
            case "bullet_list_close" | "ordered_list_close" | "blockquote_close":
                self._levels.pop()
                self._end_group()
            case _:
                pass

    def _end_group(self) -> None:
        """After a list or a quote comes the space of a paragraph."""
        if self._leaves and len(self._levels) == 1:
            last = self._leaves[-1]
            self._leaves[-1] = replace(last, space_after_px=max(last.space_after_px, SPACE_PX))

    def _add_paragraph(self, runs: Runs, *, is_tight: bool) -> None:
        if self._marker and runs:
            task = _TASK.match(runs[0].text)
            if task is not None and not runs[0].code:
                self._marker = "task" if task[1] == " " else "task done"
                runs = (replace(runs[0], text=runs[0].text[task.end() :]), *runs[1:])
        self._add(Leaf("paragraph", runs=runs, space_after_px=TIGHT_SPACE_PX if is_tight else SPACE_PX))


def _table(rest: Iterator[Token]) -> Leaf:
    rows: list[tuple[Runs, ...]] = []
    row: list[Runs] = []
    aligns: list[Align] = []
    for token in rest:
        match token.type:
            case "tr_open":
                row = []
            case "tr_close":
                rows.append(tuple(row))
            case "th_open":
                style = str(token.attrGet("style") or "")
                aligns.append("right" if "right" in style else "center" if "center" in style else "left")
            case "inline":
                row.append(_runs(token))
            case "table_close":
                break
            case _:
                pass
    return Leaf("table", rows=tuple(rows), aligns=tuple(aligns), space_after_px=CARD_SPACE_PX)


def _runs(inline: Token) -> Runs:
    """The runs of an inline token."""
    runs: list[Run] = []
    style = Run("")
    for token in inline.children or ():
        match token.type:
            case "text" | "html_inline" | "text_special":
                runs.extend(_with_addresses(replace(style, text=token.content)))
            case "code_inline" | "math_inline" | "math_inline_double" | "math_single":
                runs.append(replace(style, text=token.content, code=True))
            case "softbreak":
                runs.append(replace(style, text=" "))
            case "hardbreak":
                runs.append(replace(style, text=LINE_BREAK))
            case "strong_open" | "strong_close":
                style = replace(style, bold=token.nesting == 1)
            case "em_open" | "em_close":
                style = replace(style, italic=token.nesting == 1)
            case "s_open" | "s_close":
                style = replace(style, strike=token.nesting == 1)
            case "link_open":
                style = replace(style, link=str(token.attrGet("href") or ""))
            case "link_close":
                style = replace(style, link="")
            case "image":
                address = str(token.attrGet("src") or "")
                runs.append(replace(style, text=token.content or address, link=address))
            case _:
                if token.content:
                    runs.append(replace(style, text=token.content))
    return _merged(runs)


def _with_addresses(run: Run) -> Iterator[Run]:
    """Splits out bare web addresses, which GitHub's dialect makes links of."""
    if run.link or "://" not in run.text:
        yield run
        return
    position = 0
    for match in _WEB_ADDRESS.finditer(run.text):
        if match.start() > position:
            yield replace(run, text=run.text[position : match.start()])
        yield replace(run, text=match[0], link=match[0])
        position = match.end()
    if position < len(run.text):
        yield replace(run, text=run.text[position:])


def _merged(runs: list[Run]) -> Runs:
    merged: list[Run] = []
    for run in runs:
        if not run.text:
            continue
        if merged and replace(merged[-1], text="") == replace(run, text=""):
            merged[-1] = replace(run, text=merged[-1].text + run.text)
        else:
            merged.append(run)
    return tuple(merged)
