import subprocess
import sys
from pathlib import Path

import pytest

from engines import registry
from engines.backends.scripted.script import read_script
from engines.base import Engine, EngineInfo
from engines.errors import EngineStartError
from engines.registry import ENGINES, create, engine_for_file, engine_info, installed, is_installed, library_version

BROKEN = EngineInfo("broken", "Broken", "engines.backends.no_such_engine", "X", "xyz", "no-such-distribution")


def test_ids_and_modules_are_unique():
    assert len({info.id for info in ENGINES}) == len(ENGINES)
    assert len({info.module for info in ENGINES}) == len(ENGINES)


@pytest.mark.parametrize("info", ENGINES, ids=lambda info: info.id)
def test_every_engine_of_the_table_can_be_made(info):
    if not is_installed(info):
        pytest.skip(f"{info.library} is not installed on this platform")
    engine = create(info.id)
    assert isinstance(engine, Engine) and type(engine).__name__ == info.class_name
    engine.close()
    engine.close()


def test_an_unknown_engine_is_said_in_words():
    with pytest.raises(EngineStartError) as caught:
        engine_info("psychic")
    assert "psychic" in caught.value.details and "psychic" not in caught.value.title


@pytest.mark.parametrize(
    ("reason", "missing"),
    [
        (ImportError("libgomp.so.1: cannot open shared object file: No such file or directory"), "libgomp.so.1"),
        (RuntimeError("Failed to load shared library '/x/libllama.so': libvulkan.so.1: cannot open"), "libllama.so"),
        (OSError("Library not loaded: libomp.dylib"), "libomp.dylib"),
        (FileNotFoundError("no folder"), None),
    ],
)
def test_a_library_that_does_not_load_is_said_in_words(monkeypatch, reason, missing):
    def fail(_name: str) -> None:
        raise reason

    monkeypatch.setattr(registry.importlib, "import_module", fail)
    with pytest.raises(EngineStartError) as caught:
        create("llama")
    assert "llama.cpp" in caught.value.title and str(reason) in caught.value.details
    assert (f"The missing part is {missing}." in caught.value.advice) == (missing is not None)


def test_an_engine_without_its_module_is_said_in_words(monkeypatch):
    monkeypatch.setattr(registry, "ENGINES", (BROKEN,))
    with pytest.raises(EngineStartError) as caught:
        create("broken")
    assert "ModuleNotFoundError" in caught.value.details
    assert not is_installed(BROKEN)
    assert library_version(BROKEN) is None
    assert installed() == ()


def test_an_engine_of_another_platform_is_not_installed():
    elsewhere = EngineInfo("x", "X", "m", "C", "toml", "", platforms=("plan9",))
    assert not is_installed(elsewhere)


def test_files_find_their_engine():
    assert engine_for_file(Path("a/Model.GGUF")).id == "llama"
    assert engine_for_file(Path("demo.toml")).id == "scripted"
    assert engine_for_file(Path("picture.png")) is None
    assert engine_for_file(Path("gguf")) is None


def test_the_demonstration_is_a_sound_script():
    path = registry.demonstration_script()
    assert read_script(path).reply
    assert engine_for_file(path).id == "scripted"


def test_asking_what_is_installed_imports_no_engine():
    code = (
        "import sys; from engines.registry import installed; names = [info.id for info in installed()];"
        "print(names, [m for m in sys.modules if m.startswith(('llama_cpp', 'engines.backends', 'mlx'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['llama', 'scripted'] []"
