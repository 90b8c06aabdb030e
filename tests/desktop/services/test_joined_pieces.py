"""Pieces are joined between two looks."""

from __future__ import annotations

from desktop.services.joined_pieces import JoinedPieces


def test_pieces_of_both_kinds_are_joined_and_taken_once() -> None:
    calls: list[int] = []
    pieces = JoinedPieces(lambda: calls.append(1))
    pieces.add("Hm", "thinking")
    pieces.add("Hel", "text")
    pieces.add("lo", "text")
    assert calls == [1], "told only once until somebody looks"
    assert pieces.take() == ("Hello", "Hm")
    assert pieces.take() == ("", "")
    pieces.add("!", "text")
    assert calls == [1, 1]
