import re

import pytest

from engines.diagnosis import (
    after_second_crash,
    diagnose,
    explain_missing_library,
    explain_no_hello,
    explain_no_process,
    explain_wrong_protocol,
)
from engines.errors import (
    EngineCrashedError,
    EngineError,
    EngineStartError,
    ModelFileError,
    NotEnoughMemoryError,
)

GGML_ASSERT = "ggml.c:1234: GGML_ASSERT(a->ne[0] == b->ne[0]) failed"


def ended(returncode=0, signal_name=None, lines=(), activity="replying", platform="linux", protocol_error=None):
    return diagnose(
        returncode=returncode,
        signal_name=signal_name,
        stderr_tail=lines,
        activity=activity,
        protocol_error=protocol_error,
        platform=platform,
    )


CASES = [
    # how it ended, the kind of error, words of its title, words of its advice
    ({"returncode": -9, "signal_name": "SIGKILL"}, NotEnoughMemoryError, "memory ran out", "smaller model"),
    ({"returncode": 137}, NotEnoughMemoryError, "memory ran out", "smaller model"),
    ({"returncode": -4, "signal_name": "SIGILL"}, EngineCrashedError, "does not suit this processor", "made for"),
    ({"returncode": -11, "signal_name": "SIGSEGV"}, EngineCrashedError, "crashed while it wrote", "smaller context"),
    (
        {"returncode": -6, "signal_name": "SIGABRT", "lines": [GGML_ASSERT]},
        EngineCrashedError,
        "fault in its own work",
        "download the model again",
    ),
    ({"returncode": -7, "signal_name": "SIGBUS"}, ModelFileError, "could not be read any more", "drive"),
    ({"returncode": -8, "signal_name": "SIGFPE"}, EngineCrashedError, "fault in its own work", "Try again"),
    ({"returncode": -15, "signal_name": "SIGTERM"}, EngineCrashedError, "Another program ended", "Try again"),
    ({"returncode": -1, "signal_name": "SIGHUP"}, EngineCrashedError, "with its session", "Try again"),
    ({"returncode": -31, "signal_name": "SIGSYS"}, EngineCrashedError, "ended unexpectedly", "restart Snug"),
    ({"returncode": 3}, EngineCrashedError, "ended unexpectedly", "restart Snug"),
    ({"returncode": 200}, EngineCrashedError, "ended unexpectedly", "restart Snug"),
    *(
        (
            {"returncode": -6, "signal_name": "SIGABRT", "lines": [line]},
            NotEnoughMemoryError,
            "ran out of memory",
            "smaller",
        )
        for line in (
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "ggml_aligned_malloc: insufficient memory (attempted to allocate 4096 MB)",
            "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 4294967296",
            "ggml_gallocr_reserve_n: failed to allocate CPU buffer of size 123",
            "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
            "CUDA error: out of memory",
            "ggml_vulkan: Device memory allocation failed: ErrorOutOfDeviceMemory",
            "error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        )
    ),
    ({"returncode": 1, "lines": ["MemoryError"]}, NotEnoughMemoryError, "ran out of memory", "smaller"),
    *(
        (
            {"returncode": -6, "signal_name": "SIGABRT", "lines": [line]},
            EngineCrashedError,
            "graphics processor",
            "Close apps",
        )
        for line in (
            "[METAL] failed: Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)",
            "error: Caused GPU Hang Error (00000003:kIOGPUCommandBufferCallbackErrorHang)",
            "vk::Queue::submit: ErrorDeviceLost",
            "CUDA error: the launch timed out and was terminated",
        )
    ),
    *(
        (
            {"returncode": 1, "activity": "starting", "lines": ["Traceback", line]},
            EngineStartError,
            "is missing",
            "again",
        )
        for line in (
            "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory",
            "python: error while loading shared libraries: libpython3.12.so.1.0: cannot open shared object file",
            "dyld[12]: Library not loaded: @rpath/libomp.dylib",
            "ImportError: DLL load failed while importing _core: The specified module could not be found.",
            "/lib/libc.so.6: version `GLIBC_2.38' not found (required by libllama.so)",
            "ModuleNotFoundError: No module named 'msgspec'",
        )
    ),
    ({"returncode": 0xC0000005, "platform": "win32"}, EngineCrashedError, "crashed while", "smaller context"),
    ({"returncode": -0x3FFFFFFB, "platform": "win32"}, EngineCrashedError, "crashed while", "smaller context"),
    ({"returncode": 0xC000001D, "platform": "win32"}, EngineCrashedError, "does not suit this processor", "made for"),
    ({"returncode": 0xC0000374, "platform": "win32"}, EngineCrashedError, "crashed while", "smaller context"),
    ({"returncode": 0xC0000135, "platform": "win32"}, EngineStartError, "is missing", "Install Snug again"),
    ({"returncode": 0xC0000409, "platform": "win32"}, EngineCrashedError, "fault in its own work", "Try again"),
    ({"returncode": 0xC0000006, "platform": "win32"}, ModelFileError, "could not be read any more", "drive"),
    ({"returncode": 0xC0000017, "platform": "win32"}, NotEnoughMemoryError, "ran out of memory", "smaller"),
    ({"returncode": 137, "platform": "win32"}, EngineCrashedError, "ended unexpectedly", "restart Snug"),
    (
        {"returncode": -9, "signal_name": "SIGKILL", "protocol_error": "not JSON: xyz"},
        EngineCrashedError,
        "does not understand",
        "Try again",
    ),
    (
        {"returncode": -11, "signal_name": "SIGSEGV", "protocol_error": "not complete: {"},
        EngineCrashedError,
        "crashed while",
        "smaller context",
    ),
]


@pytest.mark.parametrize(("how", "error_type", "title", "advice"), CASES)
def test_every_way_to_die_has_its_sentence(how, error_type, title, advice):
    error = ended(**how)
    assert type(error) is error_type
    assert title in error.title and advice in error.advice
    assert error.advice.endswith("Your conversation is kept.")
    for sentence in (error.title, error.advice):
        assert sentence.endswith(".")
        assert not re.search(r"SIG[A-Z]|Error|Exception|!|\{|0x", sentence), sentence


@pytest.mark.parametrize(
    ("activity", "words"),
    [
        ("starting", "while it started"),
        ("loading", "while it loaded the model"),
        ("waiting", "while it was idle"),
        ("replying", "while it wrote a reply"),
    ],
)
def test_it_says_what_the_engine_was_doing(activity, words):
    error = ended(-11, "SIGSEGV", activity=activity)
    assert words in error.title and words in error.details


def test_details_hold_the_signal_and_the_last_lines():
    details = ended(-6, "SIGABRT", ["loading tensors", GGML_ASSERT], protocol_error="half: {").details
    assert details.splitlines() == [
        "Engine process: stopped by SIGABRT, while it wrote a reply",
        "Not a message: half: {",
        "Last lines of its output:",
        "loading tensors",
        GGML_ASSERT,
    ]


def test_details_of_windows_say_the_code_as_people_search_for_it():
    assert "exit status 0xC0000005 (access violation)" in ended(0xC0000005, platform="win32").details
    assert "exit status 5 (0x00000005)" in ended(5, platform="win32").details


def test_the_missing_part_is_named():
    error = ended(1, activity="starting", lines=["ImportError: libgomp.so.1: cannot open shared object file"])
    assert error.advice == "Install Snug again. The missing part is libgomp.so.1. Your conversation is kept."


def test_words_about_libraries_in_a_later_crash_do_not_mislead():
    assert ended(-11, "SIGSEGV", ["ImportError: optional thing"]).title.startswith("The engine crashed")
    assert type(ended(1, lines=["ImportError: optional thing"])) is EngineCrashedError


def test_a_processor_that_does_not_fit_wins_over_old_lines():
    assert "processor" in ended(-4, "SIGILL", ["failed to allocate 3 bytes, trying again"]).title


def test_a_second_crash_offers_something_smaller_and_keeps_the_kind():
    first = ended(-9, "SIGKILL")
    second = after_second_crash(first)
    assert type(second) is NotEnoughMemoryError
    assert second.title == first.title and second.details == first.details
    assert second.advice.startswith("It happened twice") and first.advice in second.advice


def test_an_engine_whose_library_is_missing():
    error = explain_missing_library("llama.cpp", "ImportError: libgomp.so.1: cannot open shared object file")
    assert isinstance(error, EngineError) and "llama.cpp" in error.title
    assert error.advice == "Install Snug again. The missing part is libgomp.so.1."
    assert explain_missing_library("llama.cpp", "something else").advice == "Install Snug again."


def test_a_process_that_does_not_get_going():
    assert "could not be started" in explain_no_process("no such file").title
    assert "60 s" in explain_no_hello(60.0).details and "in time" in explain_no_hello(60.0).title
    assert explain_wrong_protocol("protocol 9").advice == "Please restart Snug."
