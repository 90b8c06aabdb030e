"""Snug's catalogue and the user's own, beside each other."""

from __future__ import annotations

from pathlib import Path

from desktop.core.known_models import load_known_models
from desktop.core.paths import AppPaths
from engines.catalog import load_catalog

OWN = """\
format = 1

[[model]]
id = "my-model"
name = "My model"
author = "Somebody"
licence = "MIT"
languages = ["en"]
good_for = "My own notes."
architecture = "llama"
parameters = 7_000_000_000
trained_context_tokens = 8192

[[model.build]]
engine = "llama"
quantization = "Q4_K_M"

[[model.build.file]]
name = "my-model-q4_k_m.gguf"
"""


def test_without_files_of_the_user_it_is_the_shipped_one(tmp_path: Path) -> None:
    catalog, problems = load_known_models(AppPaths.make(tmp_path))
    assert catalog.models == load_catalog().models
    assert problems == ()


def test_the_users_own_models_follow_and_faults_are_said(tmp_path: Path) -> None:
    paths = AppPaths.make(tmp_path)
    paths.ensure()
    (paths.config_directory / "models.toml").write_text(OWN + '\n[[model]]\nid = "broken"\n')
    catalog, problems = load_known_models(paths)
    assert catalog.models[-1].id == "my-model" and catalog.models[-1].origin != "snug"
    assert len(problems) == 1 and "broken" in problems[0]
