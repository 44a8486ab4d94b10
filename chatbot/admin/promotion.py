"""Promotion and rollback: which model answers from the next turn on.

A promotion is believed because it was measured: the gate's newest word on this very pair of models decides, and only
"better" passes by itself. Before the alias moves, the engine that serves the chats answers once with the new model, so
that what cannot answer never gets to answer; if it fails, nothing has changed. The chats that are open read the alias
at each turn, so they need no restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatbot.admin.versions import find_version
from chatbot.config import Home, Settings
from chatbot.engine.protocol import Engine, Finished, GenerationRequest, Sampling
from chatbot.errors import ChatbotError, InvalidInput, ModelError, NotFound, PromotionRefused
from chatbot.models.library import ModelLibrary
from chatbot.models.template import ChatMessage
from chatbot.store.aliases import AliasName
from chatbot.store.database import Store
from chatbot.store.evaluations import GateDecision

_SMOKE = (ChatMessage("system", ""), ChatMessage("user", "Hello! Who are you?"))
_SMOKE_TOKENS = 24
_SMOKE_SECONDS = 300.0
ALIASES: tuple[AliasName, ...] = ("champion", "previous", "candidate")


@dataclass(frozen=True, slots=True)
class Promoted:
    """What was moved: `left` answered before, `reached` answers now; `smoke` is what it said first."""

    left: str
    reached: str
    smoke: str
    forgotten: tuple[str, ...] = ()
    """The dataset versions that lost items since `reached` learnt them: it may say what was forgotten."""


def find_champion(store: Store, settings: Settings) -> str:
    """The name of what answers a chat that names no model."""
    return store.model_versions.champion() or settings.model


def resolve_name(store: Store, settings: Settings, name: str) -> str:
    """The model version that an alias stands for, else `name` itself. Raises NotFound for an alias of nothing."""
    if name == "champion":
        return find_champion(store, settings)
    if name not in ALIASES:
        return name
    found = store.aliases.all().get(name)
    if found is None:
        hint = "Train one with `chatbot admin finetune DATASET`." if name == "candidate" else ""
        raise NotFound(f"There is no {name}.", hint=hint)
    return found


def read_gate(store: Store, home: Home, settings: Settings, name: str) -> GateDecision | None:
    """The gate's newest word on the model version `name` against what answers now; None if they were not compared."""
    candidate = store.model_versions.find(name)
    try:
        champion = find_version(store, ModelLibrary(home.models).find(find_champion(store, settings)))
    except (NotFound, ModelError):
        return None
    return store.evaluations.decision(candidate.id, champion.id)


def promote(
    store: Store,
    home: Home,
    settings: Settings,
    name: str,
    *,
    open_engine: Callable[[], Engine],
    author: str,
    force: bool = False,
    reason: str = "",
) -> Promoted:
    """Lets the model version `name` answer from now on; `open_engine` opens the engine that serves the chats.

    With `force` the gate's no is passed over, and so is a champion whose folder is gone or holds another model;
    `reason`, which must then be given, is recorded. Raises PromotionRefused, NotFound, ModelError, InvalidInput.
    """
    if force and not reason.strip():
        raise InvalidInput("To pass over the gate takes a reason, which is recorded.", hint='Give --reason "…".')
    library = ModelLibrary(home.models)
    champion = find_champion(store, settings)
    if name == champion:
        raise PromotionRefused(f"{name} answers already.")
    version = find_version(store, library.find_verified(name))
    # A base model that was fetched anew since it was promoted has another row than the alias.
    promoted = store.aliases.get("champion") if store.model_versions.champion() == champion else None
    answering = _find_answering(store, library, champion, promoted, force=force)
    decision = store.evaluations.decision(version.id, answering)
    forgotten = store.lineage.stale().get(version.id, ())
    if not force:
        _check_gate(decision, name, champion)
        _check_memory(name, forgotten)
    smoke = asyncio.run(_try_out(open_engine, name))
    why = reason.strip() or f"the gate said better in the evaluation {decision.evaluation if decision else ''}"
    store.aliases.promote(
        version.id, over=promoted or answering, author=author, reason=f"forced: {why}" if force else why
    )
    return Promoted(champion, name, smoke, forgotten)


def roll_back(store: Store, home: Home, settings: Settings, *, author: str, reason: str = "") -> Promoted:
    """Lets the previous model answer again. What it is, is checked first: there must be something to go back to.

    That it learnt what was since forgotten does not stop it, for this is the way out of a bad promotion: it is told,
    and recorded with the reason. Raises NotFound, ModelError, PromotionRefused if the aliases are moved meanwhile."""
    left = find_champion(store, settings)
    previous = resolve_name(store, settings, "previous")
    version = find_version(store, ModelLibrary(home.models).find_verified(previous))
    to = store.aliases.get("previous") or version.id
    forgotten = store.lineage.stale().get(to, ())
    why = reason.strip() or "rolled back"
    if forgotten:
        why += f" (it learnt what was since forgotten, in {', '.join(forgotten)})"
    store.aliases.roll_back(to=to, author=author, reason=why)
    return Promoted(left, previous, "", forgotten)


def _find_answering(store: Store, library: ModelLibrary, name: str, promoted: str | None, *, force: bool) -> str:
    """The id of what answers now: of what lies in the folder `name`, or with `force` that of `promoted` if no such
    model lies there any more. Raises PromotionRefused, NotFound, ModelError."""
    try:
        return find_version(store, library.find(name)).id
    except (NotFound, ModelError) as error:
        if promoted is None:
            raise
        if force:
            return promoted
        raise PromotionRefused(
            f"{name}, which answers now, is not as it was promoted: {error.message}",
            hint=f'{error.hint} Or `--force --reason "…"` promotes another all the same.'.lstrip(),
        ) from error


def _check_memory(name: str, forgotten: Sequence[str]) -> None:
    if forgotten:
        raise PromotionRefused(
            f"{name} learnt what was since forgotten, in {', '.join(forgotten)}, and may say it.",
            hint='Train it anew; `--force --reason "…"` promotes it all the same.',
        )


def _check_gate(decision: GateDecision | None, name: str, champion: str) -> None:
    if decision is None:
        raise PromotionRefused(
            f"{name} was not compared with {champion}, which answers now.",
            hint=f"Run `chatbot admin evaluate {name}` first.",
        )
    if decision.value < 1:
        verdict = "worse" if decision.value < 0 else "undecided"
        raise PromotionRefused(
            f"The gate says {verdict} of {name} against {champion}: {' '.join(decision.reasons[:3])}",
            hint='`--force --reason "…"` promotes it all the same.',
        )


async def _try_out(open_engine: Callable[[], Engine], name: str) -> str:
    """What the engine that serves the chats answers with the model. Raises PromotionRefused."""
    engine = open_engine()
    try:
        async with asyncio.timeout(_SMOKE_SECONDS):
            text = await _ask(engine, name)
    except TimeoutError:
        raise PromotionRefused(f"{name} gave no answer within {_SMOKE_SECONDS:.0f} s; nothing was changed.") from None
    except ChatbotError as error:
        raise PromotionRefused(
            f"{name} cannot answer, so nothing was changed: {error.message}", hint=error.hint
        ) from error
    finally:
        await engine.close()
    if not text.strip():
        raise PromotionRefused(f"{name} answers with nothing, so nothing was changed.")
    return text.strip()


async def _ask(engine: Engine, name: str) -> str:
    request = GenerationRequest(name, _SMOKE, Sampling(temperature=0.0, max_tokens=_SMOKE_TOKENS))
    return "".join([part.text async for part in engine.stream(request) if not isinstance(part, Finished)])
