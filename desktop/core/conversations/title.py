"""A title for a conversation from its first message: plain words, one line. A model may find a better one later."""

from __future__ import annotations

import re
import unicodedata

TITLE_CHARACTERS = 60
_LONGEST_LINE_CHARACTERS = 2000

_FENCE = re.compile(r"^\s*(```|~~~)")
_LINE_START = re.compile(r"^\s*(?:#{1,6}\s+|>\s?|[-*+]\s+(?:\[[ xX]\]\s+)?|\d{1,9}[.)]\s+)+")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_IMAGE_OR_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*])|(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\3(?!\w)")
_STRUCK = re.compile(r"~~(?=\S)(.+?)(?<=\S)~~")
_CODE = re.compile(r"`+([^`]+)`+")
_CLAUSE_END = ",;:-–—，；：、"  # noqa: RUF001 - Chinese punctuation is meant


def title_from(text: str) -> str:
    """The first line with words in it, without Markdown, shortened at a word; empty if there is none."""
    for line in text.splitlines():
        if _FENCE.match(line) or _RULE.match(line):
            continue
        title = _plain(line)
        if title:
            return _shortened(title)
    return ""


def _plain(line: str) -> str:
    line = _LINE_START.sub("", line[:_LONGEST_LINE_CHARACTERS])
    line = _IMAGE_OR_LINK.sub(r"\1", line)
    line = _CODE.sub(r"\1", line)
    line = _TAG.sub("", line)
    line = _EMPHASIS.sub(lambda match: match.group(2) or match.group(4), line)
    line = _STRUCK.sub(r"\1", line)
    # Control and direction characters (category C) would garble a list of titles; a joiner inside an emoji may stay.
    line = "".join(
        character
        for character in line.replace("\t", " ")
        if character == "\u200d" or not unicodedata.category(character).startswith("C")
    )
    return " ".join(line.split())


def _shortened(title: str) -> str:
    if len(title) <= TITLE_CHARACTERS:
        return title
    end = TITLE_CHARACTERS - 1
    while end > 1 and _continues(title, end):
        end -= 1
    space = title.rfind(" ", 0, end + 1)
    # Chinese and Japanese have no spaces; a very long word is cut rather than leaving a title of one word.
    if space >= TITLE_CHARACTERS // 2:
        end = space
    return title[:end].rstrip(" " + _CLAUSE_END) + "…"


def _continues(title: str, index: int) -> bool:
    """Whether a cut before `index` would tear a character or an emoji apart."""
    character = title[index]
    return (
        unicodedata.combining(character) != 0
        or unicodedata.category(character) in ("Mn", "Me", "Mc", "Sk")
        or character == "\u200d"
        or title[index - 1] == "\u200d"
    )
