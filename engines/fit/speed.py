"""How fast a model will write and read on a computer: a range, where it comes from, or None where nothing supports it.

Writing a token reads every active weight once, so memory bandwidth decides; the fixed work per layer comes on top
(facts/fit.md D.1, after llama.cpp discussion #4167 and llmfit's community data). Reading a prompt is bound by
computing, and there is only a rule of thumb for it (D.4). Bandwidths are the machine's own, never guessed here. Not
about memory, and not about measuring: what was measured arrives as a `Correction`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engines.base import LoadSettings
from engines.fit import memory
from engines.fit.values import Correction, Geometry, ModelFacts, SpeedRange
from engines.hardware.machine import Bandwidth, Gpu, Machine

WORDS_PER_TOKEN = 0.75
"""English, roughly; other languages need more tokens for a word."""
READING_TOKENS_PER_SECOND = 238 / 60 / WORDS_PER_TOKEN
"""How fast people read: about 5.3 tokens/s. 238 words a minute is the mean of silent reading of English non-fiction
(Brysbaert 2019, doi 10.1016/j.jml.2019.104047)."""

ComputeDevice = Literal["cpu", "unified", "card"]
"""What computes: the processor, a GPU on main memory, or a card with memory of its own."""

_CPU_EFFICIENCY = 0.62
"""Of the memory's nominal rate: 0.6 to 0.7 (facts/fit.md D.1; llama.cpp #34, 13900K with DDR5-6400: 0.67)."""
_CPU_EFFICIENCY_OF_MEASURED = 0.8
"""Of a measured read rate, which is below the nominal one already. Assumed; its range is wide."""
_CPU_CACHE_SHARE = 0.5
_CPU_PREFILL = (1.8e10, 3.0e10, 5.0e10)
"""Parameters times prompt tokens per second and core: low, likely, high. From llama-bench pp512 on processors: i5-4278U
2.8e10, i3-1315U 4.6e10, Radxa Dragon Q8B 2.9e10, CIX CP8180 2.2e10 (geerlingguy/ai-benchmarks #53, #54, #51 and
sbc-reviews #107), 13900K with 8 threads 2.8e10 (llama.cpp #34), 5950X 4.8e10 (llamafile #569)."""

_HEAVY_LAYER_S = {"deepseek4": 1.0e-3}
"""Fixed work per layer on a GPU for architectures of many small steps. DeepSeek V4-Flash under llama.cpp: about 14.8
tokens/s on a Radeon 8060S (llama.cpp #23863), 23.6 on an M1 Ultra (#25893): 0.8 to 1 ms a layer beside the reading."""

_APPLE_CHIP = re.compile(r"\bM(?P<generation>\d)(?: (?P<variant>Pro|Max|Ultra))?\b")
_APPLE_GPU_CORES = {"": 8, "Pro": 14, "Max": 30, "Ultra": 48}
"""The fewest of any such chip, where nobody counted (Apple's specifications)."""
_APPLE_PREFILL = {1: 1.08e11, 2: 1.13e11, 3: 1.28e11, 4: 1.48e11, 5: 5.4e11}
"""Parameters times prompt tokens per second and GPU core: pp512 of Llama 2 7B Q4_0 times 6.74e9, over the cores
(facts/fit.md D.2). The M5 has matrix units; later chips are counted as M5."""

_CARD_PREFILL: dict[str, tuple[float, float, float]] = {
    "nvidia": (12.0, 28.0, 65.0),
    "amd": (7.0, 16.0, 28.0),
}
"""Parameters times prompt tokens per byte of bandwidth: low, likely, high. llama-bench pp512 to pp2048: RTX 2080 Ti 13
to 23, RTX 3060 21, RTX 3090 30, RTX 4090 44 to 65 (llama.cpp #7716, #7860; geerlingguy/ai-benchmarks #40, #43, #46),
Tesla P40 18 (llama.cpp #4766); RX 5700 XT 7 (#13324), RX 6700 XT 8 to 19 (#5835), Radeon 8060S 26
(deseven/strixhalo-homelab #11). For other makers there is too little: not known."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one device reads memory. Seconds per layer are for dense models and for mixtures of experts."""

    name: str
    bandwidth: Bandwidth
    efficiency: float
    dense_layer_s: float
    expert_layer_s: float
    cache_share: float
    """Of the bandwidth, when the KV cache is read (facts/fit.md D.4)."""
    is_well_known: bool = True
    """There are public rows for this kind of device."""

    def seconds(self, work: _Work, geometry: Geometry) -> float:
        rate = self.bandwidth.bytes_per_second
        per_layer = self.expert_layer_s if geometry.experts else self.dense_layer_s
        if per_layer:
            per_layer = max(per_layer, _HEAVY_LAYER_S.get(geometry.architecture, 0.0))
        return (
            (work.weights_bytes + 2 * work.state_bytes) / (self.efficiency * rate)
            + work.cache_bytes / (self.cache_share * rate)
            + work.layers * per_layer
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """What one device reads for one token. A recurrent state is read and written."""

    weights_bytes: float
    cache_bytes: float
    state_bytes: float
    layers: float


def words_per_second(tokens_per_second: float) -> float:
    """English words in that many tokens."""
    return tokens_per_second * WORDS_PER_TOKEN


def compute_device(facts: ModelFacts, machine: Machine, settings: LoadSettings) -> ComputeDevice:
    """Which device holds layers under these settings; as `memory.placement` sees it."""
    if facts.engine == "mlx":
        return "unified"
    if settings.gpu_layers == 0:
        return "cpu"
    if machine.unified_gpu is not None:
        return "unified"
    return "card" if machine.card is not None else "cpu"


def active_bytes(facts: ModelFacts) -> float | None:
    """Bytes of weights that one token reads: no rows of tables that are only looked up, and of the routed experts the
    share in use (facts/fit.md D.1). None for a mixture of experts of which neither the experts' bytes nor the active
    parameters are known.
    """
    experts = _expert_bytes(facts)
    return None if experts is None else _resident_bytes(facts) + experts * _share_used(facts)


def decode_speed(
    facts: ModelFacts,
    machine: Machine,
    settings: LoadSettings,
    *,
    correction: Correction | None = None,
    depth_tokens: int = 0,
) -> SpeedRange | None:
    """Tokens written per second with `depth_tokens` in the context. None: not known (no bandwidth, nothing to go by).

    On checked rows that no constant was fitted to, predictions are off by some 10 % (dense) and 15 % (mixtures) in the
    median, mostly too optimistic; so the range reaches further down than up, and is wider for mixtures, recurrent
    hybrids, assumed bandwidths and kinds of device without public measurements.
    """
    correction = correction or Correction()
    if correction.decode_measured is not None:
        return _measured(correction.decode_measured)
    experts = _expert_bytes(facts)
    device = compute_device(facts, machine, settings)
    gpu = None if device == "cpu" else _gpu_reader(facts, machine, device)
    processor = _processor_reader(machine)
    if experts is None or (device != "cpu" and gpu is None):
        return None
    on_gpu, on_processor = _split(facts, settings, device, experts, depth_tokens)
    seconds, readers = 0.0, []
    for reader, work in ((gpu, on_gpu), (processor, on_processor)):
        if work.weights_bytes <= 0 and work.layers <= 0:
            continue
        if reader is None:
            return None
        seconds += reader.seconds(work, facts.geometry)
        readers.append(reader)
    if seconds <= 0:
        return None
    low, high = _decode_range(facts, readers)
    basis = _decode_basis(on_gpu.weights_bytes + on_processor.weights_bytes, readers)
    return _corrected(
        SpeedRange(low=low / seconds, likely=1 / seconds, high=high / seconds, source="prediction", basis=basis),
        correction.decode_factor,
    )


def prefill_speed(
    facts: ModelFacts, machine: Machine, settings: LoadSettings, *, correction: Correction | None = None
) -> SpeedRange | None:
    """Tokens of a new prompt read per second into an empty context; it falls with depth. None: not known, which
    includes a model that is split between a card and main memory.

    A rule of thumb within a factor of two: computing per core (processor, Apple) or per byte of bandwidth (cards), over
    the active parameters; and once per batch all weights pass by, for a batch of a mixture uses nearly every expert.
    """
    correction = correction or Correction()
    if correction.prefill_measured is not None:
        return _measured(correction.prefill_measured)
    device = compute_device(facts, machine, settings)
    active = _active_parameters(facts)
    found = _prefill_rates(facts, machine, settings, device)
    if found is None or not active:
        return None
    reader, rates, basis = found
    passing_s = 0.0
    if facts.geometry.experts > 0:
        passing = facts.weights.total_bytes - facts.weights.lazy_bytes
        passing_s = passing / (reader.efficiency * reader.bandwidth.bytes_per_second) / max(1, settings.batch_tokens)
        rates = (rates[0] * 0.6, *rates[1:])
    low, likely, high = (1 / (active / rate + passing_s) for rate in rates)
    prediction = SpeedRange(low=low, likely=likely, high=high, source="prediction", basis=f"a rule of thumb: {basis}")
    return _corrected(prediction, correction.prefill_factor)


def _active_parameters(facts: ModelFacts) -> float | None:
    """As stated, or of a mixture whose header was read the active bytes' share of all parameters."""
    if facts.active_parameters or facts.geometry.experts == 0:
        return facts.active_parameters or facts.parameters
    experts, total = facts.weights.expert_bytes, facts.weights.total_bytes
    if not facts.parameters or not experts or total <= 0:
        return None
    return facts.parameters * (total - experts * (1 - _share_used(facts))) / total


def _share_used(facts: ModelFacts) -> float:
    geometry = facts.geometry
    if geometry.experts <= 0 or geometry.experts_used <= 0:
        return 1.0
    return min(1.0, geometry.experts_used / geometry.experts)


def _looked_up_bytes(facts: ModelFacts) -> int:
    """Tables of which a token reads a row. A tied embedding table is read whole, as the output matrix."""
    weights = facts.weights
    return weights.lazy_bytes + (0 if weights.tied else weights.embedding_bytes)


def _resident_bytes(facts: ModelFacts) -> float:
    """What every token reads: all but looked-up tables and routed experts."""
    return max(0.0, facts.weights.total_bytes - _looked_up_bytes(facts) - (_expert_bytes(facts) or 0.0))


def _expert_bytes(facts: ModelFacts) -> float | None:
    """Bytes of all routed experts: counted, or worked out from the active parameters; None: neither is known."""
    if facts.weights.expert_bytes > 0 or facts.geometry.experts <= 0:
        return float(facts.weights.expert_bytes)
    share = _share_used(facts)
    if not facts.parameters or not facts.active_parameters or share >= 1:
        return None
    body = facts.weights.total_bytes - _looked_up_bytes(facts)
    active = body * min(1.0, facts.active_parameters / facts.parameters)
    return min(float(body), (body - active) / (1 - share))


def _split(
    facts: ModelFacts, settings: LoadSettings, device: ComputeDevice, experts: float, depth_tokens: int
) -> tuple[_Work, _Work]:
    """What the GPU reads per token, and what the processor reads from main memory.

    llama.cpp gives the output to the GPU first and then the last layers (llama-model.cpp, i_gpu_start); the routed
    experts of the first layers stay in main memory when asked for.
    """
    geometry, weights = facts.geometry, facts.weights
    layers = max(1, geometry.layers)
    wanted = {"cpu": 0, "unified": layers + 1}.get(device, settings.gpu_layers)
    if wanted < 0 or wanted > layers:
        wanted = layers + 1
    on_gpu = max(0, wanted - 1)
    resident = _resident_bytes(facts)
    output = min(float(weights.embedding_bytes), resident)  # an output matrix of its own is as large as the table
    active_experts = experts * _share_used(facts)
    share = on_gpu / layers
    if len(weights.layer_bytes) == layers and sum(weights.layer_bytes) > 0:
        share = sum(weights.layer_bytes[layers - on_gpu :]) / sum(weights.layer_bytes)
    kept_back = 0.0
    if device == "card" and settings.expert_layers_on_cpu > 0:
        kept_back = active_experts * max(0, settings.expert_layers_on_cpu - (layers - on_gpu)) / layers
    gpu_weights = share * (resident - output + active_experts) - kept_back + (output if wanted else 0.0)
    gpu_weights = max(0.0, gpu_weights)
    cache = _cache_bytes(facts, settings, depth_tokens)
    gpu = _Work(gpu_weights, cache * on_gpu / layers, geometry.state_bytes * on_gpu / layers, on_gpu)
    rest = layers - on_gpu
    main = resident + active_experts - gpu_weights
    return gpu, _Work(main, cache * rest / layers, geometry.state_bytes * rest / layers, rest)


def _cache_bytes(facts: ModelFacts, settings: LoadSettings, depth_tokens: int) -> float:
    """Bytes of cache that one token at this depth looks through."""
    if depth_tokens <= 0:
        return 0.0
    return float(sum(memory.cache_bytes(part, depth_tokens, settings.kv_type, 0) for part in facts.geometry.caches))


def _processor_reader(machine: Machine) -> _Reader | None:
    """The processor on main memory; its work per layer is within its efficiency."""
    bandwidth = machine.bandwidth
    if bandwidth is None or bandwidth.bytes_per_second <= 0:
        return None
    efficiency = _CPU_EFFICIENCY_OF_MEASURED if bandwidth.source == "measured" else _CPU_EFFICIENCY
    return _Reader("the processor", bandwidth, efficiency, 0.0, 0.0, _CPU_CACHE_SHARE)


def _gpu_reader(facts: ModelFacts, machine: Machine, device: ComputeDevice) -> _Reader | None:
    """The GPU under its own bandwidth, or under that of the memory it shares. None: its bandwidth is not known.

    Constants: facts/fit.md D.1 and D.2 (Apple, RX 7900 XT); for NVIDIA fits to the rows of DeepSeek R1 14B, Llama 3.2
    3B and gpt-oss-20b in geerlingguy/ai-benchmarks (dense: RTX 4070 Ti and 4090 about 0.02 ms per layer, RTX 2080 Ti to
    3080 Ti 0.05 to 0.13). One public row for Intel's (intel/ipex-llm #12991: 0.15 ms).
    """
    gpu = machine.unified_gpu if device == "unified" else machine.card
    if gpu is None or (facts.engine == "mlx" and gpu.vendor != "apple"):
        return None
    bandwidth = (machine.bandwidth or gpu.bandwidth) if device == "unified" else gpu.bandwidth
    if bandwidth is None or bandwidth.bytes_per_second <= 0:
        return None
    match gpu.vendor:
        case "apple":
            return _apple_reader(facts, gpu, bandwidth)
        case "nvidia":
            is_recent = re.search(r"\bRTX (?:40|50)\d\d\b|\bGB10\b", gpu.name) is not None
            dense_s, expert_s = (0.022e-3, 0.04e-3) if is_recent else (0.065e-3, 0.15e-3)
            return _Reader(gpu.name, bandwidth, 0.88, dense_s, expert_s, 0.6)
        case "amd":
            return _Reader(gpu.name, bandwidth, 0.88, 0.076e-3, 0.14e-3, 0.5)
        case _:
            return _Reader(gpu.name, bandwidth, 0.85, 0.15e-3, 0.25e-3, 0.5, is_well_known=False)


def _apple_reader(facts: ModelFacts, gpu: Gpu, bandwidth: Bandwidth) -> _Reader:
    chip = _APPLE_CHIP.search(gpu.name)
    generation = int(chip["generation"]) if chip is not None else 0
    is_mlx = facts.engine == "mlx"
    efficiency, cache_share = 0.88 if is_mlx else 0.89, 0.5
    dense_s, expert_s = 0.093e-3 if is_mlx else 0.078e-3, 0.16e-3
    if generation == 1:
        dense_s, expert_s = 0.18e-3, 0.25e-3
    elif generation >= 5:
        dense_s, expert_s = 0.05e-3, 0.13e-3
    if chip is not None and chip["variant"] == "Ultra":
        efficiency, cache_share = 0.82, 0.45  # two dies: the nominal figure is not fully within reach
    if any(part.name == "full" and part.value_width == 0 for part in facts.geometry.caches):
        cache_share /= 6  # latent attention (MLA) is bound by computing on Metal
    return _Reader(gpu.name, bandwidth, efficiency, dense_s, expert_s, cache_share)


def _prefill_rates(
    facts: ModelFacts, machine: Machine, settings: LoadSettings, device: ComputeDevice
) -> tuple[_Reader, tuple[float, float, float], str] | None:
    """The device, its parameters times tokens per second (low, likely, high), and what that stands on."""
    if device == "cpu":
        processor, cores = _processor_reader(machine), _cores(machine, settings)
        if processor is None or cores is None:
            return None
        low, likely, high = (rate * cores for rate in _CPU_PREFILL)
        plural = "" if cores == 1 else "s"
        return processor, (low, likely, high), f"{cores} core{plural}, public measurements of seven processors"
    reader = _gpu_reader(facts, machine, device)
    gpu = machine.unified_gpu if device == "unified" else machine.card
    is_split = settings.expert_layers_on_cpu > 0 or 0 <= settings.gpu_layers <= facts.geometry.layers
    if reader is None or gpu is None or (device == "card" and is_split):
        return None
    if gpu.vendor == "apple":
        chip = _APPLE_CHIP.search(gpu.name)
        if chip is None:
            return None
        cores = gpu.cores or _APPLE_GPU_CORES[chip["variant"] or ""]
        rate = _APPLE_PREFILL[min(5, int(chip["generation"]))] * cores
        return reader, (0.5 * rate, rate, 1.5 * rate), f"{cores} GPU cores of this generation (llama.cpp #4167)"
    factors = _CARD_PREFILL.get(gpu.vendor)
    if factors is None or (gpu.vendor == "nvidia" and device == "unified"):
        return None  # GB10: far more computing power per byte than any card
    low, likely, high = (factor * reader.bandwidth.bytes_per_second for factor in factors)
    return reader, (low, likely, high), "cards of this maker by their memory bandwidth"


def _cores(machine: Machine, settings: LoadSettings) -> int | None:
    """How many threads compute: as asked for, or all physical cores but one."""
    if settings.threads:
        return settings.threads
    processor = machine.processor
    known = [
        count for count in (processor.performance_cores or processor.physical_cores, processor.usable_cores) if count
    ]
    return max(1, min(known) - 1) if known else None


def _decode_range(facts: ModelFacts, readers: list[_Reader]) -> tuple[float, float]:
    """Factors on the likely figure (facts/fit.md D.1: show -30 % / +10 %; wider where less is known)."""
    low, high = 0.7, 1.1
    if facts.geometry.experts > 0:
        low, high = 0.6, 1.25
    if facts.geometry.state_bytes > 0:
        low -= 0.1
    sources = {reader.bandwidth.source for reader in readers}
    if "assumed" in sources:
        low, high = low * 0.7, high * 1.2
    if "measured" in sources:
        high *= 1.15
    if not all(reader.is_well_known for reader in readers):
        low *= 0.7
    return low, high


def _decode_basis(weights_bytes: float, readers: list[_Reader]) -> str:
    where = " and ".join(
        f"{reader.name} at {reader.efficiency:.0%} of {reader.bandwidth.bytes_per_second / 1e9:.0f} GB/s"
        f" ({reader.bandwidth.source})"
        for reader in readers
    )
    return f"{weights_bytes / 1e9:.1f} GB read per token by {where}, plus fixed work per layer"


def _measured(tokens_per_second: float) -> SpeedRange:
    return SpeedRange(
        low=tokens_per_second,
        likely=tokens_per_second,
        high=tokens_per_second,
        source="measured",
        basis="measured on this computer with this model",
    )


def _corrected(prediction: SpeedRange, factor: float | None) -> SpeedRange:
    """The prediction times what other models on this computer were measured at; narrower, for it is this computer."""
    if factor is None or factor <= 0:
        return prediction
    likely = prediction.likely * factor
    return SpeedRange(
        low=max(prediction.low * factor, 0.75 * likely),
        likely=likely,
        high=min(prediction.high * factor, 1.2 * likely) if factor < 1 else 1.2 * likely,
        source="corrected",
        basis=f"{prediction.basis}; times {factor:.2f}, measured with other models on this computer",
    )
