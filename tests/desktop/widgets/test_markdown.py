from __future__ import annotations

import subprocess
import sys

import pytest

from desktop.widgets.markdown import LINE_BREAK, Leaf, Run, parse_leaves, plain_text


def one(text: str) -> Leaf:
    leaves = parse_leaves(text)
    assert len(leaves) == 1
    return leaves[0]


def words(text: str) -> list[tuple[str, str]]:
    """Marker and words of each leaf."""
    return [(leaf.marker, plain_text(leaf.runs)) for leaf in parse_leaves(text)]


def test_styles_become_runs() -> None:
    assert one("a **b** *c* ***d*** ~~e~~ `f`").runs == (
        Run("a "),
        Run("b", bold=True),
        Run(" "),
        Run("c", italic=True),
        Run(" "),
        Run("d", bold=True, italic=True),
        Run(" "),
        Run("e", strike=True),
        Run(" "),
        Run("f", code=True),
    )


def test_headings_have_levels() -> None:
    assert [(leaf.kind, leaf.level) for leaf in parse_leaves("# a\n\n### b\n\nc\n===")] == [
        ("heading", 1),
        ("heading", 3),
        ("heading", 1),
    ]


def test_lists_nest_by_indentation() -> None:
    leaves = parse_leaves("- a\n  - b\n    1. c\n- d")
    assert [(leaf.marker, leaf.indent_px) for leaf in leaves] == [("•", 20), ("◦", 40), ("1.", 68), ("•", 20)]


def test_numbers_go_on_from_the_first() -> None:
    assert words("3. a\n3. b\n3. c") == [("3.", "a"), ("4.", "b"), ("5.", "c")]
    assert words("0) a") == [("0)", "a")]


def test_tasks_are_marked() -> None:
    assert words("- [ ] open\n- [x] done\n- [X] also\n- [y] no") == [
        ("task", "open"),
        ("task done", "done"),
        ("task done", "also"),
        ("•", "[y] no"),
    ]


def test_an_item_may_hold_code_and_more_text() -> None:
    leaves = parse_leaves("1. Do\n   ```sh\n   ls\n   ```\n   then")
    assert [(leaf.kind, leaf.marker, leaf.indent_px) for leaf in leaves] == [
        ("paragraph", "1.", 28),
        ("code", "", 28),
        ("paragraph", "", 28),
    ]
    assert leaves[0].space_after_px > 1, "a card needs air above it"


def test_an_empty_item_keeps_its_marker() -> None:
    assert words("- \n- a") == [("•", ""), ("•", "a")]


def test_tight_lists_stay_tight_and_the_list_ends_with_space() -> None:
    assert [leaf.space_after_px for leaf in parse_leaves("- a\n- b\n\ntext")] == [1, 8, 8]
    assert [leaf.space_after_px for leaf in parse_leaves("- a\n\n- b")] == [8, 8]


def test_quotes_have_bars() -> None:
    leaves = parse_leaves("> a\n>\n> > b\n\nc")
    assert [(leaf.quote_bars_px, leaf.indent_px) for leaf in leaves] == [((0,), 16), ((0, 16), 32), ((), 0)]


def test_tables_have_rows_and_alignments() -> None:
    leaf = one("| a | b | c |\n|---|:-:|--:|\n| **1** | 2 | 3 |")
    assert leaf.kind == "table"
    assert leaf.aligns == ("left", "center", "right")
    assert [[plain_text(cell) for cell in row] for row in leaf.rows] == [["a", "b", "c"], ["1", "2", "3"]]
    assert leaf.rows[1][0] == (Run("1", bold=True),)


def test_code_keeps_every_character() -> None:
    leaf = one("```python title=x\n\tif a:\n\n    <b> & `x`\n```")
    assert (leaf.kind, leaf.language, leaf.text) == ("code", "python", "\tif a:\n\n    <b> & `x`")
    assert one("    indented").text == "indented"


def test_a_fence_without_end_is_code() -> None:
    assert one("```js\nlet a").text == "let a"


def test_html_is_shown_as_text() -> None:
    assert plain_text(one("<script>alert(1)</script> <b>x</b>").runs) == "<script>alert(1)</script> <b>x</b>"
    assert plain_text(one("<div>\nx\n</div>").runs).replace("\n", " ") == "<div> x </div>"


def test_pictures_are_links_and_nothing_is_fetched() -> None:
    assert one("![a cat](https://example.org/cat.png)").runs == (Run("a cat", link="https://example.org/cat.png"),)
    assert one("![](https://example.org/cat.png)").runs[0].text == "https://example.org/cat.png"


def test_links_carry_their_address() -> None:
    assert one("[x](https://example.org/a b)").runs[0].link in {"", "https://example.org/a"}
    assert one("[x](https://example.org)").runs == (Run("x", link="https://example.org"),)
    assert one("<https://example.org>").runs == (Run("https://example.org", link="https://example.org"),)


def test_bare_addresses_become_links_without_the_full_stop() -> None:
    runs = one("See https://example.org/a(b). Yes").runs
    assert runs[1].link.startswith("https://example.org/a")
    assert not runs[1].link.endswith(".")
    assert plain_text(runs) == "See https://example.org/a(b). Yes"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "vbscript:x", "data:text/html,x"])
def test_dangerous_addresses_are_no_links(address: str) -> None:
    assert all(not run.link for run in one(f"[x]({address})").runs)


def test_formulas_show_their_source_as_code() -> None:
    assert Run("x^2", code=True) in one("Then $x^2$ holds").runs
    assert Run("a+b", code=True) in one(r"Then \(a+b\) holds").runs
    assert one("$$\nE = mc^2\n$$").text == "E = mc^2"
    assert (one("\\[\nE = mc^2\n\\]").kind, one("\\[\nE = mc^2\n\\]").text) == ("code", "E = mc^2")


def test_money_is_no_formula() -> None:
    assert one("It costs $5 and $10 here").runs == (Run("It costs $5 and $10 here"),)


def test_line_breaks() -> None:
    assert plain_text(one("a\nb").runs) == "a b"
    assert one("a  \nb").runs == (Run(f"a{LINE_BREAK}b"),)


def test_a_rule_is_a_leaf() -> None:
    assert [leaf.kind for leaf in parse_leaves("a\n\n---\n\nb")] == ["paragraph", "rule", "paragraph"]


def test_nothing_gives_nothing() -> None:
    assert parse_leaves("") == []
    assert parse_leaves("\n \n") == []


def test_the_parser_is_not_imported_before_the_first_text() -> None:
    script = (
        "import sys, desktop.widgets.transcript, desktop.widgets.markdown_stream\n"
        "print([name for name in ('markdown_it', 'pygments', 'mdit_py_plugins') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
