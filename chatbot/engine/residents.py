"""Which models are in memory, and how they come and go.

Base models are large: at most two stay. Adapters are small and live on a base: a few stay, so that a promotion, a
rollback or a duel between two of them waits for nothing. The least recently used idle one leaves. A base that leaves
takes its adapters with it; a request that uses an adapter holds its base too.

What is in memory is what is on the disk: a model that was replaced or removed there is loaded anew or refused, for a
reply must be the work of the model whose name and sha256 are written beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatbot.config import EngineSettings
from chatbot.engine.loading import load_model, read_stamp
from chatbot.engine.protocol import Health
from chatbot.errors import ChatbotError, EngineError
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.engine.loading import LoadedModel
    from chatbot.models.library import ModelFolder, ModelLibrary

_MOST_BASES = 2
_MOST_ADAPTERS = 4
_log = logging.getLogger(__name__)


class Residents:
    """The models in memory. All methods belong to one event loop, but for `forget_prefixes`."""

    def __init__(self, library: ModelLibrary, settings: EngineSettings, import_libraries: Callable[[], None]) -> None:
        """`import_libraries` is called in the loader's thread before anything is loaded, more than once."""
        self.health = Health("starting", "reading PyTorch")
        self._library = library
        self._settings = settings
        self._import_libraries = import_libraries
        self._loader = ThreadPoolExecutor(1, "loader")
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        # One for bases, one for adapters: whoever made room keeps it until its model is there.
        self._seats = {"base": asyncio.Lock(), "adapter": asyncio.Lock()}
        self._freed = asyncio.Condition()

    @property
    def names(self) -> tuple[str, ...]:
        """The models in memory, the most recently used last."""
        return tuple(self._models)

    async def prepare(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._loader, self._import_libraries)
        except Exception as error:
            self.health = Health("failed", f"PyTorch cannot be read: {printable_line(str(error), 200)}")
            raise

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[LoadedModel, None]:
        """The loaded model, kept in memory as long as the block runs. Raises EngineError, ModelError."""
        while True:
            # Many may wait for one load; the one that leaves early must not cancel it for the others.
            model = await asyncio.shield(self.start_loading(name))
            if self._models.get(name) is model:  # else it was evicted before this request could hold it
                break
        held = [model] if model.base is None else [model.base, model]
        for one in held:
            one.users += 1
            self._models.move_to_end(one.name)
        try:
            yield model
        finally:
            for one in held:
                one.users -= 1
            async with self._freed:
                self._freed.notify_all()

    def start_loading(self, name: str) -> asyncio.Task[LoadedModel]:
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.create_task(self._load(name))
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        return task

    def cancel(self) -> None:
        """Ends what is being loaded, as far as it can be."""
        for task in self._loading.values():
            task.cancel()

    def close(self) -> None:
        self._loader.shutdown(wait=False, cancel_futures=True)

    def forget_prefixes(self) -> None:
        """Lets go every KV cache that is not in use. From any thread."""
        for model in list(self._models.values()):
            model.prefixes.clear()

    async def _load(self, name: str) -> LoadedModel:
        if (model := self._models.get(name)) and self._is_current(model):
            return model
        self._drop(name)
        try:
            folder = await asyncio.to_thread(self._library.find, name)
            model = await (self._load_base(folder) if folder.base is None else self._attach(folder, folder.base))
        except ChatbotError as error:
            self._tell_failure(name, error)
            raise
        except Exception as error:
            _log.exception("%s cannot be loaded", name)
            told = EngineError(f"{name} cannot be loaded ({type(error).__name__}).", hint="The engine's log says more.")
            self._tell_failure(name, told)
            raise told from error
        self.health = Health("ready", model.detail, name)
        return model

    async def _load_base(self, folder: ModelFolder) -> LoadedModel:
        stamp = read_stamp(folder.path)  # before the files are read: what changes meanwhile is seen at the next turn
        folder = await asyncio.to_thread(self._library.find_verified, folder.name)
        async with self._seats["base"]:
            await self._make_room("base")
            await self._prepare_loader(folder.name)
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(self._loader, load_model, folder, self._settings)
            model.stamp = stamp
            self._models[folder.name] = model
        return model

    async def _attach(self, folder: ModelFolder, foundation: ModelFolder) -> LoadedModel:
        """The adapter in `folder` on its base `foundation`, which is loaded before if need be."""
        stamp = read_stamp(folder.path)
        async with self.use(foundation.name) as base:
            if base.sha256 != foundation.sha256:
                raise EngineError(
                    f"{foundation.name} was replaced while its adapter {folder.name} was loaded.", hint="Try again."
                )
            # The base was hashed before it was loaded; only the adapter's own files are read here.
            folder = await asyncio.to_thread(lambda: self._library.find_verified(folder.name, with_base=False))
            async with self._seats["adapter"]:
                await self._make_room("adapter")
                await self._prepare_loader(folder.name)
                from chatbot.engine.adapters import attach_adapter

                loop = asyncio.get_running_loop()
                model = await loop.run_in_executor(self._loader, attach_adapter, base, folder)
                model.stamp = stamp
                self._models[folder.name] = model
        return model

    async def _prepare_loader(self, name: str) -> None:
        self.health = Health("loading", f"reading {name}", name)
        await asyncio.get_running_loop().run_in_executor(self._loader, self._import_libraries)

    async def _make_room(self, kind: str) -> None:
        """Waits until there is room for one more model of that kind: while all are at work, there is none."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._has_room(kind))

    def _has_room(self, kind: str) -> bool:
        """Lets the least recently used idle model go if there are too many; False while all are at work."""
        alike = [model for model in self._models.values() if (model.base is None) == (kind == "base")]
        if len(alike) < (_MOST_BASES if kind == "base" else _MOST_ADAPTERS):
            return True
        idle = next((model.name for model in alike if not model.users), None)
        if idle is None:
            return False
        self._drop(idle)
        return True

    def _drop(self, name: str) -> None:
        """Forgets a model and the adapters on it. What is at work keeps it until it is done."""
        gone = self._models.pop(name, None)
        if gone is None:
            return
        gone.prefixes.forget(gone.key)
        for other in [model.name for model in self._models.values() if model.base is gone]:
            self._drop(other)

    def _is_current(self, model: LoadedModel) -> bool:
        """Whether the disk still says what was read from it. It costs a look at one or two files."""
        if model.base is not None and not self._is_current(model.base):
            self._drop(model.base.name)
            return False
        return read_stamp(self._library.folder / model.name) == model.stamp

    def _tell_failure(self, name: str, error: ChatbotError) -> None:
        """With another model at work the engine as a whole has not failed."""
        ready = next(reversed(self._models.values()), None)
        self.health = Health("ready", ready.detail, ready.name) if ready else Health("failed", str(error), name)
