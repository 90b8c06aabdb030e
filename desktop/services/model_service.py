"""Which models are on this disk and which one answers. Looks in the background; puts nothing into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from desktop.core.known_models import load_known_models
from desktop.core.paths import AppPaths
from desktop.core.settings import RECENT_MODELS_KEPT
from desktop.services.background import RunInBackground
from desktop.services.notices import Notices
from desktop.services.profile import Profile
from engines.errors import EngineError, ModelFileError
from engines.formats.gguf import read_header
from engines.library import InstalledModel, default_model, describe_file, installed_models, require_complete
from engines.load_planning import is_judged


@dataclass(frozen=True, slots=True)
class _Found:
    models: tuple[InstalledModel, ...]
    default: InstalledModel | None
    problems: tuple[str, ...]
    """Entries of the user's own lists that were left out, in words."""


class ModelService(QObject):
    """The models on this disk.

    Signals: models_changed(tuple of InstalledModel); current_changed(InstalledModel or None);
    file_added(InstalledModel) when a file from anywhere was put beside the others.
    """

    models_changed = Signal(object)
    current_changed = Signal(object)
    file_added = Signal(object)

    def __init__(
        self, profile: Profile, notices: Notices, run_in_background: RunInBackground, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._profile = profile
        self._notices = notices
        self._run = run_in_background
        self._models: tuple[InstalledModel, ...] = ()
        self._current: InstalledModel | None = None
        self._was_read = False
        self._waiting: list[Callable[[], None]] = []
        self._opened: list[Path] = []
        """Opened from anywhere since the start: shown until the end, also what is no model and not remembered."""
        self._is_looking = False
        self._is_due = False
        """A look was asked for, or a file was opened, while another look was under way."""
        self._told_problems: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[InstalledModel, ...]:
        """The starter, those in the models folder, and those that were opened from elsewhere."""
        return self._models

    @property
    def current(self) -> InstalledModel | None:
        """The one that answers; None while there is none."""
        return self._current

    @property
    def was_read(self) -> bool:
        """Whether the disk has been looked at."""
        return self._was_read

    def when_read(self, call: Callable[[], None]) -> None:
        """Calls when the disk has been looked at for the first time; at once where that is so."""
        if self._was_read:
            call()
        else:
            self._waiting.append(call)

    def refresh(self) -> None:
        """Looks at the disk again, in the background; tells only what is different from before."""
        if self._is_looking:
            self._is_due = True
            return
        self._is_looking = True
        self._is_due = False
        paths = self._profile.paths
        state = self._profile.state
        last_used = Path(state.last_model_path) if state.last_model_path else None
        recent = tuple(dict.fromkeys([*map(Path, state.recent_models), *self._opened]))
        self._run(lambda: _look(paths, last_used, recent), self._on_found, self._on_not_found)

    def choose(self, model: InstalledModel) -> None:
        """Lets this model answer from now on."""
        try:
            require_complete(model)
        except EngineError as error:
            self._notices.show_problem(error, key="model")
            return
        self._notices.remove("model")
        self._profile.remember_model(model.path)
        self._set_current(model)

    def open_file(self, path: Path) -> None:
        """A model file from anywhere answers from now on."""

        def on_done(model: InstalledModel) -> None:
            self._put_beside(model)
            self.choose(model)

        paths = self._profile.paths
        self._run(lambda: describe_file(path, load_known_models(paths)[0]), on_done, self._on_error)

    def add_file(self, path: Path) -> None:
        """A model file from anywhere stands beside the others; the one that answers stays. `file_added` tells it."""

        def on_done(result: tuple[InstalledModel, bool]) -> None:
            model, is_model = result
            if is_model:
                self._remember_beside(model.path)
            self._put_beside(model)
            self.file_added.emit(model)

        paths = self._profile.paths
        self._run(lambda: _describe(path, paths), on_done, self._on_error)

    def _put_beside(self, model: InstalledModel) -> None:
        self._is_due = self._is_looking  # what is being read now knows nothing of it
        if model.path not in self._opened:
            self._opened.append(model.path)
        if model not in self._models:
            self._models = (*(other for other in self._models if other.path != model.path), model)
            self.models_changed.emit(self._models)

    def _remember_beside(self, path: Path) -> None:
        """Among the recent ones, after the one that answers: that one is to be there at the next start as well."""
        recent = self._profile.state.recent_models
        if str(path) not in recent:
            kept = (*recent[:1], str(path), *recent[1:])[:RECENT_MODELS_KEPT]
            self._profile.change_state(recent_models=kept)

    def _on_found(self, found: _Found) -> None:
        self._is_looking = False
        if self._is_due:
            self.refresh()
            return
        if found.problems and found.problems != self._told_problems:
            self._notices.show_warning(
                "Not every entry of your own list of models could be used.", " ".join(found.problems), key="catalogue"
            )
        self._told_problems = found.problems
        if found.models != self._models or not self._was_read:
            self._models = found.models
            self.models_changed.emit(found.models)
        still_there = self._current is not None and self._current in found.models
        if not still_there:
            self._set_current(found.default)
        self._end_waiting()

    def _on_not_found(self, error: Exception) -> None:
        self._is_looking = False
        self._end_waiting()
        self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        if not isinstance(error, EngineError):
            raise error
        self._notices.show_problem(error, key="model")

    def _set_current(self, model: InstalledModel | None) -> None:
        if model != self._current:
            self._current = model
            self.current_changed.emit(model)

    def _end_waiting(self) -> None:
        self._was_read = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


def _look(paths: AppPaths, last_used: Path | None, recent: tuple[Path, ...]) -> _Found:
    catalog, problems = load_known_models(paths)
    models_directory = paths.models_directory
    models = list(installed_models(catalog, models_directory))
    known = {model.path for model in models}
    for path in recent:
        if path not in known and path.is_file():
            models.append(describe_file(path, catalog))
    try:
        default = default_model(catalog, models_directory, last_used)
    except ModelFileError:
        default = None  # no model yet: the chat page says so
    return _Found(tuple(models), default, problems)


def _describe(path: Path, paths: AppPaths) -> tuple[InstalledModel, bool]:
    """What a file is, and whether it is a model at all: its beginning is read."""
    model = describe_file(path, load_known_models(paths)[0])
    if not is_judged(model):
        return model, model.is_complete
    try:
        read_header(model.path)
    except EngineError:
        return model, False
    return model, True
