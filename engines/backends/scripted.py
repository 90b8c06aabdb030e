"""A real engine without a model: it plays a script, with delays, failures and real crashes where the script says so.

For tests, demonstrations and the smoke test of packages. What it does comes from its script alone, never from a
prompt, a name or the environment. It has no part in how good or fast real models are.

The "model file" is a TOML script:

    format = 1                    # required
    name = "Demo"                 # shown as the model's name; default: the file's name
    context_tokens = 2048         # the largest context it "was trained" with
    choose = "turn"               # which [[reply]]: "turn" (the n-th for the n-th turn, round and round) or "seed"
    token_bytes = 0               # 0: a token is a word with the space before it; n: n bytes of UTF-8, so that
                                  # characters are split over tokens, as a byte-level vocabulary does
    can_think = true              # default: whether any reply has thinking

    [load]
    steps = 4                     # progress reports
    step_seconds = 0.0
    weights_bytes = 0
    [load.fails]                  # the load ends with this error
    code = "unsupported_model"    # any code of engines.errors
    title = "…"
    advice = "…"
    details = "…"
    [load.misbehaves]             # see below

    [prompt]
    batch_seconds = 0.0           # for each batch of LoadSettings.batch_tokens prompt tokens

    [[reply]]                     # at least one
    text = "…"                    # may hold {turn} {user} {user_characters} {system} {messages}
    thinking = ""                 # comes first, as pieces of the kind "thinking"
    token_seconds = 0.0
    repeat = 1                    # the text so many times: long replies from short scripts
    [reply.fails]                 # as above, after `after_tokens`
    after_tokens = 0
    [reply.misbehaves]
    when = "reply"                # or "prompt": before the first prompt batch is done
    after_tokens = 0
    how = "segfault"              # see _MISDEEDS
    seconds = 3600.0              # for "hang"
    status = 1                    # for "exit"
    text = "…"                    # for "print", "half_line", "nonsense"; "flood" writes it up to `bytes` to stderr
    bytes = 4000000

A conversation costs one token per word plus four per message, so every figure of a reply can be foretold.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import random
import re
import signal
import stat
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil

from engines.base import (
    ChatMessage,
    Engine,
    FinishReason,
    GenerationOptions,
    LoadCancelled,
    LoadedModel,
    LoadSettings,
    Outcome,
    Piece,
    PieceKind,
    Reading,
    Usage,
)
from engines.errors import ContextTooSmallError, ModelFileError, from_code

MESSAGE_TOKENS = 4
"""What the frame of a message costs, beside its words."""

_SLICE_S = 0.01
"""The longest nap between two looks at the cancel flag."""

How = Literal[
    "segfault",
    "abort",
    "illegal_instruction",
    "bus_error",
    "kill",
    "exit",
    "memory_error",
    "exception",
    "hang",
    "print",
    "half_line",
    "flood",
    "no_end",
    "nonsense",
]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the parts of a script."""


class Failure(_Part, frozen=True):
    """An error that the script asks for."""

    code: str = "internal"
    title: str = "The script says that this fails."
    advice: str = ""
    details: str = ""
    after_tokens: int = 0


class Misdeed(_Part, frozen=True):
    """Something that a proper engine never does."""

    how: How
    when: Literal["prompt", "reply"] = "reply"
    after_tokens: int = 0
    seconds: float = 3600.0
    status: int = 1
    text: str = "babble from native code"
    bytes: int = 4_000_000


class LoadScript(_Part, frozen=True):
    """How a load goes."""

    steps: int = 4
    step_seconds: float = 0.0
    weights_bytes: int = 0
    fails: Failure | None = None
    misbehaves: Misdeed | None = None


class PromptScript(_Part, frozen=True):
    """How reading a prompt goes."""

    batch_seconds: float = 0.0


class ReplyScript(_Part, frozen=True):
    """One reply."""

    text: str = ""
    thinking: str = ""
    token_seconds: float = 0.0
    repeat: int = 1
    fails: Failure | None = None
    misbehaves: Misdeed | None = None


class Script(_Part, frozen=True):
    """The whole file."""

    format: Literal[1]
    reply: tuple[ReplyScript, ...]
    name: str = ""
    context_tokens: int = 2048
    choose: Literal["turn", "seed"] = "turn"
    token_bytes: int = 0
    can_think: bool | None = None
    load: LoadScript = msgspec.field(default_factory=LoadScript)
    prompt: PromptScript = msgspec.field(default_factory=PromptScript)


@dataclass(slots=True)
class _Run:
    """What is counted during one reply."""

    prompt_tokens: int
    reused_tokens: int
    seed: int
    generated: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=time.perf_counter)
    read_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0


class ScriptedEngine(Engine):
    """Plays one script."""

    def __init__(self) -> None:
        self._script: Script | None = None
        self._context_tokens = 0
        self._batch_tokens = 1
        self._cache: list[str] = []

    def load(
        self,
        model_path: Path,
        settings: LoadSettings,
        on_progress: Callable[[float], bool],
    ) -> LoadedModel:
        started_at = time.perf_counter()
        script = read_script(model_path)
        for step in range(script.load.steps):
            if not on_progress(step / script.load.steps):
                raise LoadCancelled
            _nap(script.load.step_seconds, lambda: False)
        if script.load.misbehaves is not None:
            misbehave(script.load.misbehaves)
        if script.load.fails is not None:
            raise _error(script.load.fails)
        if not on_progress(1.0):
            raise LoadCancelled
        self._script = script
        self._cache = []
        self._context_tokens = min(settings.context_tokens or script.context_tokens, script.context_tokens)
        self._batch_tokens = max(1, settings.batch_tokens)
        can_think = script.can_think
        return LoadedModel(
            model_name=script.name or model_path.stem,
            architecture="scripted",
            context_tokens=self._context_tokens,
            trained_context_tokens=script.context_tokens,
            weights_bytes=script.load.weights_bytes,
            memory_bytes=_resident_bytes(),
            threads=settings.threads or 1,
            device="cpu",
            cache_kind="plain",
            has_chat_template=True,
            can_think=any(reply.thinking for reply in script.reply) if can_think is None else can_think,
            load_seconds=time.perf_counter() - started_at,
        )

    def generate(
        self,
        messages: tuple[ChatMessage, ...],
        options: GenerationOptions,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Reading | Piece | Outcome]:
        script = self._script
        if script is None:
            raise RuntimeError("generate was called before load")
        prompt = self._prompt_tokens(messages, options)
        reused = _common_length(self._cache, prompt)
        # As in a real engine the last token is always read again: its output is what the reply starts from.
        reused = min(reused, len(prompt) - 1)
        seed = options.seed if options.seed is not None else random.randrange(2**31)  # noqa: S311 - not a secret
        run = _Run(prompt_tokens=len(prompt), reused_tokens=reused, seed=seed)
        del self._cache[reused:]
        reply = _choose(script, messages, seed)
        if reply.misbehaves is not None and reply.misbehaves.when == "prompt":
            misbehave(reply.misbehaves)
        for done in range(reused, len(prompt), self._batch_tokens):
            if is_cancelled():
                yield self._outcome("cancelled", run)
                return
            _nap(script.prompt.batch_seconds, is_cancelled)
            self._cache = prompt[: done + self._batch_tokens]
            yield Reading(min(done + self._batch_tokens, len(prompt)) - reused, len(prompt) - reused)
        run.read_at = time.perf_counter()
        yield from self._reply(reply, _reply_tokens(script, reply, messages, options), run, options, is_cancelled)

    def count_tokens(self, text: str) -> int:
        return len(_tokens(text, self._script.token_bytes if self._script is not None else 0))

    def close(self) -> None:
        self._script = None
        self._cache = []

    def _prompt_tokens(self, messages: tuple[ChatMessage, ...], options: GenerationOptions) -> list[str]:
        assert self._script is not None
        prompt: list[str] = []
        for index, message in enumerate(messages):
            is_open = options.continue_last and index == len(messages) - 1
            prompt += [f"<{message.role}>", *["<frame>"] * (MESSAGE_TOKENS - 2)]
            prompt += _tokens(message.content, self._script.token_bytes)
            prompt += [] if is_open else ["<end>"]
        if not options.continue_last:
            prompt += ["<assistant>", *["<frame>"] * (MESSAGE_TOKENS - 2)]
        if len(prompt) >= self._context_tokens:
            raise ContextTooSmallError(
                "The conversation is longer than the context of the model.",
                "Start a new conversation, or load the model with a larger context.",
                f"{len(prompt)} tokens, {self._context_tokens} fit",
            )
        return prompt

    def _reply(
        self,
        reply: ReplyScript,
        tokens: list[tuple[PieceKind, str | bytes]],
        run: _Run,
        options: GenerationOptions,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Piece | Outcome]:
        text = _Text(options.stop)
        reason: FinishReason = "end"
        for kind, token in tokens:
            _act(reply, len(run.generated))
            if len(self._cache) >= self._context_tokens:
                reason = "context"
                break
            if options.max_tokens is not None and len(run.generated) >= options.max_tokens:
                reason = "length"
                break
            _nap(reply.token_seconds, is_cancelled)
            if is_cancelled():
                reason = "cancelled"
                break
            self._note_token(token, run)
            yield from text.add(kind, token)
            if text.stopped:
                reason = "stop"
                break
        else:
            _act(reply, len(run.generated))
        if reply.misbehaves is not None and reply.misbehaves.how == "no_end":
            return
        if reason != "stop":
            yield from text.rest()
        yield self._outcome(reason, run)

    def _note_token(self, token: str | bytes, run: _Run) -> None:
        run.last_token_at = time.perf_counter()
        if not run.generated:
            run.first_token_at = run.last_token_at
        name = token if isinstance(token, str) else token.decode("latin-1")
        run.generated.append(name)
        self._cache.append(name)

    def _outcome(self, reason: FinishReason, run: _Run) -> Outcome:
        now = time.perf_counter()
        usage = Usage(
            prompt_tokens=run.prompt_tokens,
            reused_tokens=run.reused_tokens,
            generated_tokens=len(run.generated),
            context_used_tokens=len(self._cache),
            context_tokens=self._context_tokens,
            prefill_seconds=(run.read_at or now) - run.started_at,
            decode_seconds=run.last_token_at - run.first_token_at,
            time_to_first_token_seconds=run.first_token_at - run.started_at if run.generated else None,
            peak_memory_bytes=_resident_bytes(),
            seed=run.seed,
        )
        return Outcome(reason, usage)


class _Text:
    """Joins tokens to pieces that end at whole characters, and holds back what may be the start of a stop string."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._kind: PieceKind = "text"
        self.stopped = False

    def add(self, kind: PieceKind, token: str | bytes) -> Iterator[Piece]:
        if kind != self._kind:
            yield from self.rest()
            self._kind = kind
        self._held += token if isinstance(token, str) else self._decoder.decode(token)
        if kind == "text":
            found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
            if found:
                self.stopped = True
                self._held = self._held[: min(found)]
                yield from self.rest()
                return
        yield from self._emit(len(self._held) - self._length_to_hold())

    def rest(self) -> Iterator[Piece]:
        yield from self._emit(len(self._held))

    def _emit(self, length: int) -> Iterator[Piece]:
        ready, self._held = self._held[:length], self._held[length:]
        if ready:
            yield Piece(ready, self._kind)

    def _length_to_hold(self) -> int:
        emoji = _GROWING_EMOJI.search(self._held)
        held = len(emoji.group()) if emoji else 0
        if self._kind == "text":
            for stop in self._stop:
                for length in range(min(len(stop) - 1, len(self._held)), held, -1):
                    if self._held.endswith(stop[:length]):
                        held = length
                        break
        return held


_EMOJI = "[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff]"
_MODIFIER = "[\ufe0e\ufe0f\u200d\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
_GROWING_EMOJI = re.compile(f"(?:{_EMOJI}|{_MODIFIER})(?:{_EMOJI}|{_MODIFIER})*$")
"""Emoji at the end of a text: a joiner, a skin tone or the second half of a flag may still follow."""


def read_script(path: Path) -> Script:
    """The script in a file. Raises ModelFileError."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Script)
    except FileNotFoundError as error:
        raise ModelFileError(
            "The model file is not there any more.", "Choose another model, or download it again.", str(error)
        ) from error
    except OSError as error:
        raise ModelFileError(
            "The model file cannot be read.", "Check the permissions of the file and its drive.", str(error)
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ModelFileError(
            "The model file is damaged or is not a model.", "Download it again or choose another one.", str(error)
        ) from error


def misbehave(misdeed: Misdeed) -> None:
    """Does it, for real. Most of these do not return."""
    _MISDEEDS[misdeed.how](misdeed)


def _act(reply: ReplyScript, generated_tokens: int) -> None:
    if reply.fails is not None and reply.fails.after_tokens == generated_tokens:
        raise _error(reply.fails)
    misdeed = reply.misbehaves
    if misdeed is not None and misdeed.when == "reply" and misdeed.after_tokens == generated_tokens:
        misbehave(misdeed)


def _choose(script: Script, messages: tuple[ChatMessage, ...], seed: int) -> ReplyScript:
    if not script.reply:
        return ReplyScript()
    if script.choose == "seed":
        return random.Random(seed).choice(script.reply)  # noqa: S311 - repeatable on purpose
    return script.reply[(_turn(messages) - 1) % len(script.reply)]


def _reply_tokens(
    script: Script, reply: ReplyScript, messages: tuple[ChatMessage, ...], options: GenerationOptions
) -> list[tuple[PieceKind, str | bytes]]:
    text = _fill(reply.text, messages) * reply.repeat
    thinking = reply.thinking if options.thinking is not False else ""
    if options.continue_last and messages and messages[-1].role == "assistant":
        begun = messages[-1].content
        text = text.removeprefix(begun)
        thinking = "" if begun else thinking
    return [
        *((("thinking", token)) for token in _raw_tokens(thinking, script.token_bytes)),
        *((("text", token)) for token in _raw_tokens(text, script.token_bytes)),
    ]


def _fill(text: str, messages: tuple[ChatMessage, ...]) -> str:
    user = next((message.content for message in reversed(messages) if message.role == "user"), "")
    system = next((message.content for message in messages if message.role == "system"), "")
    values = {
        "turn": str(_turn(messages)),
        "user": user,
        "user_characters": str(len(user)),
        "system": system,
        "messages": str(len(messages)),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)


def _turn(messages: tuple[ChatMessage, ...]) -> int:
    return max(1, sum(message.role == "user" for message in messages))


def _raw_tokens(text: str, token_bytes: int) -> list[str] | list[bytes]:
    if token_bytes > 0:
        data = text.encode("utf-8", "replace")
        return [data[start : start + token_bytes] for start in range(0, len(data), token_bytes)]
    return re.findall(r"\s*\S+|\s+$", text)


def _tokens(text: str, token_bytes: int) -> list[str]:
    return [token if isinstance(token, str) else token.decode("latin-1") for token in _raw_tokens(text, token_bytes)]


def _common_length(first: list[str], second: list[str]) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length


def _nap(seconds: float, is_cancelled: Callable[[], bool]) -> None:
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0 and not is_cancelled():
        time.sleep(min(left, _SLICE_S))


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _error(failure: Failure) -> Exception:
    return from_code(failure.code, failure.title, failure.advice, failure.details)


def _segfault(_: Misdeed) -> None:
    ctypes.string_at(0)


def _raise_signal(name: str) -> Callable[[Misdeed], None]:
    def end(_: Misdeed) -> None:
        number = getattr(signal, name, None)
        if number is None or sys.platform == "win32":
            # There are no such signals; abort is the nearest thing.
            os.abort()
        os.kill(os.getpid(), number)
        time.sleep(60)

    return end


def _raise_memory_error(_: Misdeed) -> None:
    raise MemoryError


def _raise_exception(misdeed: Misdeed) -> None:
    raise ValueError(misdeed.text)


def _hang(misdeed: Misdeed) -> None:
    time.sleep(misdeed.seconds)


def _print_from_c(misdeed: Misdeed) -> None:
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    library.puts(misdeed.text.encode())
    library.fflush(None)


def _write_into_pipes(data: bytes) -> None:
    # As a stray pointer may: into a pipe that is somebody else's. stdin, stdout and stderr are not meant.
    for descriptor in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, data)
        except OSError:
            # Not open, or the reading end of a pipe.
            continue


def _write_nonsense(misdeed: Misdeed) -> None:
    _write_into_pipes(misdeed.text.encode() + b"\n")


def _half_line_and_exit(misdeed: Misdeed) -> None:
    _write_into_pipes(b'{"kind":"piece","text":"' + misdeed.text.encode())
    os._exit(misdeed.status)


def _flood(misdeed: Misdeed) -> None:
    chunk = misdeed.text.encode() * max(1, 65536 // max(1, len(misdeed.text)))
    for _ in range(0, misdeed.bytes, len(chunk)):
        os.write(2, chunk)


def _nothing(_: Misdeed) -> None:
    """Seen to elsewhere."""


_MISDEEDS: dict[str, Callable[[Misdeed], Any]] = {
    "segfault": _segfault,
    "abort": lambda _: os.abort(),
    "illegal_instruction": _raise_signal("SIGILL"),
    "bus_error": _raise_signal("SIGBUS"),
    "kill": _raise_signal("SIGKILL"),
    "exit": lambda misdeed: os._exit(misdeed.status),
    "memory_error": _raise_memory_error,
    "exception": _raise_exception,
    "hang": _hang,
    "print": _print_from_c,
    "half_line": _half_line_and_exit,
    "nonsense": _write_nonsense,
    "flood": _flood,
    "no_end": _nothing,
}
