"""The language of scripts for the scripted engine, and reading it. What is played, and how, is in `engine`.

The "model file" is a TOML file:

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
    how = "segfault"              # see `How`
    seconds = 3600.0              # for "hang"
    status = 1                    # for "exit"
    text = "…"                    # for "print", "half_line", "nonsense"; "flood" writes it up to `bytes` to stderr
    bytes = 4000000

A conversation costs one token per word, four per message and three for the reply's own frame (thinking: two more),
so every figure of a reply can be foretold.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engines.errors import EngineError, ModelFileError, from_code

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

    def error(self) -> EngineError:
        return from_code(self.code, self.title, self.advice, self.details)


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
    reply: Annotated[tuple[ReplyScript, ...], msgspec.Meta(min_length=1)]
    name: str = ""
    context_tokens: int = 2048
    choose: Literal["turn", "seed"] = "turn"
    token_bytes: int = 0
    can_think: bool | None = None
    load: LoadScript = msgspec.field(default_factory=LoadScript)
    prompt: PromptScript = msgspec.field(default_factory=PromptScript)


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
