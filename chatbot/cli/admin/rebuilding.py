"""The first step of `chatbot admin cycle`: the next version of a dataset, built in the same way as its last."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from chatbot.cli.logs.finding import Log
from chatbot.cli.logs.printing import tell
from chatbot.cli.logs.waiting import StepBars
from chatbot.errors import DatasetDamaged


def build_again(log: Log, name: str) -> None:
    """Leaves a dataset that was imported or built from files as it is, and says so. Raises DatasetDamaged if the last
    recipe cannot be followed, and as a build."""
    from chatbot.admin.datasets.building import build
    from chatbot.admin.datasets.folder import read_manifest
    from chatbot.admin.datasets.freezing import version_folder
    from chatbot.admin.datasets.repeating import repeat_request
    from chatbot.cli.admin.opening import open_base
    from chatbot.dialogue.personas import Personas
    from chatbot.logs.redaction import read_names

    last = next(iter(reversed(log.store.datasets.versions(name))), None)
    review = log.settings.review
    request = repeat_request(
        name,
        last,
        system=Personas(log.home.personas).find(log.settings.persona).system,
        names=read_names(Path(review.names).expanduser()) if review.names else (),
    )
    if request is None:
        assert last is not None
        how = "imported" if last.imported else "built from files"
        tell(f"{last.title} was {how}, so it is taken as it is.")
        return
    base = ""  # the model of the settings, or whatever the last version was built for
    if last is not None:
        with suppress(DatasetDamaged):
            base = read_manifest(version_folder(log.home, last)).model
    model, template = open_base(log, base)
    with StepBars() as bars:
        folder = build(log.store, log.home, template, model, request, bars.reach)
    rows = ", ".join(f"{folder.manifest.files[split].rows:,} {split}" for split in folder.manifest.files)
    tell(f"{folder.title}: {rows}.")
