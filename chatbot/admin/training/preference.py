"""DPO on preferences and KTO on judged replies: TRL's trainers, fed with our rows.

Both keep a reference, the model before training: the bare base for a new adapter, a frozen copy named `ref` for one
that is trained on. Only the adapter `default` is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from trl import DPOTrainer, KTOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from chatbot.admin.training.events import HeldOut
from chatbot.admin.training.halving import Parts
from chatbot.admin.training.loop import RunLoop
from chatbot.admin.training.scoring import score_only_replies


class _PreferenceLoop(RunLoop):
    """What both have in common: rows that are tokens already, and rewards."""

    _tally: dict[str, tuple[float, int]]
    """The rewards of a look so far: a mean, times and beside the number of replies that it is of."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows were rendered by our own template; TRL's must not render them again."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        if not self.model.training:
            self._weigh(inputs)
        return found if return_outputs else found * self.share

    def count_kinds(self, inputs: dict[str, Any]) -> tuple[int, int]:
        """How many good and how many bad replies a batch has."""
        raise NotImplementedError

    def _weigh(self, inputs: dict[str, Any]) -> None:
        """Adds TRL's means of a held-out batch to those of the whole held-out part, each with the replies that it is
        the mean of: batches differ in how many are good, and the last one is smaller."""
        own = torch.tensor([self.count_kinds(inputs)], device=self.accelerator.device)
        good, bad = (int(count) for count in self.accelerator.gather_for_metrics(own).reshape(-1, 2).sum(0))
        metrics = getattr(self, "_metrics", {}).get("eval", {})
        for name, count in (("rewards/chosen", good), ("rewards/rejected", bad), ("rewards/accuracies", good)):
            if count and metrics.get(name):
                total, replies = self._tally.get(name, (0.0, 0))
                self._tally[name] = (total + metrics[name][-1] * count, replies + count)

    def remember(self) -> Callable[[], None]:
        before = dict(self._tally)

        def take_back() -> None:
            self._tally = before

        return take_back

    def measure(self) -> HeldOut | None:
        """The margin is the mean reward of all good replies minus that of all bad ones; None if one kind is missing."""
        trainer: Any = self
        if trainer.eval_dataset is None:
            return None
        self._tally = {}
        # Past RunLoop.evaluate, which calls this, to TRL's.
        found = super(RunLoop, self).evaluate()  # type: ignore[misc]
        self.take_metrics("eval")
        means = {name: total / count for name, (total, count) in self._tally.items()}
        good, bad = means.get("rewards/chosen"), means.get("rewards/rejected")
        return HeldOut(
            int(self.state.global_step),
            float(found["eval_loss"]),
            margin=None if good is None or bad is None else good - bad,
            accuracy=means.get("rewards/accuracies"),
        )


class DpoLoop(_PreferenceLoop, DPOTrainer):  # type: ignore[misc]
    """Its rows have prompt_ids, chosen_ids and rejected_ids."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        score_only_replies(self.model.get_base_model())

    def count_kinds(self, inputs: dict[str, Any]) -> tuple[int, int]:
        pairs = len(inputs["input_ids"]) // 2
        return pairs, pairs

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """A batch holds the better replies, then the worse: a part has both of its pairs."""
        pairs = len(inputs["input_ids"]) // 2
        parts = []
        for places in torch.arange(pairs).chunk(pieces):
            both = torch.cat([places, places + pairs])
            parts.append(({name: value[both] for name, value in inputs.items()}, len(places) / pairs))
        return parts


class KtoLoop(_PreferenceLoop, KTOTrainer):  # type: ignore[misc]
    """Its rows have prompt_ids, completion_ids, KL_completion_ids and label.

    How far the model has moved from the reference is a mean over the whole batch, and each reply's loss depends on it.
    So it is measured before the batch is worked through, however many parts and processes that takes; it has no
    gradient.
    """

    _moved: tuple[torch.Tensor, torch.Tensor] | None = None
    """The log-probabilities that tell it, of the whole batch: the model's and the reference's."""
    _answers: Iterator[torch.Tensor] | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        score_only_replies(self.model.get_base_model())

    def prepare(self, model: Any, parts: Parts) -> None:
        self._moved = self._answers = None
        unwrapped = self.accelerator.unwrap_model(self.model)
        reference = use_adapter(unwrapped, adapter_name="ref" if "ref" in unwrapped.peft_config else None)
        plain = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        batches = [(self._prepare_inputs(part), share) for part, share in parts]
        with torch.no_grad(), self.compute_loss_context_manager():
            own = self._measure_all(model, batches)
            with plain, reference:
                self._moved = own, self._measure_all(self.model, batches)

    def _measure_all(self, model: Any, batches: Parts) -> torch.Tensor:
        found = []
        for batch, self.share in batches:
            found.append(self.collect(super()._compute_kl_logps(model, batch)))
        return torch.cat(found)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        self._answers = iter(self._moved) if self._moved else None
        return super().compute_loss(model, inputs, *arguments, **options)

    def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """TRL asks for the model's first, then for the reference's."""
        own: torch.Tensor = next(self._answers) if self._answers else super()._compute_kl_logps(model, batch)
        return own

    def count_kinds(self, inputs: dict[str, Any]) -> tuple[int, int]:
        good = int(inputs["label"].sum())
        return good, len(inputs["label"]) - good

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        rows = len(inputs["label"])
        return [
            ({name: value[places] for name, value in inputs.items()}, len(places) / rows)
            for places in torch.arange(rows).chunk(pieces)
        ]
