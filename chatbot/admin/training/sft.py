"""Supervised fine-tuning on packed rows: TRL's SFTTrainer with a loss of the learnt tokens alone."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import torch
from trl import SFTTrainer

from chatbot.admin.training.events import HeldOut
from chatbot.admin.training.loop import RunLoop
from chatbot.admin.training.loss import learn_only_labels


class SftLoop(RunLoop, SFTTrainer):  # type: ignore[misc]
    """Its datasets are packed rows with labels; see `rows.make_columns`."""

    loss_is_scaled_for_ga = True  # by the number of learnt tokens in the whole step

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        learn_only_labels(self.model.get_base_model())

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: Any) -> torch.Tensor:
        """Learnt tokens of a step, over all its passes; each process reads all of them."""
        counts = [(batch["labels"][:, 1:] != -100).sum() for batch in batch_samples]
        return torch.stack(counts).sum().to(device) if counts else torch.zeros((), dtype=torch.long, device=device)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the step's learnt tokens, as a part that this pass adds."""
        summed, count = model(**inputs, learnt_loss=True)
        of = count if num_items_in_batch is None else num_items_in_batch
        loss = summed / of.clamp(min=1) * self.share
        return (loss, None) if return_outputs else loss

    def measure(self) -> HeldOut | None:
        """The exact mean over all learnt tokens of the held-out rows, however they are packed and shared out."""
        if self.eval_dataset is None or not len(self.eval_dataset):
            return None
        total = torch.zeros(2, dtype=torch.float64)
        rows = len(self.eval_dataset)
        for start in range(0, rows, self.accelerator.num_processes):
            number = start + self.accelerator.process_index
            # A process without a row keeps step: where the base is sharded, all must make the same passes.
            inputs = self._prepare_inputs(self.data_collator([self.eval_dataset[min(number, rows - 1)]]))
            found = self.measure_in_pieces(inputs, self._sum_losses)
            if number < rows:
                total += torch.stack(found).sum(0)
        total = self.accelerator.gather(total[None].to(self.accelerator.device, torch.float32)).sum(0).cpu()
        return HeldOut(int(self.state.global_step), float(total[0] / total[1].clamp(min=1)))

    def _sum_losses(self, inputs: dict[str, Any]) -> torch.Tensor:
        """The summed loss and the number of learnt tokens."""
        return torch.tensor([float(one) for one in self.model(**inputs, learnt_loss=True)], dtype=torch.float64)

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """At the borders of rows, into parts of about as many tokens each."""
        if pieces == 1:
            return [(inputs, 1.0)]
        tokens, labels = inputs["input_ids"][0].tolist(), inputs["labels"][0].tolist()
        rows = [
            {"input_ids": tokens[start:end], "labels": labels[start:end], "seq_lengths": [end - start]}
            for start, end in pairwise(inputs["cu_seq_lens_q"].tolist())
        ]
        return [(self._prepare_inputs(self.data_collator(part)), 1.0) for part in cut_rows(rows, pieces)]


def cut_rows(rows: list[dict[str, Any]], pieces: int) -> list[list[dict[str, Any]]]:
    """`rows` cut in two where the tokens divide as the pieces do, and those again, until there are so many parts."""
    if pieces < 2 or len(rows) < 2:
        return [rows]
    left = pieces // 2
    ends = list(accumulate(len(row["input_ids"]) for row in rows))
    cut = min(range(1, len(rows)), key=lambda place: abs(pieces * ends[place - 1] - left * ends[-1]))
    return cut_rows(rows[:cut], left) + cut_rows(rows[cut:], pieces - left)
