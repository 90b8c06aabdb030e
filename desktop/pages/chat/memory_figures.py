"""Memory in words and in bars: this computer, the model in it, the model on its way. Pure functions."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from desktop.core.figures import MEGABYTE, size_words
from desktop.widgets.memory_bar import MemoryPart, MemoryState
from engines.base import LoadedModel
from engines.memory import Memory


def _tr(text: str) -> str:
    return QCoreApplication.translate("ChatPage", text)


def computer_state(memory: Memory, loaded: LoadedModel | None) -> MemoryState:
    """What sits in this computer: other apps, the model, its conversation and working space."""
    used = max(0, memory.total_bytes - memory.available_bytes)
    parts: list[MemoryPart] = []
    words: list[str] = []
    if loaded is not None:
        weights = min(loaded.weights_bytes, memory.total_bytes)
        space = max(0, loaded.memory_bytes - loaded.weights_bytes)
        # Weights that are mapped from the file count as available on some systems and as used on others.
        other = max(0, used - space)
        parts += [MemoryPart("other", other), MemoryPart("weights", weights), MemoryPart("context", space)]
        words += [
            _tr("other apps {size}").format(size=size_words(other)),
            _tr("model {size}").format(size=size_words(weights)),
            _tr("conversation and working space {size}").format(size=size_words(space)),
        ]
    else:
        parts.append(MemoryPart("other", used))
        words.append(_tr("other apps {size}").format(size=size_words(used)))
    words.append(free_words(memory))
    return MemoryState(memory.total_bytes, tuple(parts), description=", ".join(words))


def loading_state(memory: Memory, weights_bytes: int, share: float) -> MemoryState:
    """The weights on their way into memory."""
    used = max(0, memory.total_bytes - memory.available_bytes)
    parts = [MemoryPart("other", used)]
    if share > 0:
        parts.append(MemoryPart("weights", round(weights_bytes * share)))
    words = _tr("other apps {other}, model {done} of {whole}").format(
        other=size_words(used), done=size_words(round(weights_bytes * share)), whole=size_words(weights_bytes)
    )
    return MemoryState(memory.total_bytes, tuple(parts), description=words)


def loading_words(weights_bytes: int, share: float, seconds: float) -> str:
    """How far it is, "3.4 of 6.0 GB, about 3 s"; the time only once there is enough to go by."""
    if weights_bytes < MEGABYTE:
        return _tr("{percent} %").format(percent=round(share * 100))
    amount = _tr("{done} of {whole}").format(
        done=size_words(round(weights_bytes * share)), whole=size_words(weights_bytes)
    )
    if not 0.1 <= share < 1 or seconds < 1:
        return amount
    left = seconds * (1 - share) / share
    return _tr("{amount}, about {seconds} s").format(amount=amount, seconds=max(1, round(left)))


def free_words(memory: Memory) -> str:
    """What is left, "3.8 GB free"."""
    return _tr("{size} free").format(size=size_words(memory.available_bytes))
