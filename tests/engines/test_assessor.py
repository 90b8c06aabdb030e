"""Files and catalogue entries in, verdicts out; the engine's own plan refines them."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engines.assessor import Assessor
from engines.catalog import CatalogModel, load_catalog
from engines.errors import ModelFileError
from engines.fit.values import Verdict, Wish
from engines.hardware.machine import Machine, Processor
from engines.hardware.profiles import find_profile

TINY = Path(__file__).parents[1] / "data" / "tiny_models"
GIB = 1024**3
PC = Machine(
    name="PC",
    system="linux",
    processor=Processor(name="CPU", architecture="x86_64", features=("avx2",)),
    memory_total_bytes=16 * GIB,
    memory_available_bytes=12 * GIB,
)


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return Assessor(load_catalog(), PC)


def model(assessor: Assessor, name: str) -> CatalogModel:
    found = assessor.catalog.find(name)
    assert found is not None
    return found


def test_a_file_is_judged_from_its_header(assessor: Assessor) -> None:
    facts = assessor.facts_of_file(TINY / "gpt-oss.gguf")
    verdict = assessor.judge(facts)
    assert verdict.kind == "fits" and verdict.placement.main.source == "arithmetic"
    assert facts.weights.exact


def test_a_known_file_has_the_catalogues_name_and_build(assessor: Assessor, smollm2_path: Path) -> None:
    facts = assessor.facts_of_file(smollm2_path)
    assert facts.name == model(assessor, "smollm2-135m-instruct").name
    assert facts.quantization == "Q4_1"


def test_a_file_is_read_once_and_again_when_it_changed(assessor: Assessor, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    shutil.copy(TINY / "qwen3.gguf", path)
    first = assessor.facts_of_file(path)
    assert assessor.facts_of_file(path) is first
    shutil.copy(TINY / "gemma4.gguf", path)
    os.utime(path, ns=(1, 1))
    assert assessor.facts_of_file(path).geometry.architecture == "gemma4"


def test_a_file_that_vanished_or_is_no_model_is_an_error_in_words(assessor: Assessor, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        assessor.facts_of_file(tmp_path / "gone.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelFileError):
        assessor.facts_of_file(tmp_path / "text.gguf")


def test_a_file_that_was_cut_off_never_fits(assessor: Assessor, tmp_path: Path) -> None:
    whole = (TINY / "qwen3.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:-1000])
    with pytest.raises(ModelFileError, match="incomplete"):
        assessor.facts_of_file(path)


def test_an_engine_that_this_version_lacks_is_named_with_what_works(assessor: Assessor) -> None:
    entry = model(assessor, "qwen3.5-9b")
    build = next(build for build in entry.build if build.engine == "mlx")
    facts = assessor.facts_of_build(entry, build)
    assert facts is not None
    verdict = assessor.judge(facts)
    assert verdict.kind == "cannot"
    assert (
        "no engine for MLX models yet" in verdict.reasons[0]
        and "a UD-Q4_K_XL build for llama.cpp" in verdict.reasons[0]
    )


def test_an_mlx_folder_does_not_fit_where_no_engine_reads_it(tmp_path: Path, assessor: Assessor) -> None:
    import json

    from tests.support import safetensors_writer

    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "vocab_size": 300,
        "max_position_embeddings": 4096,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    header, length = safetensors_writer.sound({"model.embed_tokens.weight": ("F16", [300, 64], 38_400)})
    (tmp_path / "model.safetensors").write_bytes(header + bytes(length - len(header)))
    verdict = assessor.judge(assessor.facts_of_file(tmp_path))
    assert verdict.kind == "cannot" and verdict.is_refused
    assert "no engine for MLX" in verdict.reasons[0]


def test_a_build_without_size_or_shape_is_not_guessed(assessor: Assessor) -> None:
    entry = model(assessor, "qwen3.5-9b")
    nothing = replace_file_sizes(entry)
    assert assessor.facts_of_build(nothing, nothing.build[0]) is None


def replace_file_sizes(entry: CatalogModel) -> CatalogModel:
    import msgspec

    files = tuple(msgspec.structs.replace(file, size_bytes=None, sha256=None) for file in entry.build[0].file)
    build = msgspec.structs.replace(entry.build[0], file=files)
    return msgspec.structs.replace(entry, build=(build,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen35moe", "deepseek4"])
def test_the_engines_plan_replaces_the_arithmetic_and_stays(name: str) -> None:
    assessor = Assessor(load_catalog(), PC)
    path = TINY / f"{name}.gguf"
    facts = assessor.facts_of_file(path)
    before = assessor.judge(facts)
    after = assessor.refine(path, facts, before)
    assert after.placement.main.source == "dry_run"
    assert after.placement.main.context_bytes == before.placement.main.context_bytes
    assert 0 < after.placement.main.compute_bytes <= before.placement.main.compute_bytes
    assert assessor.judge(facts) == after
    wished = assessor.judge(facts, Wish(context_tokens=2048))
    assert wished.placement.main.source == "dry_run" and wished.context_tokens == 2048
    # The same machine a moment later keeps the plan, another one does not have it.
    later = assessor.for_machine(replace(PC, memory_available_bytes=11 * GIB))
    assert later.judge(facts).placement.main.source == "dry_run"
    elsewhere = assessor.for_machine(find_profile("pc-16"))
    assert elsewhere.judge(facts).placement.main.source == "arithmetic"


def test_another_machines_profile_is_never_refined(assessor: Assessor) -> None:
    profile = assessor.for_machine(find_profile("mac-mini-m4-24"))
    path = TINY / "qwen3.gguf"
    facts = profile.facts_of_file(path)
    verdict = profile.judge(facts)
    assert profile.refine(path, facts, verdict) is verdict


def test_several_threads_may_ask_at_once(assessor: Assessor) -> None:
    answers: list[Verdict] = []
    names = ["qwen3", "gemma4", "gpt-oss"] * 4

    def ask(name: str) -> None:
        answers.append(assessor.judge(assessor.facts_of_file(TINY / f"{name}.gguf")))

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.kind for answer in answers] == ["fits"] * 12
