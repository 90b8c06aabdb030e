"""What the fit service tells."""

from __future__ import annotations

from pathlib import Path

from desktop.services.fit_values import Assessment, BuildFit, MemorySum, ModelFit
from engines.catalog import CatalogBuild, CatalogFile
from engines.fit.values import MemoryParts, Placement, PoolUse
from engines.hardware.profiles import find_profile
from engines.library import InstalledModel

FILE = InstalledModel("Mine", Path("mine.gguf"), 700)
BUILD = CatalogBuild(engine="llama", quantization="Q4_K_M", file=(CatalogFile(name="a.gguf", size_bytes=500),))


def pool(needed: int, limit: int, now: int) -> PoolUse:
    return PoolUse(
        name="memory", needed_bytes=needed, limit_bytes=limit, limit_now_bytes=now, total_bytes=100, margin_bytes=10
    )


def test_size_is_the_files_own_before_the_catalogues() -> None:
    assert BuildFit("a", "Q4_K_M", BUILD, FILE).size_bytes == 700
    assert BuildFit("a", "Q4_K_M", BUILD).size_bytes == 500
    assert BuildFit("a", "Q4_K_M").size_bytes is None


def test_models_and_files_are_found() -> None:
    here, absent = BuildFit("b", "", installed=FILE), BuildFit("a", "Q4_K_M", BUILD)
    model = ModelFit("m", "Model", (absent, here), best=1)
    assessment = Assessment(find_profile("mac-mini-m4-16"), (model,))
    assert model.best_build is here
    assert model.is_installed
    assert model.find("a") is absent
    assert model.find("z") is None
    assert assessment.find("m") is model
    assert assessment.find("n") is None
    assert assessment.fit_of(FILE) is here
    assert assessment.fit_of(InstalledModel("Other", Path("other.gguf"), 1)) is None
    assert not assessment.is_here
    assert not ModelFit("n", "N", (absent,)).is_installed


def test_a_sum_fits_when_every_limit_holds() -> None:
    placement = Placement(main=MemoryParts(weights_bytes=50))
    assert MemorySum(4096, placement, (pool(50, 60, 55), pool(50, 50, 50))).fits_now
    later = MemorySum(4096, placement, (pool(50, 60, 40), pool(50, 50, 50)))
    assert later.fits
    assert not later.fits_now
    assert not MemorySum(4096, placement, (pool(50, 60, 60), pool(50, 40, 40))).fits
