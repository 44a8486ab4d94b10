"""`chatbot admin`: the learning cycle, from conversations to a better chatbot and back."""

from __future__ import annotations

import typer

from chatbot.cli.admin import corpus, dataset, finetuning, judging, pretraining, runs, tokenizer, watching
from chatbot.cli.logs import tracing

app = typer.Typer(
    help="The learning cycle: corpora, pretraining, datasets, fine-tuning, evaluation, promotion.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.add_typer(corpus.app, name="corpus")
app.add_typer(tokenizer.app, name="tokenizer")
app.command(name="pretrain")(pretraining.pretrain)
app.add_typer(dataset.app, name="dataset")
app.command(name="finetune")(finetuning.finetune)
app.command(name="watch")(watching.watch)
app.command(name="evaluate")(judging.evaluate)
app.command(name="promote")(judging.promote)
app.command(name="rollback")(judging.rollback)
app.command(name="cycle")(judging.cycle)
app.add_typer(runs.runs, name="runs")
app.add_typer(runs.models, name="models")
app.command(name="lineage")(tracing.lineage)  # the trail belongs to the log and to the loop alike
app.command(name="journal")(runs.show_journal)
