"""Markdown as blocks: what is shown, and that growing it piece by piece shows the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.content import Content

from chatbot.terminal.markdown import MarkdownText, find_code_blocks
from chatbot.terminal.prose import Prose, TableBlock
from chatbot.text import printable

SAMPLE = """# Title

A *paragraph* with **bold** text,
a second line and `code`.

- one
- two
  - nested
  - again

  more of two
1. first
2. second

> quoted
> twice

```python
def add(a, b):
    return a + b
```

| a | b |
|---|---|
| 1 | 2 |

---

The end. <b>not html</b> [link](https://example.org) &amp; entity
"""


def show(text: str, width: int = 60) -> str:
    return Prose(MarkdownText().set(printable(text))).show_text(width)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("plain", "plain"),
        ("a\nb", "a\nb"),
        ("*a* **b** ~~c~~ `d`", "a b c d"),
        ("- a\n- b", "• a\n• b"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("- a\n  - b", "• a\n  ◦ b"),
        ("- a long item that is wrapped", "• a long\n  item that\n  is wrapped"),
        ("> said", "▎ said"),
        ("<b>x</b>", "<b>x</b>"),
        ("<div>\nx\n</div>", "<div>\nx\n</div>"),
        ("[name](https://example.org)", "name"),
        ("![alt](x.png)", "[image: alt]"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a │ b\n──┼──\n1 │ 2"),
        ("你好世界你好世界", "你好世界你好\n世界"),
    ],
)
def test_what_is_shown(source: str, shown: str) -> None:
    rows = show(source, 12).split("\n")
    assert "\n".join(row.rstrip() for row in rows) == shown


def test_code_keeps_its_spaces_and_gets_colour() -> None:
    blocks = MarkdownText().set("```python\nif x:\n    return 1\n```")
    assert "     return 1" in Prose(blocks).show_text(40)
    assert any(span.style for block in blocks for span in block.content.spans)
    assert find_code_blocks(SAMPLE) == ["def add(a, b):\n    return a + b\n"]


def test_an_entity_cannot_bring_back_a_character_that_is_not_shown() -> None:
    assert "\u202e" not in show("a &#x202e; b &#x200f; c &#8238;")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "vbscript:x"])
def test_no_link_of_a_dangerous_kind(address: str) -> None:
    for block in MarkdownText().set(f"[x]({address}) <{address}> {address}"):
        assert all(isinstance(span.style, str) for span in block.content.spans)


def test_a_table_too_wide_is_narrowed() -> None:
    table = TableBlock(Content(""), table=[[Content("x" * 50), Content("y" * 50)], [Content("1"), Content("2")]])
    assert max(row.cell_length for row in table.rows(40)) <= 40


@pytest.mark.parametrize("step", [1, 3, 7, 50])
def test_growing_shows_the_same_as_the_whole(step: int) -> None:
    growing = MarkdownText()
    for end in range(step, len(SAMPLE) + step, step):
        blocks = growing.set(SAMPLE[:end])
        assert Prose(blocks).show_text(50) == show(SAMPLE[:end], 50)


@given(
    st.lists(
        st.sampled_from(["# ", "- ", "  ", "\n", "\n\n", "> ", "```\n", "1. ", "*", "|a|b|\n|-|-|\n", "text ", "你"])
    )
)
def test_any_markdown_grows_without_a_difference_in_its_end(parts: list[str]) -> None:
    """Where a list or a quotation ends, parsing only what follows must not change what was settled."""
    growing = MarkdownText()
    text = ""
    for part in parts:
        text += part
        blocks = growing.set(text)
    if text:
        shown = Prose(blocks).show_text(40)
        assert shown.replace("\n", "").replace(" ", "") == show(text, 40).replace("\n", "").replace(" ", "")


@given(st.text(), st.integers(1, 80))
def test_any_text_is_laid_out_within_the_width(text: str, width: int) -> None:
    blocks = MarkdownText().set(printable(text))
    height = Prose(blocks).get_height({}, width)
    assert height == sum(len(block.rows(width)) for block in blocks)
