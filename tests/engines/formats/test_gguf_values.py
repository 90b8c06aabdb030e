"""The values of a header, and ggml's table of types against the installed engine's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from engines.formats.gguf_values import TYPE_NAMES, TYPES, GgufHeader, TensorInfo

ASK_THE_ENGINE = """
import ctypes, json
from llama_cpp import llama_cpp
library = llama_cpp._lib
library.ggml_blck_size.restype = ctypes.c_int64
library.ggml_type_size.restype = ctypes.c_size_t
library.ggml_type_name.restype = ctypes.c_char_p
print(json.dumps({number: (library.ggml_type_name(number).decode(), library.ggml_blck_size(number),
                           library.ggml_type_size(number)) for number in range(llama_cpp.GGML_TYPE_COUNT)}))
"""


def test_the_table_of_types_is_the_engines() -> None:
    answer = subprocess.run([sys.executable, "-P", "-c", ASK_THE_ENGINE], capture_output=True, text=True, check=True)
    known = {int(number): fact for number, fact in json.loads(answer.stdout).items() if fact[1]}
    assert {number: (name.lower(), values, size) for number, (name, values, size) in TYPES.items()} == {
        number: (name.lower(), values, size) for number, (name, values, size) in known.items()
    }
    assert TYPE_NAMES[12] == "Q4_K" and TYPE_NAMES[39] == "MXFP4" and TYPE_NAMES[40] == "NVFP4"


def header(**metadata: object) -> GgufHeader:
    tensors = (TensorInfo("a", (4,), 0, 0, 16), TensorInfo("b", (4,), 99, 32, None))
    return GgufHeader(Path("folder/model.gguf"), 3, dict(metadata), tensors, 96, 128)  # type: ignore[arg-type]


def test_what_is_missing_or_of_another_kind_is_not_made_up() -> None:
    empty = header()
    assert (empty.architecture, empty.name, empty.number("block_count")) == ("", "model", None)
    odd = header(**{"general.architecture": 5, "general.name": "", ".block_count": True})
    assert (odd.architecture, odd.name, odd.number("block_count")) == ("", "model", None)


def test_numbers_are_looked_up_under_the_architecture() -> None:
    found = header(**{"general.architecture": "llama", "general.name": "A name", "llama.block_count": 7, "n": 2})
    assert (found.name, found.number("block_count"), found.whole_number("n")) == ("A name", 7, 2)


def test_a_file_is_expected_to_reach_to_its_last_tensor() -> None:
    assert header().expected_bytes == 96 + 32
    assert GgufHeader(Path("m"), 3, {}, (), 96, 128).expected_bytes == 96
