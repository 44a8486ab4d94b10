"""DPO on preferences and KTO on judged replies: TRL's trainers, fed with our rows.

Both keep a reference, the model before training: the bare base for a new adapter, a frozen copy named `ref` for one
that is trained on. Only the adapter `default` is saved.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import DPOTrainer, KTOTrainer

from chatbot.admin.training.events import HeldOut
from chatbot.admin.training.loop import RunLoop
from chatbot.admin.training.scoring import score_only_replies


class _PreferenceLoop(RunLoop):
    """What both have in common: rows that are tokens already, and rewards."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows were rendered by our own template; TRL's must not render them again."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        return found if return_outputs else found * self.share

    def measure(self) -> HeldOut | None:
        trainer: Any = self
        if trainer.eval_dataset is None:
            return None
        self.take_metrics("eval")
        # Past RunLoop.evaluate, which calls this, to TRL's.
        found = super(RunLoop, self).evaluate()  # type: ignore[misc]
        means = self.take_metrics("eval")
        return HeldOut(
            int(self.state.global_step),
            float(found["eval_loss"]),
            margin=means.get("rewards/margins"),
            accuracy=means.get("rewards/accuracies"),
        )


class DpoLoop(_PreferenceLoop, DPOTrainer):  # type: ignore[misc]
    """Its rows have prompt_ids, chosen_ids and rejected_ids."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        score_only_replies(self.model.get_base_model())

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """A batch holds the better replies, then the worse: a part has both of its pairs."""
        pairs = len(inputs["input_ids"]) // 2
        parts = []
        for places in torch.arange(pairs).chunk(pieces):
            both = torch.cat([places, places + pairs])
            parts.append(({name: value[both] for name, value in inputs.items()}, len(places) / pairs))
        return parts


class KtoLoop(_PreferenceLoop, KTOTrainer):  # type: ignore[misc]
    """Its rows have prompt_ids, completion_ids, KL_completion_ids and label."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        score_only_replies(self.model.get_base_model())

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """By rows. How far the model has moved is then estimated from fewer pairs at a time."""
        rows = len(inputs["label"])
        return [
            ({name: value[places] for name, value in inputs.items()}, len(places) / rows)
            for places in torch.arange(rows).chunk(pieces)
        ]
