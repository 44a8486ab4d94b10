"""The quiet lines around a reply under review: how far the review is, why the reply is here, its figures, the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.widget import Widget

from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.geometry import Size

    from chatbot.logs.reviewing import ReviewItem
    from chatbot.store.reply_states import Judgement
    from chatbot.store.review_queue import Progress

_LONGEST_BAR = 40
_SHORTEST_BAR = 6


class ProgressLine(Widget):
    """“38 approved of 200 wanted · 120 wait”, a bar where there is room, and the filter."""

    DEFAULT_CSS = "ProgressLine { height: 1; padding: 0 2; }"

    def __init__(self) -> None:
        super().__init__(id="progress")
        self._approved = self._wanted = self._waiting = 0
        self._filter = ""

    def show(self, progress: Progress, wanted: int) -> None:
        self._approved, self._wanted, self._waiting = progress.approved, wanted, progress.waiting
        self.refresh()

    def show_filter(self, line: str) -> None:
        self._filter = printable_line(line)
        self.refresh()

    def render(self) -> Content:
        width = self.content_size.width
        if not self._wanted:
            return Content.styled("…", "$muted")
        enough = self._approved >= self._wanted
        left = Content.assemble(
            (f"{self._approved:,}", "bold $text-success" if enough else "bold"),
            " approved of ",
            f"{self._wanted:,} wanted",
            (f" · {self._waiting:,} wait{'s' if self._waiting == 1 else ''}", "$muted"),
        )
        right = Content("")
        if self._filter:
            room = max(0, width - left.cell_length - 2)
            right = Content.styled(f"filter: {self._filter}", "$text-accent").truncate(room, ellipsis=True)
        bar = min(_LONGEST_BAR, width - left.cell_length - right.cell_length - 2 * bool(right.plain) - 2)
        if bar >= _SHORTEST_BAR:
            done = bar if enough else bar * self._approved // self._wanted
            left += Content.assemble("  ", ("━" * done, "$success"), ("─" * (bar - done), "$border"))
        gap = max(1, width - left.cell_length - right.cell_length)
        return (left + " " * gap + right if right.plain else left).truncate(width)


class Paragraph(Widget):
    """Content that is made for the width at hand, in as many rows as it takes."""

    DEFAULT_CSS = "Paragraph { height: auto; }"

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        return len(self.describe(width).wrap(max(1, width)))

    def render(self) -> Content:
        return self.describe(self.content_size.width)

    def describe(self, width: int) -> Content:
        raise NotImplementedError


class Reasons(Paragraph):
    """What will become of the reply, and why it is in the queue."""

    def __init__(self) -> None:
        super().__init__(id="reasons")
        self._item: ReviewItem | None = None

    def show(self, item: ReviewItem) -> None:
        self._item = item
        self.refresh(layout=True)

    def describe(self, width: int) -> Content:
        item = self._item
        if item is None:
            return Content("")
        decided = item.reply.decision == "reject"
        trains = item.use.trains
        mark, colour = ("✓", "$text-success") if trains else ("✗", "$text-error") if decided else ("○", "$muted")
        use = Content.assemble(
            (f"{mark} {'trains' if trains else 'does not train'}: ", f"bold {colour}"),
            (printable_line(item.use.reason, 200), colour),
        )
        concerns = [printable_line(one, 80) for one in item.concerns]
        if len(concerns) > 1:  # the last one says whether it was rated, which is no reason beside others
            concerns = [one for one in concerns if one not in {"unrated", "rated up"}]
        if not concerns:
            return use
        short = [one.partition(" (")[0] for one in concerns]  # the figures in brackets stand below as well
        for names in (concerns, short):
            why = Content(" · ").join(Content.styled(one, "$text-warning") for one in names)
            line = use + Content.styled("  │  ", "$border") + why
            if line.cell_length <= width:
                return line
        return use + "\n" + why


class Figures(Paragraph):
    """What is known of how the reply came about, and what people said of it."""

    def __init__(self) -> None:
        super().__init__(id="figures")
        self._item: ReviewItem | None = None

    def show(self, item: ReviewItem) -> None:
        self._item = item
        self.refresh(layout=True)

    def describe(self, width: int) -> Content:
        if self._item is None:
            return Content("")
        figures = " · ".join(describe_figures(self._item))
        if len(figures) > width:
            figures = figures.replace("mean log-probability", "logprob")
        lines = [Content.styled(figures, "$muted")]
        if said := describe_judgement(self._item.judgement):
            lines.append(said)
        return Content("\n").join(lines)


def describe_figures(item: ReviewItem) -> list[str]:
    """Model, probability, speed, length, seed: as far as they are known. The numbers may come from anybody's file."""
    reply, told = item.reply, item.reply.generation
    parts = [printable_line(reply.model, 30) or _describe_author(told)]
    if (logprob := read_number(told, "mean_logprob")) is not None:
        parts.append(f"mean log-probability {show_number(logprob)}")
    if (speed := read_number(told, "tokens_per_second")) is not None:
        parts.append(f"{speed:.0f} tok/s" if speed >= 10 else f"{speed:.1f} tok/s")
    if (length := read_number(told, "completion_tokens")) is not None:
        parts.append(f"{length:,.0f} tokens")
    else:
        parts.append(f"{len(reply.content):,} characters")
    if (seed := read_number(told, "seed")) is not None:
        parts.append(f"seed {seed:.0f}")
    return parts


def show_number(value: float) -> str:
    """With two digits, and a sign of the right length."""
    return f"{value:.2f}".replace("-", "−")


def _describe_author(told: Mapping[str, Any]) -> str:
    author = told.get("author")
    return f"written by {printable_line(author, 30)}" if isinstance(author, str) and author else "unknown model"


def read_number(told: Mapping[str, Any], name: str) -> float | None:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def describe_judgement(judgement: Judgement) -> Content | None:
    """Tags and comment; None if there are none. The rating stands under the reply."""
    parts = [Content.styled(f"#{printable_line(tag, 40)}", "$text-accent") for tag in judgement.tags]
    if judgement.comment:
        parts.append(Content(f"“{printable_line(judgement.comment, 400)}”"))
    return Content("  ").join(parts) if parts else None


class Hints(Paragraph):
    """Keys and what they do; none is cut in two."""

    def __init__(self, hints: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(id="hints")
        self._hints = list(hints)

    def show(self, hints: Sequence[tuple[str, str]]) -> None:
        if list(hints) != self._hints:
            self._hints = list(hints)
            self.refresh(layout=True)

    def describe(self, width: int) -> Content:
        return Content("\n").join(self._lay_out(width))

    def _lay_out(self, width: int) -> list[Content]:
        lines: list[Content] = []
        for key, word in self._hints:
            hint = Content.assemble((key, "bold $text-primary"), (f" {word}", "$muted"))
            if lines and lines[-1].cell_length + 2 + hint.cell_length <= width:
                lines[-1] = lines[-1] + Content("  ") + hint
            else:
                lines.append(hint)
        return lines
