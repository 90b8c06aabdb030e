# ruff: noqa: RUF001  (Chinese text has Chinese punctuation)
"""Renders every widget to PNG files, light and dark, for people to look at.

Usage: QT_QPA_PLATFORM=offscreen python tests/desktop/widgets/gallery.py FOLDER [name[@text size] ...]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from desktop.widgets.buttons import Button, IconButton
from desktop.widgets.cards import Column, Hairline
from desktop.widgets.composer import Composer
from desktop.widgets.conversation_list import ConversationEntry
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.loading_card import LoadingCard, ProgressCard
from desktop.widgets.memory_bar import MemoryBar, MemoryPart, MemoryState
from desktop.widgets.message_parts import FOOTER_SEPARATOR
from desktop.widgets.model_switcher import ModelSwitcher
from desktop.widgets.notice_bar import Notice, NoticeAction, NoticeBar
from desktop.widgets.popup_menu import MenuEntry
from desktop.widgets.side_bar import PageEntry, SideBar
from desktop.widgets.text import Text
from desktop.widgets.theme import ThemeController
from desktop.widgets.transcript import Transcript
from desktop.widgets.transcript_model import MessageItem

REPLY = """### €106.26 a month

At 5.9 % a year you pay **€2,550.27** in total, of which **€150.27** is interest.

$$M = P \\cdot \\frac{r}{1-(1+r)^{-n}} = 106.26$$

| Month | Interest | Repaid | Still owed |
|:--|--:|--:|--:|
| 1 | €11.80 | €94.46 | €2,305.54 |
| 12 | €6.56 | €99.70 | €1,235.30 |
| 24 | €0.52 | €105.74 | €0.00 |

- The offer also lists a **€49 fee** on page 2; it is not included above.
- Paying off early is free of charge after month 12.

```python
def monthly(loan, yearly_rate, months):
    r = yearly_rate / 12
    return loan * r / (1 - (1 + r) ** -months)
print(round(monthly(2400, 0.059, 24), 2))  # 106.26
```
"""


def transcript() -> Transcript:
    widget = Transcript()
    widget.resize(1024, 740)
    widget.set_messages(
        [
            MessageItem("1", "user", "What would I pay each month? Show the formula and some Python."),
            MessageItem(
                "2",
                "assistant",
                REPLY,
                thinking="First the rate.\\n\\nThen the sum.",
                thinking_seconds=12.2,
                footer=FOOTER_SEPARATOR.join(("15 words a second", "26 s", "Qwen3.5 9B")),
            ),
        ]
    )
    return widget


MIXED = """# Erste Überschrift

Ein Absatz mit *kursiv*, **fett**, ***beides***, ~~gestrichen~~, `inline code`, [einem Link](https://example.org) und
Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnungsentwurfsvorlagenbearbeitungsstelle_ohne_Leerzeichen.

中文段落：你好，世界。这是一个测试，包含 **粗体** 和 `代码`。 👩‍👩‍👧‍👦 🇩🇪 👍🏽 emoji

مرحبا بالعالم، هذا نص عربي **غامق** مع كلمات English في الوسط.

1. First
2. Second with code:
   ```bash
   pip install something --with-a-very-long-option=value --and-another-one=/usr/local/share/very/long/path --dry-run
   ```
3. Third
   - nested
     - deeper
   - [ ] open task
10. Tenth

- [x] done
- [ ] to do

> A quote with *style*.
>
> > nested quote
>
> - and a list

| A very wide table | with many | columns that | do not | fit into | the column | of a reply | at all | really |
|---|---|---|---|---|---|---|---|---|
| Wert_eins_ohne_Leerzeichen | Wert_zwei_lang_lang | 3 | 4 | Wert_fuenf_lang | 6 | 7 | 8 | 9 |

---

<b>raw html</b> & ![a picture](https://example.org/cat.png) `a -> b != c`
"""


def messages() -> QWidget:
    widget = Transcript()
    widget.resize(900, 1500)
    widget.set_messages(
        [
            MessageItem("1", "user", "Kurz"),
            MessageItem("2", "assistant", MIXED, footer="15 words a second"),
        ]
    )
    return widget


def states() -> QWidget:
    widget = Transcript()
    widget.resize(900, 1100)
    widget.set_reply_entries([MenuEntry("x", "Show the numbers")])
    widget.set_messages(
        [
            MessageItem("1", "user", "One line\nand another\n\n    indented code\n" + "word " * 60),
            MessageItem("2", "assistant", "Half a rep", state="stopped", footer="12 words a second"),
            MessageItem("3", "assistant", "The other half", state="interrupted", thinking="x", thinking_seconds=75),
            MessageItem(
                "4",
                "assistant",
                "So far so",
                state="failed",
                error_title="The model stopped: the computer ran out of memory.",
                error_advice="Your conversation is saved. Close other apps, or continue with less context.",
                error_details="SIGKILL",
            ),
            MessageItem("5", "user", "你好，请写一首诗。"),
            MessageItem("6", "assistant", "", thinking="Let me think.", state="growing", status="Thinking"),
            MessageItem("7", "assistant", "", state="growing", status="Reading your message: 40 %"),
            MessageItem(
                "8",
                "assistant",
                "The answer.\n\n```py\nprint(",
                thinking="First the **rate**.\n\n- one\n- two",
                thinking_seconds=4,
                state="growing",
            ),
        ]
    )
    widget.show()
    widget._on_thinking_toggled("8", is_open=True)
    return widget


def composers() -> QWidget:
    window = QWidget()
    window.resize(760, 760)
    column = QVBoxLayout(window)
    column.setSpacing(16)
    for mode, text, share in (
        ("ready", "", 0.0),
        ("ready", "A line", 0.5),
        ("replying", "A next question\nin two lines", 0.81),
        ("stoppable_now", "你好 " * 40, 1.0),
        ("off", "\n".join(f"line {number}" for number in range(12)), None),
    ):
        composer = Composer()
        composer.set_text(text)
        composer.set_mode(mode)
        composer.set_space(share)
        column.addWidget(composer)
    column.addStretch(1)
    return window


GB = 1024**3
PARTS = (
    MemoryPart("other", int(4.6 * GB), "Other apps"),
    MemoryPart("weights", 6 * GB, "Qwen3.5 9B"),
    MemoryPart("context", int(1.1 * GB)),
    MemoryPart("buffers", int(0.5 * GB)),
)
MEMORY = MemoryState(16 * GB, PARTS, description="Other apps 4.6 GB, the model 6.0 GB")


def chat() -> QWidget:
    window = QWidget()
    window.resize(1280, 800)
    row = QHBoxLayout(window)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(0)
    side = SideBar()
    side.set_shortcut_hint("⌘ N")
    titles = {
        "Today": ("Bike loan: monthly payment", "Letter to the landlord", "Soup with white beans"),
        "Yesterday": ("Rename photos by date", "What is a heat pump?"),
        "Last week": ("Budget template, three people", "Thank-you note for Aylin", "Sort the CSV by column"),
    }
    side.set_conversations(
        [ConversationEntry(title, title, group) for group, names in titles.items() for title in names]
    )
    side.set_current_conversation("Bike loan: monthly payment")
    side.set_pages(
        [PageEntry("models", "Models", "models", "1 downloading"), PageEntry("settings", "Settings", "settings")]
    )
    side.set_memory(MEMORY, "3.8 GB free")
    row.addWidget(side)
    main_column = QVBoxLayout()
    main_column.setSpacing(0)
    header = QWidget()
    header.setFixedHeight(60)
    line = QHBoxLayout(header)
    line.setContentsMargins(20, 0, 20, 0)
    line.setSpacing(10)
    line.addWidget(Text("Bike loan: monthly payment", "section", elide=True), 1)
    switcher = ModelSwitcher()
    switcher.set_model("Qwen3.5 9B", "7.6 GB in memory", MEMORY)
    line.addWidget(switcher)
    line.addWidget(IconButton("more", "More", size="normal"))
    header.setFixedHeight(59)
    main_column.addWidget(header)
    main_column.addWidget(Hairline())
    talk = transcript()
    talk.set_reply_entries([MenuEntry("x", "Show the numbers")])
    main_column.addWidget(talk, 1)
    composer = Composer()
    composer.set_text("Compare it with this second offer")
    composer.set_space(0.22)
    composer.add_left_widget(IconButton("attach", "Add a file"))
    composer.add_left_widget(Button("Think first", icon_name="think", kind="quiet", size="small"))
    main_column.addWidget(Column(composer, above_px=2, below_px=14))
    row.addLayout(main_column, 1)
    return window


def components() -> QWidget:
    window = QWidget()
    window.resize(1280, 800)
    grid = QGridLayout(window)
    grid.setContentsMargins(36, 28, 36, 28)
    grid.setHorizontalSpacing(40)
    grid.setVerticalSpacing(24)
    buttons = QVBoxLayout()
    for kind in ("primary", "normal", "danger"):
        row = QHBoxLayout()
        row.setSpacing(14)
        for enabled in (True, False):
            button = Button("Install" if kind == "primary" else "Cancel", kind=kind)
            button.setEnabled(enabled)
            row.addWidget(button)
        row.addWidget(Button("Install and chat", icon_name="download", kind=kind, size="big"))
        row.addStretch(1)
        buttons.addLayout(row)
    grid.addLayout(buttons, 0, 1)
    bars = QVBoxLayout()
    limit = int(14.5 * GB)
    bars.addWidget(MemoryBar("page", MemoryState(16 * GB, PARTS, limit_bytes=limit)))
    bars.addWidget(MemoryBar("page", MemoryState(16 * GB, PARTS, overflow="streams", overflow_bytes=5 * GB)))
    bars.addWidget(
        MemoryBar(
            "page",
            MemoryState(
                16 * GB, (*PARTS[:1], MemoryPart("weights", int(11.4 * GB))), overflow="cannot", overflow_bytes=5 * GB
            ),
        )
    )
    bars.addWidget(MemoryBar("welcome", MemoryState(16 * GB, PARTS)))
    bars.addWidget(MemoryBar("mini", MemoryState(16 * GB, PARTS)))
    grid.addLayout(bars, 0, 0)
    loading = QVBoxLayout()
    loading.setSpacing(12)
    card = LoadingCard()
    card.set_state(
        "Starting Qwen3.5 9B",
        "3.4 of 6.0 GB, about 3 s",
        MemoryState(16 * GB, (PARTS[0], MemoryPart("weights", int(3.4 * GB)))),
    )
    loading.addWidget(card)
    progress = ProgressCard()
    progress.set_state("Reading your file: page 14 of 40", "about 1 min", 0.35)
    progress.set_stoppable(True)
    loading.addWidget(progress)
    loading.addStretch(1)
    grid.addLayout(loading, 1, 1)
    notices = NoticeBar()
    notices.show_notice(
        Notice(
            "a",
            "error",
            "The model stopped: the computer ran out of memory.",
            "Your conversation is saved. Close other apps, or continue with less context.",
            actions=(NoticeAction("less", "Continue with less"),),
            closable=False,
        )
    )
    notices.show_notice(
        Notice(
            "b",
            "warning",
            "Download paused: 1.2 GB left on the disk.",
            "Free 4 GB and it continues by itself.",
            details="x",
            actions=(NoticeAction("f", "Choose folder"),),
            icon_name="disk",
        )
    )
    notices.show_notice(
        Notice("c", "ok", "Gemma 4 12B is ready.", actions=(NoticeAction("c", "Chat"),), closable=False)
    )
    notices.show_notice(Notice("d", "info", "The database was repaired.", "Nothing was lost."))
    left = QVBoxLayout()
    left.addWidget(notices)
    left.addStretch(1)
    grid.addLayout(left, 1, 0, 2, 1)
    grid.addWidget(EmptyState(), 2, 1)
    return window


def narrow() -> QWidget:
    window = chat()
    side = window.findChild(SideBar)
    assert side is not None
    side.hide()
    window.resize(700, 800)
    return window


PICTURES = {
    "narrow": narrow,
    "transcript": transcript,
    "messages": messages,
    "states": states,
    "composers": composers,
    "chat": chat,
    "components": components,
}


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = arguments[1:] or list(PICTURES)
    application = QApplication([])
    controller = ThemeController(application, "light")
    controller.apply()
    for name in wanted:
        name, _, size = name.partition("@")  # noqa: PLW2901  (the part before the text size)
        controller.set_text_scale(float(size or 1))
        widget = PICTURES[name]()
        widget.move(QPoint(0, 0))
        widget.show()
        for appearance in ("light", "dark"):
            controller.set_appearance(appearance)
            for _ in range(4):
                application.processEvents()
            widget.grab().save(str(folder / f"{name}{size}-{appearance}.png"))
        widget.close()
        widget.deleteLater()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
