"""`chatbot admin dataset build`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatbot.cli.admin.datasets.counts import describe_counts, manifest_to_json
from chatbot.cli.admin.opening import open_base
from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.waiting import Bar, show_bar
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.datasets.folder import DatasetFolder
    from chatbot.admin.datasets.items import Kind
    from chatbot.admin.datasets.request import BuildRequest


@with_filters("bin")
def build(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The dataset; the same name again makes its next version.")
    ],
    *,
    kind: Annotated[
        Literal["sft", "preference", "label"],
        typer.Option("--kind", help="Replies to learn (sft), pairs (preference: DPO) or thumbs (label: KTO)."),
    ] = "sft",
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", metavar="PATH", help="Take a file of conversations instead of the log; repeatable."),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="With --file: the log too. A filter asks for it as well.")] = False,
    fill: Annotated[
        list[str] | None,
        typer.Option("--fill", metavar="NAME=WORDS,…", help="Put words in the place of {{NAME}} in the files."),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="TEXT", help="System prompt of file rows without one; else your persona's."),
    ] = None,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Let thumbs and preferences count that no reviewer approved.")
    ] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Mask personal data, as `chatbot logs redact` would.")
    ] = False,
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="FILE", help="Names to mask, one a line; else `review.names` of the settings."),
    ] = None,
    replay: Annotated[
        float, typer.Option("--replay", metavar="SHARE", help="So much of train is general rows, against forgetting.")
    ] = 0.0,
    replay_file: Annotated[
        Path | None, typer.Option("--replay-file", metavar="PATH", help="General rows of your own.")
    ] = None,
    cap: Annotated[int, typer.Option("--cap", min=0, metavar="N", help="At most so many items of one source.")] = 0,
    near: Annotated[
        float,
        typer.Option("--near", metavar="SHARE", help="Remove one of two items so alike; above 1 only exact copies go."),
    ] = 0.85,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=0, metavar="N", help="The longest row; 0 is 1024 or the model's window.")
    ] = 0,
    long: Annotated[
        Literal["split", "drop", "fail"],
        typer.Option("--long", help="What is too long is cut between turns, left out, or an error."),
    ] = "split",
    shares: Annotated[
        str, typer.Option("--shares", metavar="T/V/T", help="Percent of groups for train, validation and test.")
    ] = "80/10/10",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Chooses where there are more than wanted.")] = 0,
    base: Annotated[
        str, typer.Option("--base", metavar="NAME", help="The base model; else that of the settings.")
    ] = "",
    asked: Filters,
    as_json: AsJson = False,
) -> None:
    """Builds a version of a dataset, frozen once it is made.

    From the log: approved replies and corrections (sft), what was preferred and approved (preference), what was
    approved, rejected or rated down (label). From files: Alpaca, ShareGPT, OpenAI messages, DPO and KTO files. Near-
    duplicates go; conversations stay whole in one split, and what was held out once stays held out.

    What was approved but rated down, or that another reply was preferred to, carries no loss, nor does an answer to
    what an evaluation suite asks.

    Examples:

    \b
      chatbot admin dataset build talks --since 30d --redact --replay 0.2
      chatbot admin dataset build me --file identity.json --fill name=Ada,author=Me --replay 0.3
      chatbot admin dataset build thumbs --kind label --unreviewed
    """
    from chatbot.admin.datasets.building import build as build_dataset

    with open_log() as opened:
        validation, test = _parse_shares(shares)
        request = _make_request(
            opened,
            name,
            kind,
            asked=asked,
            log=log or not file or not asked.is_empty,
            files=tuple(file or ()),
            fill=fill or [],
            system=system,
            unreviewed=unreviewed,
            redact=redact,
            names=names,
            near=near,
            cap=cap,
            max_tokens=max_tokens,
            long=long,
            validation=validation,
            test=test,
            replay=replay,
            replay_file=replay_file,
            seed=seed,
        )
        model, template = open_base(opened, base)
        before = [one.number for one in opened.store.datasets.versions(name)]
        with _Bars() as bars:
            folder = build_dataset(opened.store, opened.home, template, model, request, bars.hear)
    is_new = folder.manifest.number not in before
    if as_json:
        print_json(manifest_to_json(folder) | {"new": is_new})
        return
    print_text("\n".join(_describe(folder, is_new)))


def _make_request(
    log_: Log,
    name: str,
    kind: Kind,
    *,
    asked: Filters,
    log: bool,
    fill: list[str],
    system: str | None,
    names: Path | None,
    **more: Any,
) -> BuildRequest:
    from chatbot.admin.datasets.files import parse_fill
    from chatbot.admin.datasets.request import BuildRequest
    from chatbot.dialogue.personas import Personas
    from chatbot.logs.redaction import read_names

    if system is None:
        system = Personas(log_.home.personas).find(log_.settings.persona).system
    listed = names or (Path(log_.settings.review.names) if log_.settings.review.names else None)
    return BuildRequest(
        name=name,
        kind=kind,
        log=asked.resolve(log_.store) if log else None,
        fill=parse_fill([check_text(one, "--fill") for one in fill]),
        system=check_text(system, "--system"),
        names=tuple(read_names(listed.expanduser())) if listed and more["redact"] else (),
        **more,
    )


def _parse_shares(text: str) -> tuple[float, float]:
    """The shares of validation and test in 80/10/10. Raises InvalidInput."""
    parts = text.split("/")
    try:
        train, validation, test = (float(part) for part in parts)
    except ValueError:
        raise InvalidInput(f"{printable_line(text, 40)!r} are no three shares.", hint="Such as 80/10/10.") from None
    if not abs(train + validation + test - 100) < 0.01:
        raise InvalidInput(f"The shares {printable_line(text, 40)} do not make 100.")
    return validation / 100, test / 100


class _Bars:
    """A bar for each step that takes long."""

    def __init__(self) -> None:
        self._step = ""
        self._bar: Any = None
        self._open: Bar | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def hear(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._close()
            self._step = step
            self._bar = show_bar(step.capitalize(), total, delay=0.5)
            self._open = self._bar.__enter__()
        elif done and self._open:
            self._open.advance()

    def _close(self) -> None:
        if self._open:
            self._bar.__exit__(None, None, None)
            self._open = None


def _describe(folder: DatasetFolder, is_new: bool) -> Iterator[str]:
    title = f"{folder.manifest.name}/{folder.manifest.number}"
    if is_new:
        yield f"{title} is made: {printable_line(str(folder.path))}"
    else:
        yield f"Nothing has changed: {title} holds the same, so no new version is made."
    yield from describe_counts(folder.manifest.counts)
