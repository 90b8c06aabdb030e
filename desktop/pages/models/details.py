"""What an open row shows: memory and context at the left, the versions at the right, the sum beneath."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from desktop.core.figures import size_words
from desktop.pages.models.explanation import explanation, source_words
from desktop.pages.models.memory_panel import MemoryPanel
from desktop.pages.models.words import (
    build_detail,
    build_name,
    context_saying,
    context_steps,
    pictures,
    speed_words,
    tr,
)
from desktop.services.fit_values import BuildFit, MemorySum, ModelFit
from desktop.widgets.build_picker import BuildChoice, BuildPicker
from desktop.widgets.buttons import Button
from desktop.widgets.explain_panel import ExplainPanel
from desktop.widgets.flow_row import FlowRow
from desktop.widgets.link_button import LinkButton
from desktop.widgets.text import Text
from desktop.widgets.theme import is_size_change, scaled
from engines.fit.values import Verdict
from engines.hardware.machine import Machine

_PICKER_PX, _BETWEEN_PX, _ONE_COLUMN_PX = 352, 32, 720
GUARD_MS = 500
"""The longest double click that systems offer."""


class ModelDetails(QWidget):
    """One for the whole list; the open row borrows it.

    Signals: context_changed(tokens) when the slider moved; build_chosen(build id); anyway_requested;
    folder_requested, file_requested for a model that is not here; explained(QWidget) when the sum was opened.
    """

    context_changed = Signal(int)
    build_chosen = Signal(str)
    anyway_requested = Signal()
    folder_requested = Signal()
    file_requested = Signal()
    explained = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._model: ModelFit | None = None
        self._build_id = ""
        self._asks_anyway = False
        self._guard = QTimer(self)
        """While it runs, a press on "Run anyway" may be the second half of a double click."""
        self._guard.setSingleShot(True)
        self._guard.setInterval(GUARD_MS)
        self.memory = MemoryPanel()
        self.memory.tokens_changed.connect(self.context_changed)
        self.picker = BuildPicker(tr("Version"))
        self.picker.chosen.connect(self.build_chosen)
        self.explain = ExplainPanel()
        self.explain.hide()
        self.explain.closed.connect(lambda: self.set_explained(False))
        self._speed = Text("", "secondary", "ink2", wrap=True)
        self._source = Text("", "hint", "ink3", wrap=True)
        self.question = LinkButton("", size="tiny")
        self.question.clicked.connect(lambda: self.set_explained(self.explain.isHidden()))
        self.anyway = Button(tr("Run anyway"), size="tiny")
        self.anyway.clicked.connect(self._on_anyway)
        self.absent = _Absent()
        self.absent.folder_requested.connect(self.folder_requested)
        self.absent.file_requested.connect(self.file_requested)
        self._build()

    # --- values in -------------------------------------------------------------------------------------------

    @property
    def model(self) -> ModelFit | None:
        """What is shown."""
        return self._model

    @property
    def build_fit(self) -> BuildFit | None:
        """The version that is chosen."""
        return self._model.find(self._build_id) if self._model is not None else None

    def show_model(self, model: ModelFit, build_id: str, tokens: int, most_tokens: int) -> None:
        """A model, one of its versions, the context that the slider stands at, and the most that fits."""
        if model.id != (self._model.id if self._model is not None else "") or build_id != self._build_id:
            self._set_asking(False)
        self._model = model
        self._build_id = build_id
        fit = model.find(build_id)
        self.picker.set_choices([_choice(build) for build in model.builds], build_id)
        verdict = fit.verdict if fit is not None else None
        self.memory.setVisible(verdict is not None)
        self.question.setVisible(verdict is not None)
        if fit is None or verdict is None or fit.facts is None:
            self._speed.set_text(
                (fit.problem if fit is not None else "")
                or tr("Not known yet: Snug's list does not say how large this version is.")
            )
            self._source.set_text("")
            self.explain.hide()
            self.anyway.hide()
        else:
            trained = fit.facts.geometry.trained_context_tokens or tokens
            # Of what cannot run at all no context is "too much".
            self.memory.set_steps(context_steps(trained), tokens, None if verdict.is_refused else most_tokens)
        self._versions.setVisible(len(model.builds) > 1 or fit is None or not fit.problem)
        is_refused = verdict is not None and verdict.is_refused  # having its file would change nothing
        self.absent.setVisible(fit is not None and fit.installed is None and not is_refused)
        if fit is not None:
            self.absent.show_build(fit)

    def show_sum(self, verdict: Verdict, sum_: MemorySum, machine: Machine, *, in_use: bool) -> None:
        """The memory at the chosen context; arithmetic, so it follows the slider."""
        fit, model = self.build_fit, self._model
        if fit is None or model is None:
            return
        is_cannot = verdict.kind == "cannot"
        saying = context_saying(sum_, verdict, in_use=in_use)
        self.memory.show_pictures(pictures(sum_), saying)
        self._speed.set_text(_speed_line(verdict))
        self._source.set_text(source_words(fit, sum_.placement.main.source, machine))
        self.question.setText(tr("Why not?") if is_cannot else tr("How is this calculated?"))
        may_force = fit.installed is not None and fit.installed.is_complete and not machine.is_profile
        self.anyway.setVisible(may_force and (is_cannot or not sum_.fits) and not verdict.is_refused)
        self.explain.set_explanation(explanation(fit, verdict, sum_, machine, model.name))

    def set_explained(self, is_explained: bool) -> None:
        """Shows or hides the sum."""
        had_focus = self._has_focus(self.explain)
        self.explain.setVisible(is_explained)
        if had_focus and not is_explained:
            self.question.setFocus()
        if is_explained:
            self.explained.emit(self.explain)

    @staticmethod
    def _has_focus(widget: QWidget) -> bool:
        focused = QApplication.focusWidget()
        return focused is not None and widget.isAncestorOf(focused)

    # --- inside ------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        title = FlowRow(gap_px=5)
        label = Text(tr("Version"), "secondary")
        label.set_weight(600)
        title.add(label)
        title.add(Text(tr("bigger is more precise and slower"), "secondary", "ink2", elide=True))
        self._versions = QWidget()
        versions = QVBoxLayout(self._versions)
        versions.setContentsMargins(0, 0, 0, 0)
        versions.setSpacing(4)
        versions.addWidget(title)
        versions.addWidget(self.picker)
        versions.addStretch(1)
        self._left = QWidget()
        left = QVBoxLayout(self._left)
        left.setContentsMargins(0, 0, 0, 0)
        left.setSpacing(14)
        left.addWidget(self.memory)
        foot = QHBoxLayout()
        foot.setSpacing(12)
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self._speed)
        words.addWidget(self._source)
        foot.addLayout(words, 1)
        foot.addWidget(self.anyway)
        foot.addWidget(self.question)
        left.addLayout(foot)
        left.addStretch(1)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(_BETWEEN_PX)
        self._grid.setVerticalSpacing(16)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addLayout(self._grid)
        column.addWidget(self.absent)
        column.addWidget(self.explain)
        self._is_one_column: bool | None = None
        self._apply_width()

    def _apply_width(self) -> None:
        """Two columns where there is room for them."""
        is_one_column = self.width() < scaled(_ONE_COLUMN_PX)
        self._versions.setFixedWidth(16_777_215 if is_one_column else scaled(_PICKER_PX))
        self._versions.setMinimumWidth(0 if is_one_column else scaled(_PICKER_PX))
        if is_one_column == self._is_one_column:
            return
        self._is_one_column = is_one_column
        self._grid.removeWidget(self._left)
        self._grid.removeWidget(self._versions)
        self._grid.addWidget(self._left, 0, 0)
        self._grid.addWidget(self._versions, 1 if is_one_column else 0, 0 if is_one_column else 1)
        self._grid.setColumnStretch(0, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._apply_width()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if is_size_change(event):
            self._apply_width()

    def _on_anyway(self) -> None:
        """The first press says what may happen; the second one does it, unless it is half of a double click."""
        if self._guard.isActive():
            return
        if self._asks_anyway:
            self._set_asking(False)
            self.anyway_requested.emit()
        else:
            self._set_asking(True)
            self._guard.start()

    def _set_asking(self, asks: bool) -> None:
        self._asks_anyway = asks
        self.anyway.setText(tr("It may stop or slow everything down. Run it") if asks else tr("Run anyway"))
        self.anyway.set_kind("danger" if asks else "normal")


class _Absent(QWidget):
    """Where to put the file of a model that is not here. Signals: folder_requested; file_requested."""

    folder_requested = Signal()
    file_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._words = Text("", "secondary", "ink2", wrap=True)
        folder = Button(tr("Open the models folder"), icon_name="file", size="small")
        folder.clicked.connect(self.folder_requested)
        add = Button(tr("Add a file"), icon_name="plus", size="small")
        add.clicked.connect(self.file_requested)
        buttons = FlowRow(gap_px=8, line_gap_px=8)
        buttons.add(folder)
        buttons.add(add)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._words)
        column.addWidget(buttons)

    def show_build(self, fit: BuildFit) -> None:
        size = size_words(fit.size_bytes) if fit.size_bytes else tr("size not known yet")
        where = fit.build.repository if fit.build is not None and fit.build.repository else ""
        files = ", ".join(file.name for file in fit.build.file[:1]) if fit.build is not None else ""
        sentence = tr("Not on this computer ({size}). If you have the file, put it into the models folder or add it.")
        names = tr("It is {file} of {where}.").format(file=files, where=where) if files and where else ""
        self._words.set_text(" ".join(word for word in (sentence.format(size=size), names) if word))


def _choice(fit: BuildFit) -> BuildChoice:
    size = size_words(fit.size_bytes) if fit.size_bytes else ""
    kind = fit.verdict.kind if fit.verdict is not None else "unknown"
    return BuildChoice(fit.id, build_name(fit), size, build_detail(fit), None if fit.problem else kind)


def _speed_line(verdict: Verdict) -> str:
    if verdict.decode is None:
        return tr("Speed: not known yet") if verdict.kind != "cannot" else ""
    return tr("Writes {words}").format(words=speed_words(verdict.decode))
