"""Runs mlx-lm itself, in a process of its own: makes small models, loads them, reads prompts, says what lies in memory.

Takes a list of cases as JSON on standard input and a folder as its argument; prints a list of answers. A process of its
own because mlx keeps threads of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes, load_model


def make_folder(case: dict[str, Any], folder: Path) -> None:
    """A model with random weights as `mlx_lm.convert` would leave it, with tensors beside it that nobody needs."""
    config = case["config"]
    model_class, arguments = _get_classes(config)
    mx.random.seed(7)
    model = model_class(arguments.from_dict(json.loads(json.dumps(config))))
    dtype = mx.float32 if config.get("dtype") == "float32" else mx.bfloat16  # mixtures: the CPU has no other kernel
    model.apply(lambda array: array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array)
    bits = case.get("bits")
    if bits:
        nn.quantize(
            model,
            group_size=64,
            bits=bits,
            class_predicate=lambda _, module: hasattr(module, "to_quantized") and module.weight.shape[-1] % 64 == 0,
        )
        config["quantization"] = {"group_size": 64, "bits": bits}
    weights = dict(tree_flatten(model.parameters()))
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model-1.safetensors"), weights, metadata={"format": "mlx"})
    extra = {name: mx.zeros(shape, dtype=mx.bfloat16) for name, shape in case.get("extra", {}).items()}
    if extra:
        mx.save_safetensors(str(folder / "model-2.safetensors"), extra, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def answer(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What one case comes to."""
    make_folder(case, folder)
    model, _ = load_model(folder)
    weights = [array for _, array in tree_flatten(model.parameters())]
    mx.eval(weights)
    found: dict[str, Any] = {"weights_bytes": sum(array.nbytes for array in weights), "prompts": []}
    for prompt in case["prompts"]:
        cache = make_prompt_cache(model)
        mx.clear_cache()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        if prompt.get("lazily"):
            done = 0
            while done < prompt["tokens"] - 1:
                chunk = min(prompt["step"], prompt["tokens"] - 1 - done)
                model(mx.zeros((1, chunk), dtype=mx.int32), cache=cache)
                done += chunk
            model(mx.zeros((1, 1), dtype=mx.int32), cache=cache)
        else:
            tokens = mx.zeros((prompt["tokens"],), dtype=mx.int32)
            options = {"prefill_step_size": prompt["step"], "max_tokens": prompt.get("replies", 0)}
            for _ in generate_step(tokens, model, prompt_cache=cache, kv_bits=prompt.get("kv_bits"), **options):
                pass
            mx.synchronize()
        state = sum(one.nbytes for one in cache if type(one).__name__ == "ArraysCache")
        found["prompts"].append(
            {
                "cache_bytes": sum(one.nbytes for one in cache) - state,
                "state_bytes": state,
                "peak_bytes": mx.get_peak_memory() - before,
                "classes": sorted({type(one).__name__ for one in cache}),
            }
        )
        del cache
    return found


def main() -> None:
    """Every case in turn."""
    folder = Path(sys.argv[1])
    cases = json.load(sys.stdin)
    print(json.dumps([answer(case, folder / str(number)) for number, case in enumerate(cases)]))


if __name__ == "__main__":
    main()
