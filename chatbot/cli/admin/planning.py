"""A plan of a run in words: what `chatbot admin finetune --plan` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.cli.admin.board import show_seconds
from chatbot.cli.logs.printing import count_of, style

if TYPE_CHECKING:
    from chatbot.admin.training.plan import Plan


def describe_plan(plan: Plan, title: str) -> str:
    """A line for each thing that a person decides by."""
    config = plan.config
    lines = {
        "Data": f"{count_of(plan.rows, 'row')}, {plan.tokens:,} tokens, of which {plan.learned:,} are learnt; "
        f"the longest row has {plan.longest:,}",
        "Left out": f"{count_of(plan.left_out, 'row')} longer than {config.max_length:,} tokens",
        "Held out": f"{count_of(plan.held_out, 'pass', 'passes')} a look" if plan.held_out else "nothing",
        "Steps": f"{plan.steps:,}: {config.epochs:g} epochs of {count_of(plan.passes, 'pass', 'passes')}",
        "Adapter": f"rank {config.rank}, {plan.trained_parameters / 1e6:.1f} M of {plan.base_parameters / 1e6:,.0f} M "
        f"parameters, learning rate {config.learning_rate:g}",
        "Machine": f"{plan.device}, base in {plan.dtype}",
        "Memory": f"{plan.memory / 1e9:.1f} GB of the {plan.memory_there / 1e9:.1f} GB that are there",
        "Disk": f"{plan.disk / 1e6:,.0f} MB",
        "Time": f"about {show_seconds(plan.seconds)} from one step that was made: {plan.step_seconds:.1f} s, the "
        "quickest of a few. It takes longer while other programs are busy",
    }
    told = [style(title, bold=True), *(f"{style(f'{name:<10}', bold=True)}{value}" for name, value in lines.items())]
    return "\n".join([*told, *(f"! {problem}" for problem in plan.problems)])
