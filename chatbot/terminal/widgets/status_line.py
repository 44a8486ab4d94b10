"""The last line: which model, how full its window is, how fast it writes, and how the engine is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.widget import Widget

from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOTS = {"ready": ("●", "$success"), "failed": ("✗", "$error")}


@dataclass(frozen=True, slots=True)
class Status:
    model: str = ""
    persona: str = ""
    tokens: int = 0
    window: int = 0
    exact: bool = True
    speed: float = 0.0
    """Tokens a second."""
    first_token: float = 0.0
    """Seconds."""
    engine: str = "starting"
    detail: str = ""
    writing: bool = False


class StatusLine(Widget):
    DEFAULT_CSS = """
    StatusLine { height: 1; padding: 0 1; color: $muted; }
    """

    def __init__(self, model: str) -> None:
        super().__init__(id="status")
        self.status = Status(model=model)

    def change(self, **changes: Any) -> None:
        """Sets fields of Status and draws again if that changes anything."""
        changed = replace(self.status, **changes)
        if changed != self.status:
            self.status = changed
            self.refresh()

    def take_generation(self, generation: Mapping[str, Any]) -> None:
        """The figures that a reply was stored with."""
        used = int(generation.get("prompt_tokens") or 0) + int(generation.get("completion_tokens") or 0)
        self.change(
            speed=float(generation.get("tokens_per_second") or 0.0),
            first_token=float(generation.get("time_to_first_token") or 0.0),
            window=int(generation.get("window") or self.status.window),
            tokens=used or self.status.tokens,
        )

    def render(self) -> Content:
        width = self.content_size.width
        right = self._describe_engine()
        parts = self._describe_turn()
        left = " · ".join(parts)
        if Content(left).cell_length + right.cell_length + 2 > width:
            right = self._describe_engine(short=True)
        while len(parts) > 1 and Content(left).cell_length + right.cell_length + 2 > width:
            parts.pop()  # the last ones matter least
            left = " · ".join(parts)
        room = max(0, width - right.cell_length - 2)
        left_content = Content(left).truncate(room, ellipsis=True)
        return left_content + Content(" " * max(1, width - left_content.cell_length - right.cell_length)) + right

    def _describe_turn(self) -> list[str]:
        status = self.status
        parts = [printable_line(status.model, 40)]
        if status.window:
            about = "" if status.exact else "~"
            parts.append(f"{about}{status.tokens:,}/{status.window:,} ({100 * status.tokens // status.window}%)")
        if status.speed:
            parts.append(f"{status.speed:.0f} tok/s" if status.speed >= 10 else f"{status.speed:.1f} tok/s")
        if status.first_token:
            parts.append(f"first {status.first_token:.1f} s" if status.first_token >= 0.1 else "first <0.1 s")
        if status.persona and status.persona != "default":
            parts.append(printable_line(status.persona, 30))
        return parts

    def _describe_engine(self, *, short: bool = False) -> Content:
        status = self.status
        stops = "" if short else " · Esc stops"
        if status.writing and status.engine in {"loading", "starting"}:
            return Content.assemble(("◌ ", "$warning"), status.engine + stops)
        if status.writing:
            return Content.assemble(("● ", "$primary"), "writing" + stops)
        dot, colour = _DOTS.get(status.engine, ("◌", "$warning"))
        words = printable_line(status.engine, 20)
        if status.engine == "failed" and status.detail:
            words = "failed: " + printable_line(status.detail, 60)
        if short and status.engine == "ready":
            return Content.styled(dot, colour)
        return Content.assemble((f"{dot} ", colour), words)
