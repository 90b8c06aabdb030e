from __future__ import annotations

import pytest

from engines.hardware.naming import machine_name, nominal_gigabytes, short_processor_name

GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("AMD Ryzen 7 7700 8-Core Processor", "AMD Ryzen 7 7700"),
        ("Intel(R) Core(TM) i7-8565U CPU @ 1.80GHz", "Intel Core i7-8565U"),
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "AMD RYZEN AI MAX+ 395"),
        ("Apple M4 Pro", "Apple M4 Pro"),
        ("", ""),
    ],
)
def test_processors_have_short_names(name: str, short: str) -> None:
    assert short_processor_name(name) == short


@pytest.mark.parametrize(
    ("total", "nominal"),
    [(int(15.4 * GIB), 16), (16 * GIB, 16), (int(31.1 * GIB), 32), (int(23.5 * GIB), 24), (int(125.6 * GIB), 128),
     (int(7.6 * GIB), 8), (36 * GIB, 36), (18 * GIB, 18), (1, 1)],
)  # fmt: skip
def test_memory_has_the_size_on_the_box(total: int, nominal: int) -> None:
    assert nominal_gigabytes(total) == nominal


def test_what_is_not_known_is_left_out_of_the_name() -> None:
    assert machine_name("", "AMD EPYC", 24) == "AMD EPYC, 24 GB"
    assert machine_name("Mac mini", "Apple M4", 16) == "Mac mini, Apple M4, 16 GB"
