"""Memory in words and in bars."""

from __future__ import annotations

from desktop.core.figures import GIGABYTE
from desktop.pages.chat.memory_figures import computer_state, free_words, loading_state, loading_words
from engines.base import LoadedModel
from engines.memory import Memory

LOADED = LoadedModel(
    model_name="M",
    architecture="llama",
    context_tokens=8192,
    trained_context_tokens=8192,
    weights_bytes=6 * GIGABYTE,
    memory_bytes=7 * GIGABYTE,
    threads=1,
    device="cpu",
    cache_kind="plain",
    has_chat_template=True,
    can_think=False,
    load_seconds=1.0,
)
MEMORY = Memory(total_bytes=16 * GIGABYTE, available_bytes=8 * GIGABYTE)


def test_parts_of_this_computer_are_in_the_design_s_order_and_named() -> None:
    state = computer_state(MEMORY, LOADED)
    assert [part.kind for part in state.parts] == ["other", "weights", "context"]
    assert state.description == ("other apps 7.0 GB, model 6.0 GB, conversation and working space 1.0 GB, 8.0 GB free")
    assert [part.kind for part in computer_state(MEMORY, None).parts] == ["other"]


def test_weights_grow_while_they_load() -> None:
    assert [part.kind for part in loading_state(MEMORY, 6 * GIGABYTE, 0.0).parts] == ["other"]
    half = loading_state(MEMORY, 6 * GIGABYTE, 0.5)
    assert half.parts[1].size_bytes == 3 * GIGABYTE


def test_time_is_foretold_only_from_enough_to_go_by() -> None:
    assert loading_words(6 * GIGABYTE, 0.05, 5.0) == "300 MB of 6.0 GB"
    assert loading_words(6 * GIGABYTE, 0.5, 0.4) == "3.0 GB of 6.0 GB"
    assert loading_words(6 * GIGABYTE, 0.5, 3.0) == "3.0 GB of 6.0 GB, about 3 s"
    assert loading_words(6 * GIGABYTE, 1.0, 3.0) == "6.0 GB of 6.0 GB"
    assert loading_words(2000, 0.5, 3.0) == "50 %", "no size worth naming"


def test_free_memory_is_what_the_system_calls_available() -> None:
    assert free_words(MEMORY) == "8.0 GB free"
