from __future__ import annotations

import platform

from desktop.commands.processor import parse_linux, parse_macos, read_processor

LINUX_X86 = """\
processor	: 0
vendor_id	: GenuineIntel
model name	: 13th Gen Intel(R) Core(TM) i7-1360P
flags		: fpu sse sse2 sse4_2 f16c avx fma avx2 avx_vnni rdrand

processor	: 1
model name	: another
flags		: fpu avx512f
"""
LINUX_ARM = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm aes asimdhp cpuid asimddp
CPU implementer	: 0x41
"""
MACOS_INTEL = """\
machdep.cpu.features: FPU VME SSE4.2 FMA F16C AVX1.0 RDRAND
machdep.cpu.leaf7_features: RDWRFSGS BMI1 AVX2 BMI2
machdep.cpu.brand_string: Intel(R) Core(TM) i7-8850H CPU @ 2.60GHz
hw.optional.floatingpoint: 1
hw.optional.avx512f: 0
"""
MACOS_APPLE = """\
machdep.cpu.cores_per_package: 10
machdep.cpu.brand_string: Apple M4
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_SME: 1
hw.optional.arm.FEAT_SME2: 0
"""


def test_linux_on_x86_names_the_processor_and_what_matters_to_models() -> None:
    assert parse_linux(LINUX_X86) == (
        "13th Gen Intel(R) Core(TM) i7-1360P",
        ("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni"),
    )


def test_linux_on_arm_names_features_only() -> None:
    assert parse_linux(LINUX_ARM) == ("", ("asimd", "asimdhp", "asimddp"))


def test_a_hidden_cpuinfo_says_nothing() -> None:
    assert parse_linux("") == ("", ())


def test_macs_of_both_kinds_are_read() -> None:
    assert parse_macos(MACOS_INTEL) == (
        "Intel(R) Core(TM) i7-8850H CPU @ 2.60GHz",
        ("sse4_2", "avx", "f16c", "fma", "avx2"),
    )
    assert parse_macos(MACOS_APPLE) == ("Apple M4", ("asimddp", "i8mm", "bf16", "sme"))
    assert parse_macos("") == ("", ())


def test_this_processor_has_a_name_and_cores() -> None:
    processor = read_processor()

    assert processor.name
    assert processor.machine == platform.machine()
    assert processor.logical_cores is not None and processor.usable_cores is not None
    assert 1 <= processor.usable_cores <= processor.logical_cores
