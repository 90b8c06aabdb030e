"""The models page: which models fit this computer, or another one, with the sum behind every answer."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import QEvent, QPoint, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QWindow
from PySide6.QtWidgets import QApplication, QFileDialog, QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from desktop.pages.base import Page, Services
from desktop.pages.models.details import ModelDetails
from desktop.pages.models.entries import CHAT, INSTALLED, RECOMMENDED, WHY, in_segment, matching, row_state, segments
from desktop.pages.models.header import ModelsHeader
from desktop.pages.models.model_list import ModelList
from desktop.pages.models.problem import ProblemCard
from desktop.pages.models.words import tr
from desktop.services.engine_session import EngineChoices
from desktop.services.fit_values import Assessment, BuildFit, ModelFit
from desktop.widgets.cards import Column
from desktop.widgets.icon_line import IconLine
from desktop.widgets.overlay_scroll_bar import OverlayScrollBar
from desktop.widgets.popup_menu import MenuEntry
from engines.hardware.machine import Machine
from engines.library import InstalledModel

_MOST_WIDTH_PX, _SIDE_PX, _NARROW_SIDE_PX = 968, 28, 16
_AROUND_PX = 8
_SHOW_PASSES = 4
_BUSY_NOTICE = "models-busy"
_HERE = "here"


class ModelsPage(Page):
    """Recommended, installed and all models, judged for a computer.

    Signals: chat_requested when a model was chosen to talk to.
    """

    NAME: ClassVar[str] = "models"
    TITLE: ClassVar[str] = "Models"
    ICON: ClassVar[str] = "models"

    chat_requested = Signal()

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(services, parent)
        self._is_shown = False
        self._open_id = ""
        self._was_opened_by_hand = False
        self._builds: dict[str, str] = {}
        """Which version the user chose, by model."""
        self._tokens: dict[str, int] = {}
        """Where the user put the slider, by version."""
        self.header = ModelsHeader()
        self.list = ModelList()
        self.details = ModelDetails(self)
        self.details.hide()
        self.problem = ProblemCard()
        self._note = IconLine("info", "")
        self._awaited: Path | None = None
        """A file that was added and is not judged yet."""
        self._to_show: QWidget | str | None = None
        """What is to be brought into view as soon as everything has its place: a widget, or the row of a model."""
        self._passes_left = 0
        self._show_timer = QTimer(self)
        self._show_timer.setSingleShot(True)
        self._show_timer.timeout.connect(self._bring_into_view)
        self._build()
        self._connect()
        self.header.segments.set_segments(segments(None))

    # What the window asks

    def shown(self) -> None:
        self._is_shown = True
        self._show_machines()
        self._show()
        self.services.models.refresh()
        self.services.fit.start()
        self.header.search.setFocus(Qt.FocusReason.OtherFocusReason)

    def hidden(self) -> None:
        self._is_shown = False

    def take_notices(self, notices: QWidget) -> None:
        self._notice_slot.addWidget(notices)

    def set_narrow(self, narrow: bool) -> None:
        self.header.set_narrow(narrow)
        side = _NARROW_SIDE_PX if narrow else _SIDE_PX
        for layout in (self._top_row, self._list_row):
            layout.setContentsMargins(side, 0, side, 0)

    def areas(self) -> list[QWidget]:
        return [self.header.search, self.header.segments, self.list]

    def handle_escape(self) -> bool:
        if not self.details.explain.isHidden() and self._open_id:
            self.details.set_explained(False)
            return True
        if self._open_id:
            self._close()
            return True
        return False

    # Building

    def _build(self) -> None:
        top = QWidget()
        top_column = QVBoxLayout(top)
        top_column.setContentsMargins(0, 0, 0, 0)
        top_column.setSpacing(0)
        top_column.addWidget(self.header)
        self._notice_slot = QVBoxLayout()
        top_column.addLayout(self._notice_slot)
        body = QWidget()
        body_column = QVBoxLayout(body)
        body_column.setContentsMargins(0, 0, 0, 28)
        body_column.setSpacing(12)
        body_column.addWidget(self.problem)
        body_column.addWidget(self.list)
        body_column.addWidget(self._note)
        body_column.addStretch(1)
        self._top_row, top_holder = _held(top)
        self._list_row, list_holder = _held(body)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(list_holder)
        OverlayScrollBar(self._scroll)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(top_holder)
        column.addWidget(self._scroll, 1)
        self.set_narrow(False)

    def _connect(self) -> None:
        services = self.services
        self.header.menu_requested.connect(self.menu_requested)
        self.header.search_changed.connect(lambda _: self._show())
        self.header.segment_chosen.connect(self._on_segment)
        self.header.file_requested.connect(self.add_file)
        self.header.machine_chosen.connect(self._on_machine)
        self.list.open_requested.connect(self._on_open)
        self.list.action_requested.connect(self._on_action)
        self.details.context_changed.connect(self._on_context)
        self.details.build_chosen.connect(self._on_build)
        self.details.explained.connect(self._bring_soon)
        self.details.anyway_requested.connect(lambda: self._chat(anyway=True))
        self.details.folder_requested.connect(self._open_folder)
        self.details.file_requested.connect(self.add_file)
        self.problem.again_requested.connect(services.fit.start)
        services.fit.assessed.connect(self._on_assessed)
        services.fit.failed.connect(lambda _: self._show())
        services.fit.profiles_read.connect(lambda _: self._show_machines())
        services.engine.state_changed.connect(lambda _: self._show())
        services.models.file_added.connect(self._on_file_added)
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        application.focusWindowChanged.connect(self._on_focus_window)

    # Showing

    def _on_assessed(self, assessment: Assessment) -> None:
        del assessment
        self._show_machines()
        self._show()
        self._show_added()

    def _on_focus_window(self, window: QWindow | None) -> None:
        """Whoever comes back to the window may have put a file into the models folder meanwhile."""
        if self._is_shown and window is not None and window is self.window().windowHandle():
            self.services.models.refresh()

    def _on_file_added(self, model: InstalledModel) -> None:
        self._awaited = model.path
        self._show_added()

    def _show_added(self) -> None:
        """Opens the row of the file that was added, as soon as it has been judged."""
        assessment, path = self.services.fit.assessment, self._awaited
        if path is None or assessment is None or not self._is_shown:
            return
        for model in assessment.models:
            for fit in model.builds:
                if fit.installed is not None and fit.installed.path == path:
                    self._awaited = None
                    self._builds[model.id] = fit.id
                    self.header.search.clear()
                    self.header.segments.choose(INSTALLED)
                    self._on_open(model.id, True)
                    return

    def _show(self) -> None:
        """Everything that depends on the assessment, the search and the list that is chosen."""
        if not self._is_shown:
            return  # nobody looks: no rows are made, and no engine is asked
        assessment, error = self.services.fit.assessment, self.services.fit.error
        self.header.segments.set_segments(segments(assessment))
        self.problem.show_error(error)
        self._note.setVisible(error is None and assessment is not None)
        self.list.setVisible(error is None)
        if assessment is None:
            self.list.show_rows((), tr("Looking at this computer. This takes a moment."))
            return
        segment = self.header.segments.current()
        models = matching(in_segment(assessment, segment), self.header.search.text())
        if not self._was_opened_by_hand and segment == RECOMMENDED and models and not self.header.search.text():
            self._open_id = models[0].id
        if self._open_id and self._open_id not in {model.id for model in models}:
            self.list.close_row()
        in_use = self._in_use()
        rows = (row_state(model, assessment, in_use, is_open=model.id == self._open_id) for model in models)
        self.list.show_rows(rows, self._empty_words(segment, assessment))
        self._show_details(assessment)
        self._note.set_text(_note_words(assessment))

    def _show_details(self, assessment: Assessment) -> None:
        model = assessment.find(self._open_id)
        if model is None or not self._open_id:
            return
        fit = self._chosen_build(model)
        self.details.show_model(model, fit.id, self._tokens_of(fit), self.services.fit.most_context(fit))
        self._show_sum(fit, assessment.machine)
        self.list.open_row(model.id, self.details)
        if assessment.is_here:
            self.services.fit.refine(fit)

    def _show_sum(self, fit: BuildFit, machine: Machine) -> None:
        judged = self.services.fit.judge_at(fit, self._tokens_of(fit))
        if judged is None or fit.verdict is None:
            return
        at_context, sum_ = judged
        # What is said of the whole (kind, most context, reasons) is the model's; the sum is the chosen context's.
        verdict = fit.verdict if fit.verdict.kind == "cannot" else at_context
        self.details.show_sum(verdict, sum_, machine, in_use=self._is_in_use(fit))

    def _show_machines(self) -> None:
        fit, assessment = self.services.fit, self.services.fit.assessment
        machine = assessment.machine if assessment is not None else fit.here
        current = machine.profile if machine is not None else ""
        entries = [MenuEntry(_HERE, tr("This computer"), "check" if not current else "")]
        entries += [
            MenuEntry(other.profile, other.name, "check" if other.profile == current else "") for other in fit.profiles
        ]
        self.header.set_machine(machine.name if machine is not None else "", entries)

    def _empty_words(self, segment: str, assessment: Assessment) -> str:
        words = self.header.search.text().strip()
        if words:
            return tr("No model matches “{words}”.").format(words=words)
        if segment == INSTALLED:
            folder = self.services.profile.paths.models_directory
            return tr("No model is on this computer yet. Put a model file (.gguf) into {folder}, or add one.").format(
                folder=folder
            )
        return assessment.reason or tr("None of the known models runs on this computer.")

    # What the user does

    def add_file(self) -> None:
        """Lets the user choose a model file; it is judged like the others. What answers in the chat stays."""
        folder = str(self.services.profile.paths.models_directory)
        chosen, _ = QFileDialog.getOpenFileName(self, tr("Add a model"), folder, tr("Models (*.gguf);;All files (*)"))
        if chosen:
            self.services.models.add_file(Path(chosen))
            self.header.segments.choose(INSTALLED)

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.services.profile.paths.models_directory)))

    def _on_segment(self, segment_id: str) -> None:
        del segment_id
        self._show()
        self._scroll.verticalScrollBar().setValue(0)

    def _on_machine(self, entry_id: str) -> None:
        self.services.fit.choose_machine("" if entry_id == _HERE else entry_id)

    def _on_open(self, model_id: str, is_open: bool) -> None:
        self._was_opened_by_hand = True
        if is_open:
            self._open_id = model_id
            self.details.set_explained(False)
            self._show()
            self._bring_soon(model_id)
        else:
            self._close()

    def _close(self) -> None:
        self._was_opened_by_hand = True
        self._open_id = ""
        self.list.close_row()
        self._show()

    def _on_action(self, model_id: str, action_id: str) -> None:
        if action_id == WHY:
            self._on_open(model_id, True)
            self.details.set_explained(True)
            return
        if action_id == CHAT:
            self._open_id = model_id
            self._chat()

    def _on_context(self, tokens: int) -> None:
        fit, assessment = self.details.build_fit, self.services.fit.assessment
        if fit is None or assessment is None:
            return
        self._tokens[fit.id] = tokens
        if fit.installed is not None and assessment.is_here:
            self.services.fit.choose_context(fit.installed.path, tokens)
        self._show_sum(fit, assessment.machine)

    def _on_build(self, build_id: str) -> None:
        self._builds[self._open_id] = build_id
        if self.services.fit.assessment is not None:
            self._show_details(self.services.fit.assessment)

    def _chat(self, *, anyway: bool = False) -> None:
        """Loads the chosen version with the chosen context and turns to the chat."""
        assessment = self.services.fit.assessment
        model = assessment.find(self._open_id) if assessment is not None else None
        fit = self._chosen_build(model) if model is not None else None
        file = fit.installed if fit is not None else None
        if fit is None or file is None or fit.problem:
            return
        services = self.services
        if services.chat.is_busy and services.engine.model != file:
            services.notices.show_info(
                tr("A reply is still being written with another model."),
                tr("Wait for its end, or stop it in the chat."),
                key=_BUSY_NOTICE,
            )
            return
        services.models.choose(file)
        loaded = services.engine.loaded
        wanted = services.fit.context_for(file.path)
        if loaded is not None and wanted is not None and loaded.context_tokens < wanted and not services.chat.is_busy:
            services.engine.eject()  # it comes back with the context that was chosen
        services.engine.load(file, EngineChoices(services.profile.settings.load_settings(), anyway=anyway))
        self.chat_requested.emit()

    # The scrolled list

    def _bring_soon(self, widget: QWidget | str) -> None:
        """A row that opens closes another one, perhaps above it: what was asked for must not jump out of sight."""
        self._to_show = widget
        self._passes_left = _SHOW_PASSES
        self._show_timer.start(0)

    def _bring_into_view(self) -> None:
        """Scrolls no further than needed; what is higher than the window is shown from its top."""
        widget = self.list.row(self._to_show) if isinstance(self._to_show, str) else self._to_show
        if widget is None and self.list.is_making:
            self._show_timer.start(0)  # its row is not made yet
            return
        body = self._scroll.widget()
        if widget is None or body is None or not widget.isVisibleTo(body):
            return
        QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
        bar, room = self._scroll.verticalScrollBar(), self._scroll.viewport().height()
        top = widget.mapTo(body, QPoint(0, 0)).y() - _AROUND_PX
        bottom = top + widget.height() + 2 * _AROUND_PX
        if bottom > bar.value() + room:
            bar.setValue(bottom - room)
        if top < bar.value():
            bar.setValue(top)
        self._passes_left -= 1
        if self._passes_left > 0:  # words that wrap find their heights in more than one round of layouts
            self._show_timer.start(0)

    # What is chosen

    def _chosen_build(self, model: ModelFit) -> BuildFit:
        return model.find(self._builds.get(model.id, "")) or model.best_build

    def _tokens_of(self, fit: BuildFit) -> int:
        chosen = self._tokens.get(fit.id)
        if chosen is None and fit.installed is not None:
            chosen = self.services.fit.context_for(fit.installed.path)
        if chosen is not None:
            return chosen
        return fit.verdict.context_tokens if fit.verdict is not None else 0

    def _in_use(self) -> Path | None:
        model = self.services.engine.model
        return model.path if model is not None and self.services.engine.loaded is not None else None

    def _is_in_use(self, fit: BuildFit) -> bool:
        return fit.installed is not None and fit.installed.path == self._in_use()


def _held(content: QWidget) -> tuple[QHBoxLayout, QWidget]:
    """A widget in the middle of a row, never wider than the design's lists; and the row's layout."""
    holder = Column(content, most_width_px=_MOST_WIDTH_PX, side_px=_SIDE_PX)
    layout = holder.layout()
    assert isinstance(layout, QHBoxLayout)
    return layout, holder


def _note_words(assessment: Assessment) -> str:
    if not assessment.is_here:
        return tr("Every figure is a prediction for another computer: {name}.").format(name=assessment.machine.name)
    return tr("Judged before anything is downloaded. Speeds are predictions until a model has run on this computer.")
