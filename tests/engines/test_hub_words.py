"""What a person is told when the hub does not answer as hoped: a title, an advice, details that are not endless."""

from __future__ import annotations

import typing

import pytest

from engines.errors import HubAccessError, HubBusyError, HubError, HubNotFoundError, HubUnreachableError, ModelFileError
from engines.hub_words import Refusal, changed, explain_refusal, odd_answer, switched_off, unreachable, unusable

EXPECTED: list[tuple[Refusal | None, int, type[HubError]]] = [
    ("name", 0, HubNotFoundError),
    ("revision", 404, HubNotFoundError),
    ("file", 404, HubNotFoundError),
    ("gated", 401, HubAccessError),
    ("gated", 403, HubAccessError),
    (None, 403, HubAccessError),
    ("repository", 401, HubNotFoundError),
    (None, 401, HubNotFoundError),
    (None, 404, HubNotFoundError),
    (None, 429, HubBusyError),
    (None, 500, HubUnreachableError),
    (None, 503, HubUnreachableError),
    (None, 416, HubError),
    (None, 0, HubError),
]


@pytest.mark.parametrize(("kind", "status", "error"), EXPECTED)
def test_every_refusal_has_its_error_and_advice(kind: Refusal | None, status: int, error: type[HubError]) -> None:
    told = explain_refusal(kind, status, "maker/model", "a.gguf", "the server said so " * 1000)
    assert type(told) is error
    assert told.title.endswith(".") and told.advice.endswith(".") and "!" not in str(told)
    assert told.details.startswith("a.gguf: the server said so") and len(told.details) <= 2000


def test_every_kind_is_tried_here() -> None:
    assert {kind for kind, _, _ in EXPECTED} == {None, *typing.get_args(Refusal)}


def test_a_name_of_endless_length_is_shortened() -> None:
    assert len(explain_refusal("name", 0, "x" * 10_000, "y", "").title) < 200


def test_the_other_sentences_keep_their_reason() -> None:
    for told in (odd_answer("why"), changed("why"), switched_off("why"), unreachable("why")):
        assert told.details == "why" and told.title and told.advice
    told = unusable("a.gguf", ModelFileError("It is damaged.", "Download it again.", "byte 5"))
    assert "a.gguf" in told.title and told.details == "It is damaged. byte 5" and "again" not in told.advice
