"""Turns are taken, queues are bounded, one failure stays one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatbot.engine.scheduler import Scheduler, Work
from chatbot.errors import ChatbotError, EngineError, RequestRefused


class Job:
    """Work that counts its steps, and can be held up."""

    def __init__(self, steps: int, *, fail: Exception | None = None, gate: threading.Event | None = None) -> None:
        self.got: list[Any] = []
        self.error: ChatbotError | None = None
        self.ends = 0
        self.closed = False
        self.started = threading.Event()
        self.ended = threading.Event()
        self.work = Work(self._run(steps, fail, gate), self.got.append, self._end)

    def _run(self, steps: int, fail: Exception | None, gate: threading.Event | None) -> Iterator[int | None]:
        self.started.set()
        try:
            for number in range(steps):
                if gate is not None:
                    gate.wait()
                yield number
            if fail is not None:
                raise fail
        finally:
            self.closed = True

    def _end(self, error: ChatbotError | None) -> None:
        self.error = error
        self.ends += 1
        self.ended.set()


@pytest.fixture
def make() -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def start(**options: Any) -> Scheduler:
        made.append(Scheduler(**options))
        return made[-1]

    yield start
    for scheduler in made:
        scheduler.close()


def test_a_short_one_ends_while_a_long_one_goes_on(make: Callable[..., Scheduler]) -> None:
    scheduler = make()
    gate = threading.Event()
    long, short = Job(1_000_000, gate=gate), Job(5)
    scheduler.submit(long.work)
    scheduler.submit(short.work)
    gate.set()
    assert short.ended.wait(5)
    assert short.got == [0, 1, 2, 3, 4]
    assert not long.ended.is_set()
    long.work.cancel()
    assert long.ended.wait(5)
    assert long.closed


def test_one_failure_does_not_touch_the_others(make: Callable[..., Scheduler]) -> None:
    scheduler = make(translate=lambda error: EngineError(f"told: {error}"))
    jobs = [Job(10), Job(2, fail=ValueError("odd")), Job(3, fail=EngineError("ours")), Job(10)]
    for job in jobs:
        scheduler.submit(job.work)
    assert all(job.ended.wait(5) for job in jobs)
    assert [str(job.error) for job in jobs] == ["None", "told: odd", "ours", "None"]
    assert [len(job.got) for job in jobs] == [10, 2, 3, 10]
    assert [job.ends for job in jobs] == [1, 1, 1, 1]


def test_the_queue_is_bounded_and_a_cancelled_one_leaves_it(make: Callable[..., Scheduler]) -> None:
    scheduler = make(active=1, waiting=2)
    gate = threading.Event()
    first = Job(2, gate=gate)
    scheduler.submit(first.work)
    assert first.started.wait(5)
    waiting = [Job(1), Job(1)]
    for job in waiting:
        scheduler.submit(job.work)
    with pytest.raises(RequestRefused) as refusal:
        scheduler.submit(Job(1).work)
    assert refusal.value.code == "overloaded"
    waiting[0].work.cancel()
    gate.set()
    assert all(job.ended.wait(5) for job in (first, *waiting))
    assert (waiting[0].got, waiting[1].got) == ([], [0])


def test_closing_ends_everything(make: Callable[..., Scheduler]) -> None:
    scheduler = make(active=1)
    jobs = [Job(1_000_000_000) for _ in range(3)]
    for job in jobs:
        scheduler.submit(job.work)
    scheduler.close()
    assert all(job.ended.is_set() and job.ends == 1 for job in jobs)
    with pytest.raises(EngineError):
        scheduler.submit(Job(1).work)
