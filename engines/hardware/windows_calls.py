"""Asks Windows: system functions through ctypes, names from the registry. Never raises; `windows` does the parsing.

Everything here is a few milliseconds; no program is started.
"""

from __future__ import annotations

import mmap
import os
import platform
import sys
from pathlib import Path

from engines.hardware.windows import Adapter, Answers

_FEATURES = ((38, "sse4_2"), (39, "avx"), (40, "avx2"), (41, "avx512f"), (19, "neon"), (43, "dotprod"))
"""Numbers of IsProcessorFeaturePresent (winnt.h)."""
_FIRMWARE_PROVIDER = int.from_bytes(b"RSMB", "big")
_ADAPTER_CLASS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
_PROCESSOR_KEY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_PRODUCT_KEY = r"HARDWARE\DESCRIPTION\System\BIOS"
_LARGEST_TABLE_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024


def ask() -> Answers:
    """What Windows says of this computer; on other systems nothing."""
    if sys.platform != "win32":
        return Answers()
    else:  # noqa: RET505 - mypy reads the branches of a platform apart only in this form
        product = " ".join(
            str(_registry_values(_PRODUCT_KEY).get(name, "")) for name in ("SystemManufacturer", "SystemProductName")
        )
        return Answers(
            memory_status=_structure("GlobalMemoryStatusEx", 64, begins_with=(64).to_bytes(4, "little")),
            power_status=_structure("GetSystemPowerStatus", 12),
            cores=_core_records(),
            firmware=_firmware_table(),
            processor_name=str(_registry_values(_PROCESSOR_KEY).get("ProcessorNameString", "")),
            machine=platform.machine(),
            features=_features(),
            usable_cores=os.cpu_count(),
            adapters=_adapters(),
            present=_present_adapters(),
            version=f"Windows {platform.release()} ({platform.version()})",
            product=product.strip(),
        )


if sys.platform == "win32":
    import ctypes
    import ctypes.wintypes
    import winreg

    class _DisplayDevice(ctypes.Structure):
        """DISPLAY_DEVICEW of wingdi.h."""

        _fields_ = (
            ("cb", ctypes.wintypes.DWORD),
            ("DeviceName", ctypes.wintypes.WCHAR * 32),
            ("DeviceString", ctypes.wintypes.WCHAR * 128),
            ("StateFlags", ctypes.wintypes.DWORD),
            ("DeviceID", ctypes.wintypes.WCHAR * 128),
            ("DeviceKey", ctypes.wintypes.WCHAR * 128),
        )

    def _structure(function: str, size_bytes: int, begins_with: bytes = b"") -> bytes:
        """The raw structure that a function of kernel32 fills in; empty when it refuses."""
        buffer = ctypes.create_string_buffer(begins_with, size_bytes)
        return buffer.raw if getattr(ctypes.windll.kernel32, function)(buffer) else b""

    def _core_records() -> bytes:
        ask_cores = ctypes.windll.kernel32.GetLogicalProcessorInformationEx
        size = ctypes.wintypes.DWORD(0)
        ask_cores(0, None, ctypes.byref(size))
        if not 0 < size.value <= _LARGEST_TABLE_BYTES:
            return b""
        buffer = ctypes.create_string_buffer(size.value)
        return buffer.raw[: size.value] if ask_cores(0, buffer, ctypes.byref(size)) else b""

    def _firmware_table() -> bytes:
        ask_table = ctypes.windll.kernel32.GetSystemFirmwareTable
        size = ask_table(_FIRMWARE_PROVIDER, 0, None, 0)
        if not 0 < size <= _LARGEST_TABLE_BYTES:
            return b""
        buffer = ctypes.create_string_buffer(size)
        return buffer.raw[: ask_table(_FIRMWARE_PROVIDER, 0, buffer, size)]

    def _features() -> tuple[str, ...]:
        is_present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return tuple(sorted(name for number, name in _FEATURES if is_present(number)))

    def _registry_values(path: str) -> dict[str, object]:
        values: dict[str, object] = {}
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
                for number in range(winreg.QueryInfoKey(key)[1]):
                    name, value, _ = winreg.EnumValue(key, number)
                    values[name] = value
        except OSError:  # no such key, or not ours to read
            return values
        return values

    def _adapters() -> tuple[Adapter, ...]:
        found = []
        for number in range(32):
            values = _registry_values(f"{_ADAPTER_CLASS}\\{number:04}")
            memory = values.get("HardwareInformation.qwMemorySize")
            if isinstance(memory, bytes):  # some drivers write it as bytes
                memory = int.from_bytes(memory[:8], "little")
            if name := str(values.get("DriverDesc", "")):
                size = memory if isinstance(memory, int) and memory > 0 else None
                found.append(Adapter(name, str(values.get("DriverVersion", "")), size))
        return tuple(found)

    def _present_adapters() -> dict[str, bool]:
        present: dict[str, bool] = {}
        device = _DisplayDevice(cb=ctypes.sizeof(_DisplayDevice))
        number = 0
        while number < 64 and ctypes.windll.user32.EnumDisplayDevicesW(None, number, ctypes.byref(device), 0):
            name = device.DeviceString
            present[name] = present.get(name, False) or bool(device.StateFlags & 1)
            number += 1
        return present

    class UncachedFile:
        """Reads blocks past the system's cache (FILE_FLAG_NO_BUFFERING). Raises OSError."""

        def __init__(self, file: Path) -> None:
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel.CreateFileW.restype = ctypes.wintypes.HANDLE
            # 0x80000000: read; 7: others may do what they like; 3: it exists; 0x20000000: no buffering.
            handle = self._kernel.CreateFileW(str(file), 0x80000000, 7, None, 3, 0x20000000, None)
            if handle in (None, ctypes.wintypes.HANDLE(-1).value):
                raise ctypes.WinError(ctypes.get_last_error())
            self._handle = ctypes.wintypes.HANDLE(handle)
            self._buffer = mmap.mmap(-1, _BLOCK_BYTES)  # begins at a page, as unbuffered reading asks
            self._view = ctypes.c_char.from_buffer(self._buffer)

        def read(self, place: int) -> int:
            """Reads the 4 MiB at `place`; answers how many bytes came."""
            got = ctypes.wintypes.DWORD(0)
            moved = self._kernel.SetFilePointerEx(self._handle, ctypes.c_longlong(place), None, 0)
            if not moved or not self._kernel.ReadFile(
                self._handle, ctypes.byref(self._view), _BLOCK_BYTES, ctypes.byref(got), None
            ):
                raise ctypes.WinError(ctypes.get_last_error())
            return got.value

        def close(self) -> None:
            del self._view
            self._buffer.close()
            self._kernel.CloseHandle(self._handle)
