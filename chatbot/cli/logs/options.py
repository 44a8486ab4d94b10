"""Options that many commands of `chatbot logs` have."""

from __future__ import annotations

from typing import Annotated

import typer


def _bound(count: int) -> int:
    """More than any log holds, and less than a database's greatest number."""
    return min(count, 1_000_000_000)


AsJson = Annotated[bool, typer.Option("--json", help="One JSON value and nothing else, for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, callback=_bound, metavar="N", help="At most so many.")]
Offset = Annotated[int, typer.Option("--offset", min=0, callback=_bound, metavar="N", help="Pass over so many.")]
