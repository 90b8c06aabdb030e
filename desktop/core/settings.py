"""What the user chose (Settings) and what the app remembers by itself (State): two JSON files. No paths, no Qt.

Only values that differ from their default are written, so a better default reaches everybody who never touched the
setting. Keys that this version does not know are kept; a wrong value falls back to its default and is reported.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec

from desktop.core.errors import from_os_error
from desktop.core.files import write_atomically
from engines.base import GenerationOptions, LoadSettings

Appearance = Literal["system", "light", "dark"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]

DEFAULT_CONTEXT_TOKENS = 8192
RECENT_MODELS_KEPT = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen, with its default and its range. None means: Snug chooses."""

    appearance: Appearance = "system"
    text_scale_percent: Annotated[int, msgspec.Meta(ge=50, le=300)] = 100
    idle_eject_minutes: Annotated[int, msgspec.Meta(ge=0, le=1440)] = 15
    """Minutes without use after which a model leaves memory; 0 is never."""
    models_directory: str | None = None
    context_tokens: Annotated[int, msgspec.Meta(ge=256, le=16_777_216)] | None = None
    """None is what the model was trained for, at most `DEFAULT_CONTEXT_TOKENS`."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    system_prompt: str = field(default="", repr=False)
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=16_777_216)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.7
    top_k: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 40
    top_p: Share = 0.95
    min_p: Share = 0.05
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2)] = 1.0
    frequency_penalty: Penalty = 0.0
    presence_penalty: Penalty = 0.0
    seed: Annotated[int, msgspec.Meta(ge=0, le=4_294_967_295)] | None = None
    thinking: bool | None = None

    def generation_options(self) -> GenerationOptions:
        """How a reply is sampled under these settings."""
        return GenerationOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            seed=self.seed,
            thinking=self.thinking,
        )

    def load_settings(self, trained_context_tokens: int | None = None) -> LoadSettings:
        """How a model is put into memory; `trained_context_tokens` is what its file says, where known."""
        context_tokens = self.context_tokens
        if context_tokens is None and trained_context_tokens:
            context_tokens = min(trained_context_tokens, DEFAULT_CONTEXT_TOKENS)
        return LoadSettings(context_tokens=context_tokens, threads=self.threads)


@dataclass(frozen=True, slots=True)
class State:
    """What the app remembers between two starts. Losing it costs a convenience, never work."""

    window_geometry: str = ""
    """The window's place and size as the toolkit gives it, base64."""
    side_bar_shown: bool = True
    side_bar_width_pixels: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    last_page: str = ""
    last_conversation_id: str | None = None
    last_model_path: str | None = None
    recent_models: tuple[str, ...] = ()
    """Paths, the last used first."""
    chosen_contexts: tuple[tuple[str, Annotated[int, msgspec.Meta(ge=256, le=16_777_216)]], ...] = ()
    """Model file and the context in tokens that was chosen for it on the models page, the latest first."""

    def with_model_used(self, model_path: str | Path) -> State:
        """The state after a model has been used."""
        path = str(model_path)
        others = [recent for recent in self.recent_models if recent != path]
        return dataclasses.replace(self, last_model_path=path, recent_models=(path, *others)[:RECENT_MODELS_KEPT])


Values = TypeVar("Values", Settings, State)


def load_settings(path: Path) -> tuple[Settings, tuple[str, ...]]:
    """The user's settings, and one sentence for each thing that was wrong with the file. Never raises for content."""
    return _load(path, Settings)


def save_settings(path: Path, settings: Settings) -> None:
    """Writes what differs from the defaults, atomically. Raises StorageError."""
    _save(path, settings)


def load_state(path: Path) -> tuple[State, tuple[str, ...]]:
    """What the last run remembered, and one sentence for each thing that was wrong with the file."""
    return _load(path, State)


def save_state(path: Path, state: State) -> None:
    """Writes what differs from the defaults, atomically. Raises StorageError."""
    _save(path, state)


def _load(path: Path, kind: type[Values]) -> tuple[Values, tuple[str, ...]]:
    try:
        raw = _read(path)
    except OSError as error:
        problem = from_os_error(error, path)
        return kind(), (f"{problem.title} {problem.advice} Until then the defaults apply.",)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return kind(), (f"{path.name} could not be understood, so the defaults apply ({error}).",)
    values: dict[str, Any] = {}
    problems = []
    types = get_type_hints(kind, include_extras=True)
    for value_field in dataclasses.fields(kind):
        name = value_field.name
        if name not in raw:
            continue
        try:
            values[name] = msgspec.convert(raw[name], types[name])
        except msgspec.ValidationError as error:
            reason = str(error).replace("`", "")
            problems.append(f"{path.name}: {name} goes back to its default, {value_field.default!r} ({reason}).")
    return kind(**values), tuple(problems)


def _save(path: Path, values: Settings | State) -> None:
    known = {value_field.name: value_field.default for value_field in dataclasses.fields(values)}
    try:
        previous = _read(path)
    except OSError:
        previous = {}  # The write below says what is wrong with the place.
    except (msgspec.DecodeError, UnicodeDecodeError):
        previous = {}
        _put_aside(path)
    content = {key: value for key, value in previous.items() if key not in known}
    content.update({name: getattr(values, name) for name, default in known.items() if getattr(values, name) != default})
    encoded = msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=2)
    write_atomically(path, encoded + b"\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    # Windows editors like to begin a file with a byte order mark.
    return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=dict[str, Any])


def _put_aside(path: Path) -> None:
    """Keeps a file that could not be understood: somebody may have typed much into it."""
    try:
        path.replace(path.with_name(f"{path.stem}.damaged-{int(time.time())}{path.suffix}"))
    except OSError as error:
        raise from_os_error(error, path) from error
