"""Rows token by token."""

from __future__ import annotations

from chatbot.admin.datasets.items import LabelItem, PreferenceItem, SftItem, Turn
from chatbot.admin.datasets.showing import show_item
from chatbot.admin.rendering import render_row
from chatbot.models.template import ChatTemplate

ASK = Turn(role="user", content="你好 🎉?")


def test_the_pieces_are_the_row_and_whole_characters(template: ChatTemplate) -> None:
    turns = (ASK, Turn(role="assistant", content="好 🦊 fox", learn=True))
    (row,) = show_item(template, SftItem(id="1", source="s", group="g", turns=turns))
    rendered = render_row(template, turns)
    assert tuple(token for piece in row.pieces for token in piece.tokens) == rendered.tokens
    assert (row.tokens, row.learnt) == (len(rendered.tokens), sum(rendered.learned))
    learnt = "".join(piece.text for piece in row.pieces if piece.learned)
    assert learnt == "好 🦊 fox<|im_end|>"
    assert "\ufffd" not in "".join(piece.text for piece in row.pieces)


def test_a_pair_has_two_rows_and_a_label_one(template: ChatTemplate) -> None:
    pair = PreferenceItem(id="1", source="s", group="g", turns=(ASK,), chosen="yes", rejected="no")
    assert [row.title for row in show_item(template, pair)] == ["chosen", "rejected"]
    label = LabelItem(id="1", source="s", group="g", turns=(ASK,), reply="no", good=False)
    assert [row.title for row in show_item(template, label)] == ["bad"]
