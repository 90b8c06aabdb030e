"""What an engine is: one class, one streaming method, and the values that go in and out of it.

Values are frozen dataclasses without behaviour beyond small derived figures, so that they can be shown, stored and
sent over a pipe. Nothing native is imported here; the app imports these values, never an engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engines.errors import UnsupportedModelError

Role = Literal["system", "user", "assistant"]
PieceKind = Literal["text", "thinking"]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
"""How the KV cache stores a value."""
FinishReason = Literal["end", "length", "context", "stop", "cancelled"]
"""Why a reply ended: the model ended it, `max_tokens`, the context is full, a stop string, or the user."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation as an engine sees it. `thinking` is an assistant's earlier reasoning."""

    role: Role
    content: str
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a model is put into memory. None means: the engine chooses, and says in `LoadedModel` what it chose."""

    context_tokens: int | None = None
    threads: int | None = None
    """Threads for decode and prefill. Default: all physical cores but one (facts: a spinning barrier on two busy
    cores fell from 80 to 4 tok/s)."""
    batch_tokens: int = 512
    """Prompt tokens per evaluation; a cancel and a progress report lie between two of them."""
    gpu_layers: int = -1
    """Layers on the GPU where the build has one; -1 is all."""
    kv_type: KvType = "f16"
    """Of keys and values alike. Anything smaller than f16 needs flash attention."""
    flash_attention: bool | None = None
    """None leaves it to the engine, which uses it wherever device and model allow."""
    expert_layers_on_cpu: int = 0
    """Of how many layers, counted from the first, the routed experts stay in main memory."""
    repack: bool = True
    """The processor's own copy of some weights: faster, and counted in the fit."""


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How one reply is sampled. The defaults are neutral (penalties off) and suit small chat models."""

    max_tokens: int | None = None
    temperature: float = 0.7
    """0 is greedy: the most likely token, always."""
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_last_tokens: int = 64
    """How many tokens back the three penalties look, in the reply itself (the prompt is not penalised)."""
    seed: int | None = None
    """None draws a fresh seed; `Usage.seed` says which, so that a reply can be replayed."""
    stop: tuple[str, ...] = ()
    thinking: bool | None = None
    """Asks the template to think, or not to; None leaves the template's default. Ignored where it has no switch."""
    continue_last: bool = False
    """The last message is an unfinished reply of the assistant: go on with it instead of starting a new one."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What stands in memory after a load."""

    model_name: str
    architecture: str
    context_tokens: int
    trained_context_tokens: int
    weights_bytes: int
    memory_bytes: int
    """Resident memory of the engine process after the load, mapped weights included."""
    threads: int
    device: str
    cache_kind: str
    """plain, sliding_window, or recurrent: what decides how much of a conversation can be reused."""
    has_chat_template: bool
    can_think: bool
    """The template has a switch for thinking."""
    load_seconds: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Prefill progress: `done` of `total` new prompt tokens have been read (reused tokens are in neither)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the reply. Never ends inside a character or inside an emoji that may still grow."""

    text: str
    kind: PieceKind = "text"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one reply cost, as measured by the engine with a monotonic clock."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Tokens of the prompt that were still in the cache and were not read again."""
    generated_tokens: int = 0
    context_used_tokens: int = 0
    """Positions of the context that are occupied after the reply."""
    context_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    """From the first generated token to the last."""
    time_to_first_token_seconds: float | None = None
    peak_memory_bytes: int = 0
    seed: int = 0

    @property
    def prefill_tokens_per_second(self) -> float | None:
        """New prompt tokens per second, or None where nothing new was read."""
        new = self.prompt_tokens - self.reused_tokens
        return new / self.prefill_seconds if new > 0 and self.prefill_seconds > 0 else None

    @property
    def decode_tokens_per_second(self) -> float | None:
        """Generated tokens per second after the first, or None for a reply of fewer than two tokens."""
        steps = self.generated_tokens - 1
        return steps / self.decode_seconds if steps > 0 and self.decode_seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last thing that a generation yields, exactly once."""

    reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class Device:
    """Something that an engine can compute on. Memory is what the device's driver says, in bytes; 0 is unknown."""

    name: str
    description: str
    kind: Literal["cpu", "gpu", "integrated_gpu", "accelerator"]
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class BufferUse:
    """What lies, or would lie, in one kind of buffer of the engine, in bytes."""

    name: str
    """The engine's own name: CPU, CPU_REPACK, CUDA0, Metal."""
    is_host: bool
    """In main memory, reachable by the processor."""
    weights_bytes: int
    context_bytes: int
    compute_bytes: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a load with `settings` would allocate, as planned by the engine itself without allocating it."""

    settings: LoadSettings
    context_tokens: int
    """After the engine's own rounding."""
    buffers: tuple[BufferUse, ...]
    vocabulary: int
    process_bytes: int
    """Resident memory of the engine process before any model."""
    source: Literal["breakdown", "log"]
    """breakdown: exact. log: rounded to 0.01 MiB, and without weights by device."""
    problem: str = ""
    """Why these settings are refused, in words; `buffers` is empty then."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """One line of the registry: how an engine is called, where it lives, what it reads."""

    id: str
    name: str
    module: str
    class_name: str
    file_format: str
    library: str
    """Distribution whose presence means that the engine is installed; empty: always there."""
    platforms: tuple[str, ...] = ("linux", "darwin", "win32")
    can_stream_experts: bool = False
    """Runs models larger than memory by reading experts from disk; without it, too large is "cannot run"."""


class Engine(ABC):
    """A model in memory that streams replies. Used by one thread, inside the engine process only.

    Life: `load` once, `generate` any number of times one after another, `close` any number of times.
    """

    @abstractmethod
    def load(
        self,
        model_path: Path,
        settings: LoadSettings,
        on_progress: Callable[[float], bool],
    ) -> LoadedModel:
        """Puts the model into memory.

        `on_progress` gets a share from 0 to 1 and answers whether to go on.

        Raises: ModelFileError, UnsupportedModelError, NotEnoughMemoryError; LoadCancelled if told to stop.
        """

    @abstractmethod
    def generate(
        self,
        messages: tuple[ChatMessage, ...],
        options: GenerationOptions,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Reading | Piece | Outcome]:
        """Streams one reply; the last value is an `Outcome`, and there is exactly one.

        `is_cancelled` is asked between prompt batches and between tokens. Whatever happens, the engine is ready for
        the next call afterwards.

        Raises: ContextTooSmallError, ChatTemplateError, NotEnoughMemoryError.
        """

    def devices(self) -> tuple[Device, ...]:
        """What the installed build can compute on; works without a model."""
        return ()

    def dry_run(self, model_path: Path, settings: tuple[LoadSettings, ...]) -> tuple[DryRun, ...]:
        """What a load with each of `settings` would allocate; reads no weights and allocates next to nothing.

        The file may be a header followed by a hole of the right length. Raises: ModelFileError,
        UnsupportedModelError, also where this engine cannot plan.
        """
        raise UnsupportedModelError(
            "This engine cannot plan its memory.",
            "Use the estimate.",
            f"{type(self).__name__}: {model_path}, {settings}",
        )

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """How many tokens `text` is, without template or special tokens."""

    @abstractmethod
    def close(self) -> None:
        """Frees the model. Calling it twice is harmless."""


class LoadCancelled(Exception):  # noqa: N818  (a request that was fulfilled, not an error)
    """A load was stopped on request. Not an error: nobody is told."""


@dataclass(frozen=True, slots=True)
class EngineVersions:
    """What `snug doctor` and crash reports print."""

    engine: str
    python: str
    libraries: dict[str, str] = field(default_factory=dict)
