"""How an item of a dataset becomes the tokens that are learnt: exactly those that the chat would send and receive.

An adapter learns the format together with the words. Were the training text to differ from the chat's by one token,
a missing system message or a newline too many, the adapter would be good at a format that nobody speaks. So nothing
is rendered here but by the model's own `ChatTemplate`, and each learnt reply follows the prompt that the chat sends.

Most templates write an earlier reply as it was generated, so that a conversation with several learnt replies is one
row. Some do not (they leave old reasoning out, or put no mark behind a reply): then each learnt reply needs its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.items import Turn
from chatbot.errors import LearningError
from chatbot.models.template import ChatMessage, ChatTemplate


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """Token ids and, for each, whether it carries loss; both are as long as each other."""

    tokens: tuple[int, ...]
    learned: tuple[bool, ...]

    @property
    def labels(self) -> list[int]:
        """The tokens, with −100 where nothing is learnt: what PyTorch's cross entropy passes over."""
        return [token if learned else -100 for token, learned in zip(self.tokens, self.learned, strict=True)]


def render_row(template: ChatTemplate, turns: Sequence[Turn]) -> TrainingRow:
    """The one row of `turns`, up to its last learnt token; empty if no turn is to be learnt.

    For each reply with `learn`: its prompt's tokens as the chat sends them, then, learnt, its own tokens and the one
    that ends the turn. Raises LearningError if the template writes an earlier learnt reply otherwise than the model
    did (`render_rows` then gives several rows), and ModelRefused if the template refuses the conversation.
    """
    rows = render_rows(template, turns)
    if len(rows) > 1:
        raise LearningError(
            "The model's chat template changes earlier replies, so this conversation does not fit in one row.",
            hint="Learn one reply of each conversation.",
        )
    return rows[0] if rows else TrainingRow((), ())


def render_rows(template: ChatTemplate, turns: Sequence[Turn]) -> list[TrainingRow]:
    """The fewest rows in which each learnt reply follows its own prompt: one, for nearly every template.

    Raises ModelRefused if the template refuses the conversation.
    """
    turns = _arrange(turns)
    messages = [turn.message for turn in turns]
    rows: list[TrainingRow] = []
    tokens: list[int] = []
    learned: list[bool] = []
    for place, turn in enumerate(turns):
        if not turn.learn:
            continue
        prompt = template.encode(messages[:place])
        if prompt[: len(tokens)] != tokens:
            rows.append(TrainingRow(tuple(tokens), tuple(learned)))
            tokens, learned = [], []
        reply = _encode_reply(template, messages[: place + 1], prompt)
        learned += [False] * (len(prompt) - len(tokens)) + [True] * len(reply)
        tokens = prompt + reply
    if tokens:
        rows.append(TrainingRow(tuple(tokens), tuple(learned)))
    return rows


def render_prompt(template: ChatTemplate, turns: Sequence[Turn]) -> list[int]:
    """The tokens that the chat sends to have `turns`, which end with a user's message, answered."""
    return template.encode([turn.message for turn in _arrange(turns)])


def _arrange(turns: Sequence[Turn]) -> list[Turn]:
    """As `dialogue.prompt.assemble` does in chat: a system message always, nothing empty, no role twice in a row."""
    arranged = [Turn(role="system", content="")]
    for turn in turns:
        last = arranged[-1]
        if len(arranged) == 1 and turn.role == "system" and not last.content:
            arranged[0] = turn
        elif not turn.content:
            continue
        elif last.role == turn.role:
            text = f"{last.content}\n\n{turn.content}"
            arranged[-1] = Turn(role=turn.role, content=text, learn=last.learn and turn.learn)
        else:
            arranged.append(turn)
    return arranged


def _encode_reply(template: ChatTemplate, messages: list[ChatMessage], prompt: list[int]) -> list[int]:
    """The tokens that the model is to write after `prompt`: the last of `messages` and the end of its turn."""
    before = template.render(messages[:-1])
    text = template.render(messages, continue_last=True)
    # A template that writes a reply otherwise than behind its prompt is followed as far as it can be: the bare text.
    own = text[len(before) :] if text.startswith(before) else messages[-1].content
    whole = template.encode(messages, continue_last=True)
    if text.startswith(before) and whole[: len(prompt)] == prompt:
        reply = whole[len(prompt) :]
    else:  # the tokenizer joined the prompt's last character and the reply's first, which no generation does
        reply = list(template.tokenizer.encode(own, add_special_tokens=False).ids)
    return [*reply, *_find_end(template, messages, own)]


def _find_end(template: ChatTemplate, messages: list[ChatMessage], own: str) -> list[int]:
    """The token that the template puts behind a reply, else the model's end of text, else nothing."""
    text = template.render([*messages, ChatMessage("user", "?")])
    rest = text[text.rindex(own) + len(own) :] if own and own in text else ""
    ids = template.tokenizer.encode(rest.lstrip(), add_special_tokens=False).ids[:1]
    return [number for number in ids if number in template.stop_ids] or sorted(template.stop_ids)[:1]
