import dataclasses
import inspect

import pytest

from engines import base
from engines.base import Engine, GenerationOptions, LoadSettings, Usage

VALUES = [cls for _, cls in inspect.getmembers(base, inspect.isclass) if dataclasses.is_dataclass(cls)]


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__name__)
def test_values_cannot_be_changed(cls):
    assert cls.__dataclass_params__.frozen
    assert hasattr(cls, "__slots__")


def test_prefill_speed_counts_only_what_was_read():
    usage = Usage(prompt_tokens=100, reused_tokens=60, prefill_seconds=2.0)
    assert usage.prefill_tokens_per_second == 20.0
    assert dataclasses.replace(usage, reused_tokens=100).prefill_tokens_per_second is None
    assert dataclasses.replace(usage, prefill_seconds=0.0).prefill_tokens_per_second is None


def test_decode_speed_counts_the_steps_after_the_first_token():
    usage = Usage(generated_tokens=11, decode_seconds=0.5)
    assert usage.decode_tokens_per_second == 20.0
    assert dataclasses.replace(usage, generated_tokens=1).decode_tokens_per_second is None
    assert dataclasses.replace(usage, decode_seconds=0.0).decode_tokens_per_second is None


def test_the_defaults_of_sampling_penalise_nothing():
    options = GenerationOptions()
    assert (options.repeat_penalty, options.frequency_penalty, options.presence_penalty) == (1.0, 0.0, 0.0)
    assert options.max_tokens is None and options.seed is None and not options.stop
    assert LoadSettings().context_tokens is None


def test_an_engine_has_to_do_everything():
    assert Engine.__abstractmethods__ == {"load", "generate", "count_tokens", "close"}
