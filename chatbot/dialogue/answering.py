"""Which model answers a turn, and what must be known of it before it is asked.

For a model on this disk its folder tells the window and the tokenizer counts exactly. For one of a remote server only
its name is certain: the window is what the server reports, and tokens are estimated.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from chatbot.config import Home, Settings, hide_password
from chatbot.dialogue.counting import EstimatingCounter, ExactCounter, TokenCounter
from chatbot.engine.choice import Choice, read_choice
from chatbot.engine.protocol import Engine
from chatbot.errors import EngineError, ModelNotFound
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from chatbot.store.threads import run_in_thread

_REMOTE_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class AnsweringModel:
    """A model that is there and recorded in the store."""

    name: str
    version_id: str
    template_sha: str
    window: int
    """Tokens."""
    counter: TokenCounter
    choice: Choice | None = None
    """The sampling that the model itself recommends; None for one of a remote server, which does not say."""


class Answering:
    """Finds the model of a turn; keeps what it has loaded of it."""

    def __init__(self, store: Store, engine: Engine, settings: Settings, home: Home, wanted: str = "") -> None:
        self._store = store
        self._engine = engine
        self._settings = settings
        self._wanted = wanted
        self._library = ModelLibrary(home.models)
        self._counters: dict[str, ExactCounter] = {}
        self._windows: dict[str, int] = {}  # of remote models, as their server reported them

    def choose(self, explicit: str | None, of_persona: str | None) -> str:
        """The name: as asked for this turn or this program, else the persona's own, else the promoted one, else the
        setting's. The alias is read each time, so that a promotion takes effect in a chat that is open."""
        return explicit or self._wanted or of_persona or self._store.model_versions.champion() or self._settings.model

    async def list(self) -> list[str]:
        """The models that can be asked, the newest on this disk first; the engine's own if there is none here. Raises
        ModelError, EngineError."""
        if not self._settings.engine.url:
            folders = await run_in_thread(self._library.list)
            if folders:
                return [one.name for one in sorted(folders, key=lambda one: one.manifest.created, reverse=True)]
        return [model.name for model in await self._engine.models()]

    async def knows(self, name: str) -> bool:
        """Whether a model of that name can be asked, on this disk or as the engine lists it. Records nothing."""
        if not self._settings.engine.url:
            with suppress(ModelNotFound):
                await run_in_thread(self._library.find, name)
                return True
        with suppress(EngineError):
            await self._ask_windows(name)
        return name in self._windows

    async def find(self, name: str) -> AnsweringModel:
        """Raises ModelError, EngineError."""
        if not self._settings.engine.url:
            try:
                return await run_in_thread(self._find_here, name)
            except ModelNotFound as error:
                return await self._find_remote(name, missing=error)
        return await self._find_remote(name)

    def _find_here(self, name: str) -> AnsweringModel:
        folder = self._library.find(name)
        version = self._store.model_versions.find_or_add_base(
            name, sha256=folder.sha256, template_sha=folder.template_sha, path=str(folder.path)
        )
        window = min(folder.context, self._settings.engine.context or folder.context)
        choice = read_choice(folder.foundation.path)
        return AnsweringModel(name, version, folder.template_sha, window, self._counter(folder), choice)

    def _counter(self, folder: ModelFolder) -> ExactCounter:
        if folder.sha256 not in self._counters:
            self._counters[folder.sha256] = ExactCounter(folder.load_template(answering=True))
        return self._counters[folder.sha256]

    async def _find_remote(self, name: str, missing: ModelNotFound | None = None) -> AnsweringModel:
        """What the engine says of a model that is not on this disk. `missing` is raised if it does not know it."""
        try:
            await self._ask_windows(name)
        except EngineError:  # some servers list nothing and answer all the same
            if missing:
                raise missing from None
        if missing and name not in self._windows:
            raise missing
        window = self._settings.engine.context or self._windows.get(name) or _REMOTE_WINDOW
        version = await run_in_thread(self._add_remote, name)
        return AnsweringModel(name, version, "", window, EstimatingCounter())

    async def _ask_windows(self, name: str) -> None:
        if name not in self._windows:
            self._windows |= {model.name: model.context for model in await self._engine.models()}

    def _add_remote(self, name: str) -> str:
        url = hide_password(self._settings.engine.url)
        return self._store.model_versions.find_or_add_base(name, sha256="", template_sha="", path=url)
