"""Two models on one set of weights: the base model once, the adapters on top, everything else equal.

What is compared must differ in the adapter alone. So both run in this process, on the same weights (`weights` says in
which format), with the same rows in the same batches, and replies are greedy: the difference of two figures is then the
adapter's, not the dice's. Replies are made in batches, because an evaluation asks hundreds of them and a forward pass
on a CPU costs much the same for one conversation as for eight. A batch that does not fit into memory is made in halves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from chatbot.admin.evaluation.families import Family, gather, make_mask
from chatbot.admin.evaluation.weights import FINEST, Weights, load_finest
from chatbot.admin.rendering import TrainingRow
from chatbot.admin.training.loss import find_logit_scale
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import OutOfMemory
from chatbot.models.library import ModelFolder
from chatbot.models.template import ChatTemplate

if TYPE_CHECKING:
    import torch

_BATCH_TOKENS = 2048  # of one forward pass, padding included
_BATCH_PROMPTS = 16

_One = TypeVar("_One")
_Found = TypeVar("_Found")

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Loss:
    """The summed negative log-likelihood, in nats, of the learnt tokens of a row, and how many there are."""

    nats: float
    tokens: int

    @property
    def mean(self) -> float:
        return self.nats / max(self.tokens, 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """A greedy reply. `ended` is true if the model ended it by itself."""

    text: str
    ended: bool
    tokens: int
    seconds: float
    """Its share of the batch's time."""


class Bench:
    """`base` with `adapters` by name; any other name means the base model as it is."""

    def __init__(
        self,
        base: ModelFolder,
        adapters: Mapping[str, Path],
        template: ChatTemplate,
        formats: Sequence[Weights] = (FINEST,),
    ) -> None:
        """Loads the weights, whose files the caller has verified, in the first of `formats` for which there is room.
        Raises ModelDamaged, OutOfMemory."""
        import torch

        self.template = template
        self.shares: bool | None = None
        """Whether rows of one prompt can be read together; None until it was tried."""
        self.window = base.context
        """Tokens that a row, or a prompt with its reply, may have."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # An adapter's name becomes that of a module, which may hold no dot.
        self._keys = {name: f"adapter{number}" for number, name in enumerate(adapters)}
        named = {self._keys[name]: path for name, path in adapters.items()}
        self._model, self.weights = load_finest(base, named, self.device, formats)

    def losses(self, name: str, rows: Sequence[TrainingRow], on_progress: OnProgress | None = None) -> list[Loss]:
        """Of each row, in their order; rows of one prompt are read together. `on_progress` hears how many rows each
        batch held. Raises OutOfMemory if one alone does not fit."""
        import torch

        found: list[Loss] = [Loss(0.0, 0)] * len(rows)
        with torch.inference_mode(), self._chosen(name):
            families = gather(rows, shared=self.shares is not False)
            if self.shares is None and any(len(family.rows) > 1 for family in families):
                self.shares = self._try_sharing(rows, families)
                families = families if self.shares else gather(rows, shared=False)
            for batch in _make_batches([len(family.tokens) for family in families]):
                chosen = [families[index] for index in batch]
                for family, sums in zip(chosen, make_in_halves(self._sum_losses, chosen), strict=True):
                    for index, nats in zip(family.rows, sums, strict=True):
                        found[index] = Loss(nats, sum(rows[index].learned[1:]))
                if on_progress:
                    on_progress(sum(len(family.rows) for family in chosen))
        return found

    def answer(
        self,
        name: str,
        prompts: Sequence[Sequence[int]],
        *,
        limits: Sequence[int],
        on_progress: OnProgress | None = None,
    ) -> list[Answer]:
        """Greedy replies in the order of the prompts, each of at most as many tokens as its own limit says. Raises
        OutOfMemory if one alone does not fit."""
        import torch

        found: dict[int, Answer] = {}
        # A batch goes on until its longest reply ends.
        order = sorted(range(len(prompts)), key=lambda index: (limits[index], len(prompts[index])))
        with torch.inference_mode(), self._chosen(name):
            for start in range(0, len(order), _BATCH_PROMPTS):
                batch = order[start : start + _BATCH_PROMPTS]
                answers = make_in_halves(self._answer_batch, [(prompts[index], limits[index]) for index in batch])
                found.update(zip(batch, answers, strict=True))
                if on_progress:
                    on_progress(len(batch))
        return [found[index] for index in range(len(prompts))]

    def _try_sharing(self, rows: Sequence[TrainingRow], families: Sequence[Family]) -> bool:
        """Whether the model gives a family the losses that its rows have one by one."""
        family = min((one for one in families if len(one.rows) > 1), key=lambda one: len(one.tokens))
        try:
            together = self._sum_losses([family])[0]
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            if is_out_of_memory(error):
                raise
            return False
        alone = [self._sum_losses([one])[0][0] for one in gather([rows[index] for index in family.rows], shared=False)]
        return all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-3) for a, b in zip(together, alone, strict=True))

    def _sum_losses(self, families: Sequence[Family]) -> list[list[float]]:
        """Of each family's rows. Logits are made only where something is learnt: they cost as much as the rest of a
        small model."""
        import torch

        tokens, mask = self._pad([family.tokens for family in families], left=False)
        if any(len(family.rows) > 1 for family in families):
            positions, _ = self._pad([family.positions for family in families], left=False)
            wide = make_mask(families, tokens.shape[1], self._get_dtype()).to(self.device)
            states = self._read_states(tokens, wide, positions)
        else:
            states = self._read_states(tokens, mask)
        places = [(row, source) for row, family in enumerate(families) for source in family.sources]
        owners = [(row, owner) for row, family in enumerate(families) for owner in family.owners]
        sums = [[0.0] * len(family.rows) for family in families]
        if not places:
            return sums
        model = self._model.get_base_model() if self._keys else self._model
        head, (scale, cap) = model.get_output_embeddings(), find_logit_scale(model.config)
        chosen = states[torch.tensor([row for row, _ in places]), torch.tensor([source for _, source in places])]
        logits = torch.nn.functional.linear(chosen, head.weight, head.bias).float() * scale
        if cap is not None:
            logits = cap * torch.tanh(logits / cap)
        targets = torch.tensor([target for family in families for target in family.targets], device=logits.device)
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double().tolist()
        for (row, owner), loss in zip(owners, losses, strict=True):
            sums[row][owner] += loss
        return sums

    def _read_states(self, tokens: Any, mask: Any, positions: Any = None) -> Any:
        """The last hidden states, shape (rows, tokens, width)."""
        model = self._model.get_base_model() if self._keys else self._model
        more = {} if positions is None else {"position_ids": positions}
        return model.base_model(input_ids=tokens, attention_mask=mask, use_cache=False, **more).last_hidden_state

    def _get_dtype(self) -> torch.dtype:
        import torch

        dtype: torch.dtype = next(
            (one.dtype for one in self._model.parameters() if one.dtype.is_floating_point), torch.float32
        )
        return dtype

    def _answer_batch(self, asked: Sequence[tuple[Sequence[int], int]]) -> list[Answer]:
        """Of (prompt, limit)."""
        tokens, mask = self._pad([prompt for prompt, _ in asked], left=True)
        stops = sorted(self.template.stop_ids)
        filling = stops[0] if stops else 0
        begun = time.monotonic()
        made = self._model.generate(
            input_ids=tokens,
            attention_mask=mask,
            max_new_tokens=max(limit for _, limit in asked),
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            eos_token_id=stops or None,
            pad_token_id=filling,
        )
        seconds = (time.monotonic() - begun) / len(asked)
        answers = []
        for made_row, (_, limit) in zip(made[:, tokens.shape[1] :].tolist(), asked, strict=True):
            row = made_row[:limit]
            end = next((place for place, token in enumerate(row) if token in self.template.stop_ids), None)
            ids = row if end is None else row[:end]
            answers.append(Answer(self.template.decode(ids), end is not None, len(ids), seconds))
        return answers

    def _pad(self, rows: Sequence[Sequence[int]], *, left: bool, filling: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        width = max(map(len, rows))
        padded = torch.full((len(rows), width), filling, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows):
            part = slice(width - len(row), width) if left else slice(0, len(row))
            padded[place, part] = torch.tensor(list(row), dtype=torch.long)
            mask[place, part] = 1
        return padded.to(self.device), mask.to(self.device)

    @contextmanager
    def use(self, name: str) -> Iterator[Any]:
        """The model of transformers with the adapter `name`, or none, for whoever measures by other means."""
        with self._chosen(name):
            yield self._model.get_base_model() if self._keys else self._model

    @contextmanager
    def _chosen(self, name: str) -> Iterator[None]:
        """With the adapter `name`, or none if there is none of that name."""
        off: AbstractContextManager[Any] = nullcontext()
        if name in self._keys:
            self._model.set_adapter(self._keys[name], inference_mode=True)
        elif self._keys:
            off = self._model.disable_adapter()
        with off:
            yield


def make_in_halves(make: Callable[[Sequence[_One]], list[_Found]], rows: Sequence[_One]) -> list[_Found]:
    """What `make` makes of the rows; where memory does not suffice for all at once, of one half and then the other.
    Raises OutOfMemory if one row alone does not fit."""
    try:
        return make(rows)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise OutOfMemory(
                "One row by itself does not fit into memory.", hint="Compare on a machine with more of it."
            ) from error
    # Outside the handler: the traceback holds the tensors of the failed pass.
    _free_memory()
    middle = len(rows) // 2
    return [*make_in_halves(make, rows[:middle]), *make_in_halves(make, rows[middle:])]


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _make_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of rows, the longest first, as many together as the padded batch has room for."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
