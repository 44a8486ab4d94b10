"""When the engine's process leaves, and that it sleeps until then."""

from __future__ import annotations

import asyncio
import time

import pytest

from chatbot.engine.activity import Activity, wait_to_leave


class CountingEvent(asyncio.Event):
    waits = 0

    async def wait(self) -> bool:  # type: ignore[override]
        self.waits += 1
        return await super().wait()


async def test_it_leaves_when_idle_without_waking_before() -> None:
    activity, left = Activity(), []
    activity.changed = counting = CountingEvent()
    started = time.monotonic()
    await asyncio.wait_for(wait_to_leave(activity, 0.6, on_leave=lambda: left.append(1)), 10)
    assert time.monotonic() - started >= 0.6
    assert left
    assert counting.waits <= 2


@pytest.mark.parametrize("idle_seconds", [0.01, None])
async def test_it_never_leaves_in_the_middle_of_a_request(idle_seconds: float | None) -> None:
    activity = Activity()
    with activity:
        leaving = asyncio.create_task(wait_to_leave(activity, idle_seconds, on_leave=lambda: None))
        activity.ask_to_leave()
        done, _ = await asyncio.wait({leaving}, timeout=0.3)
        assert not done
    await asyncio.wait_for(leaving, 5)


async def test_without_an_idle_time_it_stays_until_asked() -> None:
    activity = Activity()
    leaving = asyncio.create_task(wait_to_leave(activity, None, on_leave=lambda: None))
    with activity:
        pass
    done, _ = await asyncio.wait({leaving}, timeout=0.2)
    assert not done
    activity.ask_to_leave()
    await asyncio.wait_for(leaving, 5)


async def test_it_tidies_at_once_and_after_each_request() -> None:
    activity, tidied = Activity(), []
    leaving = asyncio.create_task(wait_to_leave(activity, None, on_leave=lambda: None, tidy=lambda: tidied.append(1)))
    await asyncio.sleep(0)
    before = len(tidied)
    with activity:
        pass
    end = time.monotonic() + 5
    while len(tidied) <= before:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert before == 1
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
