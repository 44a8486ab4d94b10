"""The one thread in which the dialogue's synchronous work happens: opening the database, reading, changing.

The libraries behind it take longer to load than the screen needs for its first frame, so they are imported here, after
that frame. One thread keeps calls in the order in which they were made: a draft is saved before the conversation it
belongs to is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from chatbot.dialogue.manager import Manager

P = ParamSpec("P")
T = TypeVar("T")


class Background:
    """Opens the manager and runs its functions, away from the event loop."""

    def __init__(self, open_manager: Callable[[], Manager]) -> None:
        self._open_manager = open_manager
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dialogue")
        self.manager: Manager | None = None

    async def open(self) -> Manager:
        """The manager. Raises ChatbotError; it may then be tried again."""
        self.manager = await self.call(self._open_manager)
        return self.manager

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args)` in the thread, after whatever was asked before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def close(self) -> None:
        """Waits for what was asked for, then closes the manager."""
        if self.manager is not None:
            await self.call(lambda: None)
            with contextlib.suppress(Exception):
                await self.manager.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
