"""`chatbot models`: which models are here, which can be fetched, and fetching, adding, checking and removing them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.progress import report_progress
from chatbot.config import DEFAULT_MODEL
from chatbot.errors import InvalidInput
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from chatbot.models.library import ModelFolder, ModelLibrary

app = typer.Typer(help="List, fetch, add, show and remove models.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="For scripts.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="As `chatbot models list` shows it.", show_default=False)]


@app.command(name="list")
def list_models(as_json: _Json = False) -> None:
    """The models on this disk, and those that can be pulled by name.

    Examples:

    \b
      chatbot models list
      chatbot models list --json | jq -r '.[] | select(.here) | .name'
    """
    from chatbot.models.catalogue import read_catalogue

    library = _open_library()
    catalogue = read_catalogue()
    whole, damaged = library.scan()
    here = {model.name: model for model in whole}
    rows: list[dict[str, Any]] = []
    for name in sorted({*here, *damaged, *catalogue}):
        row: dict[str, Any] = {"name": name, "here": name in here, "problem": ""}
        if name in here:
            row |= _describe(here[name])
        elif name in catalogue:
            entry = catalogue[name]
            row |= {"parameters": entry.parameters, "context": entry.context, "size": entry.disk}
            row |= {"licence": entry.licence, "source": entry.sources[0].title}
        if name in damaged:
            row["problem"] = damaged[name].message
        rows.append(row)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(len(printable_line(row["name"])) for row in rows)
    for row in rows:
        state = "damaged" if row["problem"] else "here" if row["here"] else "to pull"
        facts = [f"{row['parameters'] / 1e6:,.0f}M", _format_size(row["size"])] if "size" in row else []
        facts += [f"adapter of {row['base']}"] if row.get("base") else []
        facts += [row[key] for key in ("licence", "source") if row.get(key)]
        line = f"{printable_line(row['name']):<{width}}  {state:<7}  {'  '.join(facts)}"
        typer.echo(printable(line))
        if row["problem"]:
            typer.echo(f"{'':<{width}}  {printable_line(row['problem'])}")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of the catalogue.")] = DEFAULT_MODEL,
    force: Annotated[bool, typer.Option("--force", help="Fetch it anew although it is here.")] = False,
) -> None:
    """Fetches a model of the catalogue; does nothing if it is here already.

    Its sources are tried in order, and one that cannot be reached is passed over. What an interrupted download leaves
    is never taken for a model.

    Examples:

    \b
      chatbot models pull
      chatbot models pull smollm2-360m-instruct
    """
    from chatbot.models.pull import pull_model

    library = _open_library()
    with report_progress() as reporter:
        model = pull_model(library, name, force=force, reporter=reporter)
        fetched = reporter.steps > 0
    _tell(model, "is here" if fetched else "is here already")


@app.command()
def add(
    what: Annotated[str, typer.Argument(metavar="PATH", help="A folder, a .gguf file, or a hub id such as org/name.")],
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="What to call it here.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="Of a hub repository: commit, tag or branch.")] = "main",
    force: Annotated[bool, typer.Option("--force", help="Replace a model of the same name.")] = False,
) -> None:
    """Adds any causal language model that transformers knows. The original stays where it is.

    Weights must be safetensors or GGUF: pickles can run any code and are refused, and so is a model that brings code.

    Examples:

    \b
      chatbot models add Qwen/Qwen2.5-0.5B-Instruct --name qwen
      chatbot models add ~/models/my-finetune
      chatbot models add ./model.Q4_K_M.gguf --name mine
    """
    from chatbot.models.add import add_model

    library = _open_library()
    with report_progress() as reporter:
        model = add_model(library, what, name=name, revision=revision, force=force, reporter=reporter)
    _tell(model)


@app.command()
def show(
    name: _Name,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare the hashes.")] = False,
    as_json: _Json = False,
) -> None:
    """What a model is, where it came from, and whether its files are whole.

    Examples:

    \b
      chatbot models show smollm2-135m-instruct --verify
      chatbot models show smollm2-135m-instruct --json | jq -r .path
    """
    library = _open_library()
    model = library.find(name)
    if verify:
        with report_progress() as reporter:
            reporter.begin("Verifying", model.manifest.size + (model.base.manifest.size if model.base else 0))
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                done += count
                reporter.update(done)

            library.verify(name, advance)
            reporter.end()
    facts = {"name": model.name, "path": str(model.path), **_describe(model)}
    if as_json:
        files = [file.model_dump() for file in model.manifest.files]
        typer.echo(json.dumps(facts | {"verified": verify, "files": files}, indent=2))
        return
    facts["size"] = _format_size(model.manifest.size)
    facts["parameters"] = f"{model.manifest.parameters:,}"
    for key, value in facts.items():
        typer.echo(f"{key:<16}{printable_line(str(value))}")
    for file in model.manifest.files:
        typer.echo(f"  {file.sha256}  {file.size:>13,}  {printable_line(file.path)}")
    typer.echo("every file is as its manifest says" if verify else "files are there with the right sizes")


@app.command()
def remove(
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also one that adapters need, that answers or that a rollback goes back to.")
    ] = False,
) -> None:
    """Deletes a model from this disk. One that is needed stays, unless --force says otherwise: by adapters that were
    trained on it, by the chats that it answers, by a rollback.

    Examples:

    \b
      chatbot models remove smollm2-360m-instruct
      chatbot models remove broken --yes
    """
    from chatbot.models.manifest import check_name
    from chatbot.models.progress import measure_folder

    library = _open_library()
    path = library.folder / check_name(name)
    if not force:
        library.check_needless(name)
        if alias := _find_alias(name):
            raise InvalidInput(
                f"{name} is the {alias}.",
                hint="`chatbot admin rollback` lets another answer; or use --force.",
            )
    if path.is_dir() and not yes:
        typer.confirm(f"Delete {name} ({_format_size(measure_folder(path))})?", abort=True)
    library.remove(name, force=force)
    typer.echo(f"{name} is removed.")


@app.command()
def export(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="An adapter of `chatbot models list`, or champion, candidate, previous."),
    ],
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder to make.")],
    merged: Annotated[bool, typer.Option("--merged", help="Base and adapter as one model.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an older export.")] = False,
    as_json: _Json = False,
) -> None:
    """Writes an adapter for other programs: as a folder that peft loads, or merged into its base.

    Plain, it is adapter_config.json and adapter_model.safetensors, exactly as they are here. Merged, it is a model that
    transformers, vLLM or llama.cpp's converter load, in the number format of the base. It is compared with base and
    adapter apart before it is put in place, and refused if its answers differ by more than rounding.

    Examples:

    \b
      chatbot models export identity-1 ~/identity
      chatbot models export identity-1 ~/identity-merged --merged
      chatbot models export identity-1 ~/identity --force --json | jq -r .path
    """
    from dataclasses import asdict
    from pathlib import Path

    from chatbot.models.exporting import export_adapter

    library = _open_library()
    if name in {"champion", "previous", "candidate"}:
        name = _read_aliases().get(name, name)
    with report_progress() as reporter:
        made = export_adapter(library, name, Path(folder), merged=merged, force=force, reporter=reporter)
    if as_json:
        typer.echo(json.dumps(asdict(made) | {"path": str(made.path)}, indent=2))
        return
    typer.echo(printable_line(f"{name} is in {made.path}: {_format_size(made.size)}"))
    if near := made.comparison:
        typer.echo(
            f"A logit differs from base and adapter apart by {near.difference:.2g} at most; {near.dtype} explains "
            f"{near.tolerance:.2g}."
        )
        typer.echo(
            f"{near.lost:.1%} of what the adapter changes is lost; the most probable token is the same at "
            f"{near.same_choice:.1%} of {near.tokens} places."
        )


def _read_aliases() -> dict[str, str]:
    """The names of the models that answer and answered before, by alias, as far as a database can tell."""
    from chatbot.config import find_home, load_settings
    from chatbot.errors import StoreError
    from chatbot.store.database import Store

    home = find_home()
    try:
        with Store.open(home.database_url(load_settings(home))) as store:
            return store.aliases.all()
    except StoreError:
        return {}


def _find_alias(name: str) -> str:
    """Whether a model is the champion or the previous one, by that word."""
    return next((alias for alias, model in _read_aliases().items() if model == name and alias != "candidate"), "")


def _open_library() -> ModelLibrary:
    from chatbot.config import find_home
    from chatbot.models.library import ModelLibrary

    return ModelLibrary(find_home().models)


def _describe(model: ModelFolder) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "kind": model.kind,
        "base": manifest.base,
        "source": manifest.source,
        "revision": manifest.revision,
        "licence": manifest.licence,
        "architecture": manifest.architecture,
        "parameters": manifest.parameters,
        "dtype": manifest.dtype,
        "context": model.context,
        "size": manifest.size,
        "sha256": model.sha256,
        "template_sha256": model.template_sha,
        "created": manifest.created,
    }


def _tell(model: ModelFolder, state: str = "is here") -> None:
    manifest = model.manifest
    facts = f"{manifest.parameters / 1e6:,.0f}M parameters, window {manifest.context:,} tokens, {manifest.source}"
    typer.echo(printable_line(f"{model.name} {state}: {facts}"))


def _format_size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
