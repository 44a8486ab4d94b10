"""`chatbot admin runs`, `models` and `journal`: what was trained, what came of it, and who answered when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.describing import shorten
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson, Limit
from chatbot.cli.logs.printing import lay_out, print_json, print_text, style
from chatbot.cli.logs.times import show_time
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.config import Home
    from chatbot.store.model_versions import ModelVersion
    from chatbot.store.runs import Run

runs = typer.Typer(help="Training runs.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
models = typer.Typer(
    help="Model versions: base models and adapters.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@runs.command(name="list")
def list_runs(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Runs, newest first.

    Examples:

    \b
      chatbot admin runs list
    """
    from chatbot.admin.finetuning import read_status

    with open_log() as log:
        found = log.store.runs.list(limit=limit)
        status = {one.id: read_status(log.home, one) for one in found}
    if as_json:
        print_json([{**_plain(one), "status": status[one.id]} for one in found])
        return
    if not found:
        print_text("Nothing was trained yet. `chatbot admin finetune DATASET` does it.")
        return
    rows = [
        [shorten(one.id), one.kind, status[one.id], show_time(one.created), ", ".join(one.datasets), one.model or "–"]
        for one in found
    ]
    print_text("\n".join(lay_out(["RUN", "METHOD", "STATUS", "BEGUN", "DATASET", "MODEL"], rows, flexible=4)))


@runs.command(name="show")
def show_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, which may be shortened, or the model it made.")],
    as_json: AsJson = False,
) -> None:
    """One run: what it was asked for, with which versions, and how it went.

    Examples:

    \b
      chatbot admin runs show talks-2
    """
    from chatbot.admin.finetuning import read_status
    from chatbot.cli.admin.watching import describe_status

    with open_log() as log:
        found = log.store.runs.find(run)
        status = read_status(log.home, found)
        curves = {name: log.store.runs.metrics(found.id, name) for name in ("loss", "held-out loss")}
        if as_json:
            told = {**_plain(found), "status": status, "failure": found.failure}
            print_json({**told, "folder": log.home.runs / found.id, "curves": curves})
            return
        lines = {
            "Run": found.id,
            "Status": describe_status(found, status) if status in {"failed", "stopped", "interrupted"} else status,
            "Method": found.kind,
            "Base": found.base_model or "none: it began from nothing",
            "Datasets": ", ".join(found.datasets),
            "Model": found.model or "–",
            "Begun": show_time(found.started) if found.started else "–",
            "Ended": show_time(found.ended) if found.ended else "–",
            "Device": found.device,
            "Seed": str(found.seed),
            "Versions": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
            "Folder": str(log.home.runs / found.id),
        }
        settings = found.config.get("config", {})
        chosen = ", ".join(f"{name} {value}" for name, value in settings.items()) if isinstance(settings, dict) else ""
        text = [f"{style(f'{name:<10}', bold=True)}{printable_line(value)}" for name, value in lines.items()]
        text.append(style("Settings  ", bold=True) + printable_line(chosen, 2000))
        for name, curve in curves.items():
            if curve:
                shown = " ".join(f"{step}:{value:.3f}" for step, value in _thin(curve, 12))
                text.append(f"{style(f'{name.capitalize():<14}', bold=True)}{shown}")
        print_text("\n".join(text))


@models.command(name="list")
def list_models(as_json: AsJson = False) -> None:
    """Model versions, newest first, with who answers.

    Examples:

    \b
      chatbot admin models list
    """
    with open_log() as log:
        found = log.store.model_versions.list()
        aliases, stale = _invert(log.store.aliases.all()), log.store.lineage.stale()
        faults = _find_faults(log.home, found)
    if as_json:
        told = [
            {
                **_plain(one),
                "aliases": aliases.get(one.name, []),
                "stale": stale.get(one.id, ()),
                "fault": faults.get(one.name, ""),
            }
            for one in found
        ]
        print_json(told)
        return
    if not found:
        print_text("No model has answered or was trained yet.")
        return
    rows = [
        [
            one.name,
            one.kind,
            ", ".join([*aliases.get(one.name, []), *_mark(one, stale, faults)]) or "–",
            show_time(one.created),
            one.sha256[:12],
        ]
        for one in found
    ]
    print_text("\n".join(lay_out(["MODEL", "KIND", "ALIAS", "MADE", "SHA256"], rows, flexible=0)))
    if any(one.id in stale for one in found):
        print_text("Stale: it learnt what was since forgotten. `chatbot admin models show MODEL` tells where.")
    for name, fault in faults.items():
        print_text(printable_line(f"{name}: {fault}", 300))


@models.command(name="show")
def show_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model version or an alias.")], as_json: AsJson = False
) -> None:
    """One model version: where it is, what it stands on, what the gate said. `chatbot logs lineage` tells the rest.

    Examples:

    \b
      chatbot admin models show candidate
    """
    from chatbot.admin.promotion import read_gate, resolve_name

    with open_log() as log:
        found = log.store.model_versions.find(resolve_name(log.store, log.settings, model))
        aliases = _invert(log.store.aliases.all()).get(found.name, [])
        gate = read_gate(log.store, log.home, log.settings, found.name)
        stale = log.store.lineage.stale().get(found.id, ())
        fault = _find_faults(log.home, [found]).get(found.name, "")
        if as_json:
            print_json({**_plain(found), "aliases": aliases, "gate": gate, "stale": stale, "fault": fault})
            return
    lines = {
        "Model": found.name + (f" ({', '.join(aliases)})" if aliases else ""),
        "Kind": found.kind,
        "Made": show_time(found.created),
        "Run": found.run_id or "–",
        "Path": found.path,
        "SHA-256": found.sha256,
        "Base": found.base_sha,
        "Template": found.template_sha,
        "Tokenizer": found.tokenizer_sha,
        "Gate": " ".join(gate.reasons) if gate else "not compared with what answers now",
    }
    if fault:
        lines["Damaged"] = fault
    if stale:
        lines["Stale"] = f"it learnt what was since forgotten, in {', '.join(stale)}; train it anew"
    print_text(
        "\n".join(f"{style(f'{name:<11}', bold=True)}{printable_line(value, 2000)}" for name, value in lines.items())
    )


def show_journal(limit: Limit = 20, as_json: AsJson = False) -> None:
    """Who moved an alias, when, from what, to what, and why; newest first.

    Examples:

    \b
      chatbot admin journal
    """
    with open_log() as log:
        found = log.store.aliases.journal(limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        print_text("Nothing was promoted yet.")
        return
    rows = [
        [show_time(one.created), one.alias, one.left or "–", one.reached or "–", one.author, one.reason]
        for one in found
    ]
    print_text("\n".join(lay_out(["WHEN", "ALIAS", "FROM", "TO", "WHO", "WHY"], rows, flexible=5)))


def _find_faults(home: Home, versions: Sequence[ModelVersion]) -> dict[str, str]:
    """Of models that are no longer whole on this disk, what is wrong, by name; their bytes are not read. Those of other
    servers, or of an import, never were here."""
    from chatbot.errors import ModelError
    from chatbot.models.library import ModelLibrary

    library, faults = ModelLibrary(home.models), {}
    for one in versions:
        if Path(one.path).parent != home.models:
            continue
        try:
            library.find(one.name)
        except ModelError as error:
            faults[one.name] = error.message
    return faults


def _mark(one: ModelVersion, stale: Mapping[str, object], faults: Mapping[str, str]) -> list[str]:
    return [*(["stale"] if one.id in stale else []), *(["damaged"] if one.name in faults else [])]


def _plain(one: Run | ModelVersion) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def _invert(aliases: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alias, name in aliases.items():
        found.setdefault(name, []).append(alias)
    return found


def _thin(curve: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    step = max(1, len(curve) // most)
    return [*curve[::step], *curve[-1:]] if len(curve) > most else curve
