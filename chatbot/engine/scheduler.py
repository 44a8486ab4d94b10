"""Many replies on one device: a thread that does one step of each active reply in turn.

A step is one chunk of a prompt or one token, so a short reply never waits for a long one to end, and a reply that was
cancelled costs at most the step that was running. All tensors are touched in this thread only; the rest of the process
hands work in and gets results through callbacks. What waits is bounded, because an unbounded queue only hides that
nobody will be served.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chatbot.errors import ChatbotError, EngineError, RequestRefused

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Work:
    """One reply: `steps` does a step each time it is asked for the next, and cleans up when it is closed.

    `deliver` gets each step's result that is not None; after the last, `end` gets None or the error. Both are called
    in the scheduler's thread. Nothing is delivered after `cancel`, but `end` is always called, exactly once.
    """

    steps: Iterator[object]
    deliver: Callable[[object], None]
    end: Callable[[ChatbotError | None], None]
    cancelled: bool = False

    def cancel(self) -> None:
        """No step begins after this call."""
        self.cancelled = True


class Scheduler:
    """Runs Work. `submit` from any thread; `close` stops the thread and ends what is left."""

    def __init__(
        self, *, active: int = 8, waiting: int = 64, translate: Callable[[Exception], ChatbotError] | None = None
    ) -> None:
        """`translate` turns a library's exception into one of ours, for a Work's `end`."""
        self._most_active = active
        self._most_waiting = waiting
        self._translate = translate
        self._waiting: deque[Work] = deque()
        self._active: deque[Work] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.steps_done = 0
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Queues `work`. Raises RequestRefused when too much is queued already."""
        with self._changed:
            if self._closed:
                raise EngineError("The engine is leaving.")
            if len(self._waiting) >= self._most_waiting:
                raise RequestRefused(
                    f"The engine is busy: {len(self._waiting)} requests wait already.",
                    hint="Try again in a while.",
                    code="overloaded",
                )
            self._waiting.append(work)
            self._changed.notify()

    def close(self) -> None:
        """Cancels everything and waits for the step that runs."""
        with self._changed:
            self._closed = True
            for work in (*self._waiting, *self._active):
                work.cancel()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._active or self._closed):
                    self._changed.wait()
                if self._closed and not (self._waiting or self._active):
                    return
                while self._waiting and len(self._active) < self._most_active:
                    self._active.append(self._waiting.popleft())
                # A cancelled request must not keep its place in the queue until an active one ends.
                gone = [work for work in self._waiting if work.cancelled]
                for work in gone:
                    self._waiting.remove(work)
                work = self._active.popleft()
            for left in gone:
                self._finish(left, None)
            if self._step(work):
                with self._changed:
                    self._active.append(work)

    def _step(self, work: Work) -> bool:
        """One step; True if the work goes on."""
        if work.cancelled:
            self._finish(work, None)
            return False
        try:
            result = next(work.steps)
            self.steps_done += 1
        except StopIteration:
            self._finish(work, None)
            return False
        except ChatbotError as error:
            self._finish(work, error)
            return False
        except Exception as error:  # noqa: BLE001  one reply's failure must not end the thread that serves all
            self._finish(work, self._explain(error))
            return False
        if result is not None and not work.cancelled:
            work.deliver(result)
        return True

    def _explain(self, error: Exception) -> ChatbotError:
        if self._translate is not None:
            return self._translate(error)
        _log.error("a reply failed", exc_info=error)
        return EngineError(f"The engine failed: {type(error).__name__}.")

    def _finish(self, work: Work, error: ChatbotError | None) -> None:
        try:
            close = getattr(work.steps, "close", None)
            if close is not None:
                close()
        except Exception:  # noqa: BLE001  the same: others are being served
            _log.exception("a reply failed while it ended")
        work.end(error)
