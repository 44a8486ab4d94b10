"""What the model could have said in the place of a token, in words a person can choose from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from chatbot.terminal.widgets.tokens import show_token
from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_BAR = 16  # cells


class Alternatives(Static):
    """What the model could have said in the place of the token at the cursor, with probabilities."""

    def __init__(self) -> None:
        super().__init__(id="alternatives", markup=False)
        self.choices: list[tuple[str, float]] = []
        self.chosen = 0

    def show(self, described: str, token: str, choices: Sequence[tuple[str, float]]) -> None:
        """`choices` are texts with their log-probabilities; `token` is what stands there."""
        self._described, self._token = described, token
        self.choices = list(choices)
        self.chosen = next((n for n, (text, _) in enumerate(self.choices) if text != token), 0)
        self._draw()

    def step(self, step: int) -> None:
        if self.choices:
            self.chosen = (self.chosen + step) % len(self.choices)
            self._draw()

    def _draw(self) -> None:
        lines = [Content.styled(self._described, "$muted")]
        stands = False
        for number, (text, logprob) in enumerate(self.choices):
            same, stands = (text == self._token and not stands), stands or text == self._token
            share = math.exp(min(0.0, logprob))
            name = Content(describe_text(text)).truncate(24, ellipsis=True)
            line = Content.assemble(
                ("› " if number == self.chosen else "  ", "bold $primary"),
                (f"{number + 1} ", "bold $text-primary" if number < 9 else ""),
                ("● " if same else "  ", "$success"),
                name.stylize("bold" if number == self.chosen else ""),
                " " * max(1, 26 - name.cell_length),
                f"{describe_share(share):>7}  ",
                ("▆" * round(_BAR * share), "$success" if same else "$primary"),
            )
            lines.append(line)
        self.update(Content("\n").join(lines))


def describe_text(text: str) -> str:
    """A token as it is named: in quotation marks, with signs for what would not be seen."""
    return (
        f"“{printable_line(show_token(text), 30)}”"
        if text.strip(" ")
        else "the end, or a mark"
        if not text
        else show_token(text)
    )


def describe_share(share: float) -> str:
    """A probability in per cent."""
    percent = 100 * share
    if percent < 0.01:
        return "<0.01 %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"
