"""A chat that is open answers its next turn with what was promoted, and with the old model after a rollback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatbot.config import EngineSettings, Home, Settings
from chatbot.dialogue.manager import Manager, Sampling
from chatbot.engine.torch_engine import TorchEngine
from chatbot.models.library import ModelLibrary
from chatbot.store.database import Store
from chatbot.store.records import Message
from tests.admin.training.samples import build_tiny
from tests.models.tiny_adapters import add_adapter
from tests.store.sample import add_adapter_version


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    home = Home(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path)
    library = ModelLibrary(home.models)
    build_tiny(home.models / "tiny")
    add_adapter(library, "tiny", "talks-1", tmp_path / "saved", size=0.5)
    engine = TorchEngine(library, EngineSettings(device="cpu"))
    manager = Manager(Store.in_memory(), engine, settings=Settings(model="tiny"), home=home)
    yield manager
    await manager.close()


async def say(manager: Manager, conversation_id: str | None) -> Message:
    sampling = Sampling(temperature=0.0, max_tokens=8)
    replies = [
        event.reply
        async for event in manager.reply(conversation_id, "Why is the sky blue?", sampling=sampling)
        if hasattr(event, "reply")
    ]
    return replies[-1]


async def test_the_alias_decides_at_each_turn(manager: Manager, tmp_path: Path) -> None:
    store = manager.store
    first = await say(manager, None)
    base = store.model_versions.find("tiny")
    assert (first.model, first.status) == ("tiny", "complete")
    adapter = ModelLibrary(tmp_path / "models").find("talks-1")
    version = add_adapter_version(
        store,
        "talks-1",
        run_id=None,
        path=str(adapter.path),
        sha256=adapter.sha256,
        base_sha=adapter.manifest.base_sha256,
        template_sha=adapter.template_sha,
        tokenizer_sha=adapter.manifest.tokenizer_sha256,
    )
    store.aliases.promote(version, over=base.id, author="ada", reason="better")
    second = await say(manager, first.conversation_id)
    assert second.model == "talks-1"
    assert [one.name for one in store.model_versions.list()] == ["talks-1", "tiny"], "it was registered already"
    fresh = await say(manager, None)
    assert fresh.content != first.content
    store.aliases.roll_back(to=base.id, author="ada", reason="")
    again = await say(manager, None)
    assert (again.model, again.content) == ("tiny", first.content)
