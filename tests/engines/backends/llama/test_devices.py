"""The devices of this build, read from llama.cpp."""

from __future__ import annotations

from engines.backends.llama.devices import list_devices


def test_the_processor_is_a_device_with_memory() -> None:
    (processor,) = [device for device in list_devices() if device.kind == "cpu"]
    assert processor.name == "CPU"
    assert processor.memory_total_bytes > 1_000_000_000


def test_asking_twice_gives_the_same_devices() -> None:
    assert [device.name for device in list_devices()] == [device.name for device in list_devices()]
