"""How full this computer's memory is, looked at every few seconds while somebody wants to know."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.services.background import RunInBackground
from engines.memory import Memory, read_memory

INTERVAL_MS = 4000


class MemoryService(QObject):
    """The memory of this machine.

    Signals: memory_changed(Memory).
    """

    memory_changed = Signal(object)

    def __init__(
        self, run_in_background: RunInBackground, parent: QObject | None = None, *, interval_ms: int = INTERVAL_MS
    ) -> None:
        super().__init__(parent)
        self._run = run_in_background
        self._memory: Memory | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self.look)

    @property
    def memory(self) -> Memory | None:
        """As of the last look."""
        return self._memory

    def start(self) -> None:
        """Looks now and then every few seconds."""
        self.look()
        self._timer.start()

    def stop(self) -> None:
        """Nobody wants to know."""
        self._timer.stop()

    def look(self) -> None:
        """Looks once."""
        self._run(read_memory, self._on_read)

    def _on_read(self, memory: Memory) -> None:
        if memory != self._memory:
            self._memory = memory
            self.memory_changed.emit(memory)
