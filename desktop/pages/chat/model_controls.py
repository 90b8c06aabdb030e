"""The model in the header and on its way into memory: choice, file from anywhere, eject, the card while it loads."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import assert_never

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QFileDialog, QWidget

from desktop.core.figures import size_words
from desktop.pages.base import Services
from desktop.pages.chat.memory_figures import computer_state, loading_state, loading_words
from desktop.services.engine_session import EngineChoices
from desktop.services.notices import NoticeAction
from desktop.widgets.fit_badge import FitKind, fit_icon, fit_tone, fit_words
from desktop.widgets.loading_card import LoadingCard
from desktop.widgets.memory_bar import MemoryState
from desktop.widgets.model_switcher import ModelSwitcher
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.text import Tone
from engines.client_values import (
    ClientState,
    Crashed,
    Generating,
    LoadFailed,
    LoadingModel,
    Ready,
    Starting,
    Stopped,
    Stopping,
)
from engines.errors import EngineError, ModelInUseError, NotEnoughMemoryError
from engines.library import InstalledModel

CARD_AFTER_MS = 500
"""Nothing is shown for what takes less."""
STOP_AFTER_MS = 2000
_OPEN, _EJECT, _MODEL = "open", "eject", "model:"
IDLE_NOTICE = "idle-ejected"
_NO_MODEL_NOTICE = "no-model"
_LOAD_NOTICE = "load"
_NO_TEMPLATE_NOTICE = "no-template"


class ModelControls(QObject):
    """Keeps a switcher and a loading card true. Signals: none; it asks the services itself."""

    def __init__(self, services: Services, switcher: ModelSwitcher, card: LoadingCard, parent: QWidget) -> None:
        super().__init__(parent)
        self._services = services
        self._window = parent
        self._switcher = switcher
        self._card = card
        self._began_at = 0.0
        self._told: EngineError | None = None
        """What already stands at a reply and needs no notice."""
        self._card_timer = _single_shot(self, CARD_AFTER_MS)
        self._card_timer.timeout.connect(self._on_card_due)
        self._stop_timer = _single_shot(self, STOP_AFTER_MS)
        self._stop_timer.timeout.connect(lambda: card.set_stoppable(services.chat.is_busy))
        card.hide()
        card.stop_requested.connect(services.chat.stop)
        switcher.entry_chosen.connect(self.choose)
        services.models.models_changed.connect(self._refresh)
        services.models.current_changed.connect(self._on_current_changed)
        services.memory.memory_changed.connect(self._refresh)
        services.engine.state_changed.connect(self._on_engine_state)
        services.chat.reply_failed.connect(self._on_reply_failed)
        services.engine.idle_ejected.connect(self._on_idle_ejected)
        services.engine.load_failed.connect(self._on_load_failed)
        services.fit.assessed.connect(self._refresh)
        services.models.when_read(self._on_models_read)
        self._refresh()

    def entries(self) -> tuple[MenuEntry, ...]:
        """What the switcher offers."""
        current = self._services.models.current
        entries = []
        for index, model in enumerate(self._services.models.models):
            is_current = current is not None and model.path == current.path
            label = f"{model.name}   {model.problem or size_words(model.size_bytes)}"
            kind, words = self._fit(model)
            icon_name = "check" if is_current else fit_icon(kind) if words else ""
            tone: Tone = "ink2" if is_current else fit_tone(kind)
            entries.append(MenuEntry(f"{_MODEL}{index}", label, icon_name, model.is_complete, words, tone))
        is_in_memory = not isinstance(self._services.engine.state, Stopped | LoadFailed | Crashed)
        entries.append(MenuEntry(_OPEN, self.tr("Open a GGUF file…"), "file"))
        entries.append(MenuEntry(_EJECT, self.tr("Eject model"), enabled=is_in_memory))
        return tuple(entries)

    def _fit(self, model: InstalledModel) -> tuple[FitKind, str]:
        """The verdict on a file and its words; no words where there is none."""
        fit = self._services.fit.fit_of(model)
        verdict = fit.verdict if fit is not None else None
        if verdict is None:
            return "unknown", ""
        is_in_memory = self._services.engine.model == model and self._services.engine.loaded is not None
        if verdict.kind_now == "cannot" and verdict.kind != "cannot" and not is_in_memory:
            return "less_context", self.tr("Not enough free memory now")
        return verdict.kind, fit_words(verdict.kind)

    def choose(self, entry_id: str) -> None:
        """One of the switcher's entries was chosen."""
        if entry_id == _OPEN:
            self.open_file()
        elif entry_id == _EJECT:
            self._services.engine.eject()
        elif entry_id.startswith(_MODEL):
            models = self._services.models.models
            index = int(entry_id.removeprefix(_MODEL))
            if index < len(models):
                self._services.models.choose(models[index])

    def open_file(self) -> None:
        """Lets the user choose a model file."""
        folder = str(self._services.profile.paths.models_directory)
        chosen, _ = QFileDialog.getOpenFileName(
            self._window, self.tr("Open a model"), folder, self.tr("Models (*.gguf);;All files (*)")
        )
        if chosen:
            self._services.models.open_file(Path(chosen))

    # What the services tell

    def _on_current_changed(self, model: InstalledModel | None) -> None:
        if model is not None:
            self._services.notices.remove(_NO_MODEL_NOTICE)
        in_memory = self._services.engine.model
        if in_memory is not None and in_memory != model and not self._services.engine.is_busy:
            # It would only take room from the one that was chosen instead.
            self._services.engine.eject()
        self._services.notices.remove(_NO_TEMPLATE_NOTICE)
        self._services.notices.remove(_LOAD_NOTICE)
        self._refresh()

    def _on_models_read(self) -> None:
        if self._services.models.current is None:
            folder = self._services.profile.paths.models_directory
            self._services.notices.show_warning(
                self.tr("There is no model on this computer yet."),
                self.tr("Put a model file (.gguf) into {folder}, or open one.").format(folder=folder),
                key=_NO_MODEL_NOTICE,
                actions=(NoticeAction(self.tr("Open a GGUF file…"), self.open_file),),
            )
        self._refresh()

    def _on_engine_state(self, state: ClientState) -> None:
        match state:
            case Starting():
                self._begin_waiting()
            case LoadingModel(share):
                self._begin_waiting()
                self._show_progress(share)
            case Ready(model):
                self._end_waiting()
                if not model.has_chat_template:
                    self._services.notices.show_warning(
                        self.tr("This model was not made for chat."),
                        self.tr("It continues texts. It may answer oddly, end at once, or talk to itself."),
                        key=_NO_TEMPLATE_NOTICE,
                    )
            case Crashed(error, restarting):
                self._end_waiting()
                if not restarting and error is not self._told:
                    self._services.notices.show_problem(error, key="engine")
            case Stopped() | LoadFailed() | Generating() | Stopping():
                self._end_waiting()
            case _:
                assert_never(state)
        self._refresh()

    def _on_reply_failed(self, _: object, error: EngineError) -> None:
        self._told = error

    def _on_load_failed(self, model: InstalledModel, error: EngineError) -> None:
        """A load that nobody's message waits for: said here, where a reply would say it otherwise."""
        actions: tuple[NoticeAction, ...] = ()
        if isinstance(error, NotEnoughMemoryError | ModelInUseError):
            choices = EngineChoices(self._services.profile.settings.load_settings(), anyway=True)
            again = partial(self._services.engine.load, model, choices)
            actions = (NoticeAction(self.tr("Load anyway"), again),)
        self._services.notices.show_problem(error, key=_LOAD_NOTICE, actions=actions)

    def _on_idle_ejected(self) -> None:
        name = self._services.models.current.name if self._services.models.current is not None else ""
        self._services.notices.show_info(
            self.tr("{name} left memory because it was not used for a while.").format(name=name),
            self.tr("Your next message brings it back."),
            key=IDLE_NOTICE,
        )

    # The card

    def _begin_waiting(self) -> None:
        if not self._card_timer.isActive() and self._card.isHidden():
            self._began_at = time.monotonic()
            self._show_progress(0.0)
            self._card.set_stoppable(False)
            self._card_timer.start()
            self._stop_timer.start()

    def _end_waiting(self) -> None:
        self._card_timer.stop()
        self._stop_timer.stop()
        self._card.hide()

    def _on_card_due(self) -> None:
        self._card.show()

    def _show_progress(self, share: float) -> None:
        model = self._services.engine.model or self._services.models.current
        if model is None:
            return
        seconds = time.monotonic() - self._began_at
        memory = self._services.memory.memory
        bar = (
            loading_state(memory, model.size_bytes, share)
            if memory is not None
            else MemoryState(model.size_bytes, description=self.tr("Loading"))
        )
        title = self.tr("Starting {name}").format(name=model.name)
        self._card.set_state(title, loading_words(model.size_bytes, share, seconds), bar)

    # The switcher

    def _refresh(self, _: object = None) -> None:
        self._switcher.setVisible(self._services.models.was_read)
        self._switcher.set_entries(self.entries())
        model = self._services.models.current
        if model is None:
            self._switcher.set_model(self.tr("No model"), self.tr("Choose one to chat"))
            return
        loaded = self._services.engine.loaded
        memory = self._services.memory.memory
        state = computer_state(memory, loaded) if memory is not None and loaded is not None else None
        self._switcher.set_model(model.name, self._detail(model), state)

    def _detail(self, model: InstalledModel) -> str:
        match self._services.engine.state:
            case Ready(loaded) | Generating(loaded) | Stopping(loaded):
                return self.tr("{size} in memory").format(size=size_words(loaded.memory_bytes))
            case Starting() | LoadingModel() | Crashed(restarting=True):
                return self.tr("is being loaded")
            case Stopped() | LoadFailed() | Crashed():
                size = self.tr("{size} on disk").format(size=size_words(model.size_bytes))
                words = self._fit(model)[1]
                return f"{words}, {size}" if words else size


def _single_shot(parent: QObject, milliseconds: int) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    return timer
