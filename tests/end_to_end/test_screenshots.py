"""Pictures of the real window for people to look at: light and dark, small and large, at rest and at work.

They are kept in `artefacts/screenshots/`, or under the folder that SNUG_ARTEFACTS names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QImage

ROOT = Path(__file__).resolve().parents[2]
SIZES = ((900, 600), (1600, 1000))
BIKE_LOAN = '''
context_tokens = 1200
[load]
weights_bytes = 6000000000
[[reply]]
thinking = "The rate is yearly, so I divide it by twelve. Then the usual formula for equal payments."
text = """
### €106.26 a month

At 5.9 % a year you pay **€2,550.27** in total, of which **€150.27** is interest.

| Month | Interest | Repaid | Still owed |
|:------|---------:|-------:|-----------:|
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
token_seconds = 0.005
[[reply]]
text = """
The second offer is cheaper by €4.10 a month, but it runs six months longer. In the end you would pay **€61** more.

> Ask for the fee to be dropped: with that the first offer is the better one in every respect.
"""
token_seconds = 0.2
'''
OTHERS = ("Letter to the landlord", "Soup with white beans", "Rename photos by date", "什么是热泵？")  # noqa: RUF001
QUESTION = "What would I pay each month? Show some Python."
NEXT = "Compare it with this second offer: 30 months at 5.1 %."


@pytest.fixture(scope="module")
def pictures() -> Path:
    folder = Path(os.environ.get("SNUG_ARTEFACTS") or ROOT / "artefacts") / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_idle(seen: dict[str, Any]) -> bool:
    return not seen["busy"]


def grab(app: Any, path: Path, size: tuple[int, int]) -> QImage:
    app.do("resize", width=size[0], height=size[1])
    assert app.do("grab", path=str(path))
    image = QImage(str(path))
    assert (image.width(), image.height()) == size
    colours = {image.pixel(x, y) for x in range(0, size[0], 7) for y in range(0, size[1], 7)}
    assert len(colours) > 20, "there is something to see"
    return image


@pytest.mark.slow
@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_window_is_pictured(
    start_app: Callable[..., Any], use_script: Callable[..., Path], pictures: Path, appearance: str
) -> None:
    use_script(BIKE_LOAN, name="Qwen3.5 9B")
    app = start_app()
    app.do("set_appearance", appearance=appearance)
    for size in SIZES:
        grab(app, pictures / f"new-chat-{appearance}-{size[0]}x{size[1]}.png", size)
    for title in OTHERS:
        app.say(title)
        app.wait(lambda seen: seen["busy"] or seen["messages"])
        app.do("press", key="Escape")
        app.wait(is_idle)
        app.do("press", key="Control+N")
    app.say(QUESTION)
    app.wait(lambda seen: len(seen["messages"]) == 2 and is_idle(seen))
    app.do("type", text=NEXT)
    for size in SIZES:
        image = grab(app, pictures / f"chat-{appearance}-{size[0]}x{size[1]}.png", size)
        assert (image.pixelColor(size[0] // 2, 4).lightness() > 128) == (appearance == "light")
    app.do("press", key="Return")
    app.wait(lambda seen: len(seen["messages"]) == 4 and len(seen["messages"][3]["text"]) > 30)
    grab(app, pictures / f"replying-{appearance}-900x600.png", SIZES[0])
    app.do("press", key="Escape")
    app.wait(is_idle)
    grab(app, pictures / f"stopped-{appearance}-900x600.png", SIZES[0])
    app.do("press", key="Control+Slash")
    grab(app, pictures / f"keys-{appearance}-900x600.png", SIZES[0])
    app.do("press", key="Escape")
    app.do("resize", width=700, height=800)
    app.do("grab", path=str(pictures / f"narrow-{appearance}-700x800.png"))
    app.do("press", key="Control+K")
    app.do("grab", path=str(pictures / f"drawer-{appearance}-700x800.png"))
    app.do("press", key="Escape")
    assert app.close() == 0


def wait_for_models(app: Any, machine: str, name: str = "") -> list[tuple[str, str]]:
    """Until the list is judged for this computer; answers names and verdicts."""
    deadline = time.monotonic() + 60
    while True:
        seen = app.do("look_models")
        rows = [tuple(row) for row in seen["rows"]]
        if seen["settled"] and seen["machine"] == machine and (not name or name in [row[0] for row in rows]):
            return rows
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)  # another process sends no signal


@pytest.mark.slow
@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_models_are_pictured(start_app: Callable[..., Any], pictures: Path, appearance: str) -> None:
    app = start_app()
    app.do("set_appearance", appearance=appearance)
    size = (1280, 800)
    app.do("resize", width=size[0], height=size[1])
    app.do("models")
    here = wait_for_models(app, "")
    assert here
    grab(app, pictures / f"models-here-{appearance}-1280x800.png", size)
    app.do("models", machine="mac-mini-m4-16")
    rows = wait_for_models(app, "mac-mini-m4-16")
    assert rows[0][1] == "fits"
    app.do("open_row", name=rows[0][0])
    grab(app, pictures / f"models-recommended-{appearance}-1280x800.png", size)
    app.do("models", segment="all")
    rows = wait_for_models(app, "mac-mini-m4-16", "DeepSeek V4 Flash (0731)")
    grab(app, pictures / f"models-all-{appearance}-1280x800.png", size)
    cannot = next(name for name, kind in rows if kind == "cannot")
    app.do("open_row", name=cannot, why=True)
    grab(app, pictures / f"models-why-{appearance}-1280x800.png", size)
    app.do("models", machine="pc-nvidia-12")
    rows = wait_for_models(app, "pc-nvidia-12")
    app.do("open_row", name=rows[0][0])
    grab(app, pictures / f"models-card-{appearance}-1280x800.png", size)
    app.do("models", segment="recommended", machine="mac-mini-m4-16")
    rows = wait_for_models(app, "mac-mini-m4-16")
    app.do("resize", width=700, height=900)
    app.do("open_row", name=rows[0][0])
    grab(app, pictures / f"models-narrow-{appearance}-700x900.png", (700, 900))
    assert app.close() == 0


TROUBLE = """
[load]
steps = 60
step_seconds = 0.05
weights_bytes = 6000000000
[[reply]]
text = "A heat pump moves heat instead of making it. In winter it takes some from the air outside and"
token_seconds = 0.01
[reply.misbehaves]
how = "segfault"
after_tokens = 18
"""


@pytest.mark.slow
@pytest.mark.parametrize("appearance", ["light", "dark"])
def test_trouble_is_pictured(
    start_app: Callable[..., Any], use_script: Callable[..., Path], pictures: Path, appearance: str
) -> None:
    use_script(TROUBLE, name="Qwen3.5 9B")
    app = start_app()
    app.do("set_appearance", appearance=appearance)
    app.say("What is a heat pump?")
    app.wait(lambda seen: seen["card"] and seen["stoppable"])
    grab(app, pictures / f"loading-{appearance}-900x600.png", SIZES[0])
    app.do("close")
    app.wait(lambda seen: seen["notices"])
    grab(app, pictures / f"closing-{appearance}-900x600.png", SIZES[0])
    app.do("press_notice", label="Wait")
    seen = app.wait(is_idle)
    assert seen["messages"][1]["state"] == "interrupted"
    grab(app, pictures / f"crash-{appearance}-900x600.png", SIZES[0])
    assert app.close() == 0
