from __future__ import annotations

from desktop.widgets.highlight import Stretch, color_of, display_name, highlight_lines
from desktop.widgets.theme import DARK, LIGHT


def test_each_line_gets_its_own_stretches() -> None:
    lines = highlight_lines("def f(x):\n    return 12  # why", "python")
    assert Stretch(0, 3, "code_keyword") in lines[0]
    assert Stretch(4, 1, "code_function") in lines[0]
    assert Stretch(4, 6, "code_keyword") in lines[1]
    assert Stretch(11, 2, "code_number") in lines[1]
    assert Stretch(15, 5, "code_comment") in lines[1]


def test_a_string_over_lines_is_coloured_on_each() -> None:
    lines = highlight_lines('x = """one\ntwo\nthree"""', "python")
    assert all(any(stretch.role == "code_string" for stretch in line) for line in lines)


def test_an_unknown_language_stays_plain() -> None:
    assert highlight_lines("a\nb\nc", "no such language") == [[], [], []]
    assert highlight_lines("a\nb", "") == [[], []]


def test_there_are_as_many_lines_as_in_the_code() -> None:
    for code in ("", "\n", "a\n\n", "\n\na", "a\nb\n"):
        assert len(highlight_lines(code, "python")) == code.count("\n") + 1


def test_languages_have_their_usual_names() -> None:
    assert [display_name(name) for name in ("py", "c++", "JSON", "rust")] == ["Python", "C++", "JSON", "Rust"]


def test_colours_come_from_the_theme() -> None:
    assert color_of(LIGHT, "code_keyword") == LIGHT.code_keyword
    assert color_of(DARK, "no") == DARK.no
