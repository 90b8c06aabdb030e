"""llama.cpp's account of its buffers: walked by three layouts of a C++ map, and read out of its log."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from engines.backends.llama.breakdown import LoggedSizes, read_breakdown, read_log, walk_map
from engines.base import BufferUse

MIB = 1024 * 1024
LOG = (
    # Recorded from the tiny DeepSeek V4 and Qwen3.6 models, llama-cpp-python 0.3.36.
    "llama_context:        CPU  output buffer size =     0.00 MiB",
    "llama_kv_cache_iswa: creating     SWA KV cache, size = 768 cells",
    "llama_kv_cache:        CPU KV buffer size =     0.00 MiB",
    "llama_kv_cache: size =    0.47 MiB (   768 cells,   5 layers,  1/1 seqs), K (f16):    0.47 MiB, V (f16): 0.00 MiB",
    "llama_kv_cache_dsv4: creating DSV4 CSA compressed KV cache, size = 2048 cells",
    "llama_kv_cache: size =    0.50 MiB (  2048 cells,   2 layers,  1/1 seqs), K (f16):    0.50 MiB, V (f16): 0.00 MiB",
    "llama_dsv4_comp_state:        CPU DSV4 csa state buffer size =     0.02 MiB",
    "llama_dsv4_comp_state: csa ratio = 4, state = 8 x 128, streams = 1, rs_seq = 0, layers = 2, size =    0.02 MiB",
    "llama_memory_recurrent:        CPU RS buffer size =     0.06 MiB",
    "llama_memory_recurrent: size =    0.06 MiB (     1 cells,   4 layers,  1 seqs  0 rs_seq), R (f32):    0.01 MiB",
    "sched_reserve:        CPU compute buffer size =    15.62 MiB",
    "sched_reserve:      CUDA0 compute buffer size =    27.10 MiB",
)


def use(name: str, weights: int = 0, context: int = 0, compute: int = 0) -> BufferUse:
    return BufferUse(
        name=name, is_host=name == "CPU", weights_bytes=weights, context_bytes=context, compute_bytes=compute
    )


class Tree:
    """A map of three nodes in memory, laid out as one standard library does."""

    def __init__(self, fields: Callable[[int, int, int], bytes]) -> None:
        self.nodes = [ctypes.create_string_buffer(64) for _ in range(4)]
        self.fields = fields

    def address(self, index: int) -> int:
        return ctypes.addressof(self.nodes[index])

    def link(self, index: int, left: int, right: int, parent: int) -> None:
        data = self.fields(left, right, parent)
        self.nodes[index][: len(data)] = data


@pytest.fixture
def trees() -> Iterator[dict[str, tuple[Tree, tuple[int, ...]]]]:
    """For each platform a tree with a root and two children, and the words of its map."""
    made = {}
    formats: dict[str, Callable[[int, int, int], bytes]] = {
        "linux": lambda left, right, parent: struct.pack("<4Q", 1, parent, left, right),
        "darwin": lambda left, right, parent: struct.pack("<4Q", left, right, parent, 1),
        "win32": lambda left, right, parent: struct.pack("<3Q2b", left, parent, right, 1, 0),
    }
    for platform, fields in formats.items():
        tree = Tree(fields)
        root, first, second, head = (tree.address(index) for index in range(4))
        nothing = head if platform == "win32" else 0
        tree.link(0, first, second, nothing)
        tree.link(1, nothing, nothing, root)
        tree.link(2, nothing, nothing, root)
        words: tuple[int, ...] = (0, 0, root, first, second, 3)
        if platform == "darwin":
            words = (first, root, 3)
        elif platform == "win32":
            tree.nodes[3][:26] = struct.pack("<3Q2b", first, root, second, 1, 1)
            words = (head, 3)
        made[platform] = (tree, words)
    yield made


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_every_layout_is_walked(trees: Any, platform: str) -> None:
    tree, words = trees[platform]
    values = walk_map(words, platform)
    assert values is not None
    assert sorted(values) == sorted(tree.address(index) + 32 for index in range(3))


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("size", [0, 2, 4, 1 << 40])
def test_a_map_that_does_not_add_up_is_not_believed(trees: Any, platform: str, size: int) -> None:
    _, words = trees[platform]
    changed = (*words[:5], size) if platform == "linux" else (*words[:-1], size)
    assert walk_map(changed, platform) is None


def test_sizes_are_read_from_the_log() -> None:
    sizes = read_log(LOG)
    assert sizes.figures == 4
    assert sizes.context_bytes == pytest.approx((0.47 + 0.50 + 0.02 + 0.06) * MIB, abs=4)
    assert sizes.compute_bytes == {"CPU": round(15.62 * MIB), "CUDA0": round(27.10 * MIB)}


def test_a_breakdown_that_says_the_same_agrees() -> None:
    sizes = read_log(LOG)
    buffers = [
        use("CPU", 40 * MIB, round(0.62 * MIB), round(15.625 * MIB)),
        use("CUDA0", 60 * MIB, round(0.43 * MIB), round(27.10 * MIB)),
    ]
    assert sizes.agrees_with(buffers, 100 * MIB)
    cpu, gpu = buffers
    assert not sizes.agrees_with([cpu, replace(gpu, compute_bytes=gpu.compute_bytes + MIB // 20)], 100 * MIB)
    assert not sizes.agrees_with([cpu, replace(gpu, context_bytes=gpu.context_bytes + MIB // 2)], 100 * MIB)
    assert not sizes.agrees_with([cpu, replace(gpu, weights_bytes=1 << 50)], 100 * MIB)
    assert not sizes.agrees_with([cpu, replace(gpu, weights_bytes=0)], 100 * MIB)
    assert not sizes.agrees_with([cpu], 100 * MIB), "a buffer is missing"


def test_the_log_alone_gives_buffers_that_are_never_too_small() -> None:
    sizes = read_log(LOG)
    cpu, gpu = sizes.as_buffers(100 * MIB, on_gpu=True)
    assert (cpu.name, cpu.is_host, gpu.name, gpu.is_host) == ("CPU", True, "CUDA0", False)
    assert (cpu.weights_bytes, gpu.weights_bytes) == (0, 100 * MIB)
    assert gpu.context_bytes >= 1.05 * MIB
    assert gpu.compute_bytes >= 27.105 * MIB
    cpu, gpu = sizes.as_buffers(100 * MIB, on_gpu=False)
    assert (cpu.weights_bytes, gpu.weights_bytes, gpu.context_bytes) == (100 * MIB, 0, 0)
    (only,) = LoggedSizes(0).as_buffers(5, on_gpu=True)
    assert (only.name, only.weights_bytes) == ("CPU", 5)


@pytest.mark.parametrize("model", ["qwen3", "qwen35moe", "gemma4", "gpt-oss", "nemotron_h_moe", "deepseek4"])
def test_a_loaded_model_accounts_for_itself(load: Any, tiny: Any, model: str) -> None:
    engine = load(tiny(model))
    buffers = read_breakdown(engine._context.handle)
    assert buffers is not None
    assert all(buffer.is_host for buffer in buffers)
    assert sum(buffer.weights_bytes for buffer in buffers) >= engine._model.weights_bytes * 0.9
    assert read_log(engine._log.lines).agrees_with(buffers, engine._model.weights_bytes)


def test_a_build_without_the_breakdown_is_told_by_none(load: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(tiny("qwen3"))
    monkeypatch.setattr("engines.backends.llama.breakdown._MANGLED_NAMES", ("not_there",))
    assert read_breakdown(engine._context.handle) is None
