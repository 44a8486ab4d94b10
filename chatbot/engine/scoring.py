"""How probable each token of a reply is: the reply cut into tokens with their texts, and the steps of the computation.

A reply is known by its text alone, so it is tokenized here as the model would most naturally have written it: behind a
prompt whose tokens stay as they are. The texts are cut from the reply itself and not decoded, so that joined they are
the reply, whatever the tokenizer does to what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatbot.engine.protocol import TokenLogprob
from chatbot.errors import RequestRefused

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from chatbot.engine.generation import Token
    from chatbot.engine.loading import LoadedModel
    from chatbot.models.template import ChatMessage, ChatTemplate


@dataclass(frozen=True, slots=True)
class ReplyTokens:
    """A reply as tokens behind its prompt. `ids`, `texts` and `groups` have the same length."""

    prompt: list[int]
    ids: list[int]
    texts: list[str]
    """Joined they are the reply. Of the tokens that share a character, the last has it."""
    groups: list[int]
    """For each token, the place of the first one that it shares a character with; its own if there is none."""


def split_reply(template: ChatTemplate, messages: Sequence[ChatMessage]) -> ReplyTokens:
    """The tokens of the last message, a reply to those before it. Raises RequestRefused if it is none."""
    if len(messages) < 2 or messages[-1].role != "assistant" or not messages[-1].content:
        raise RequestRefused("Only a reply that follows a message and has a text can be scored.", code="invalid_value")
    *before, last = messages
    tokenizer, text = template.tokenizer, last.content
    prompt, rendered = template.encode(before), template.render(before)
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    place = 0
    for part in _part_marks(tokenizer, text):
        # Behind the prompt, if that leaves the prompt's own tokens alone: some tokenizers put a space before a text.
        behind = rendered if not ids else ""
        found = tokenizer.encode(behind + part, add_special_tokens=bool(behind) and not template.source)
        skipped = len(prompt)
        if not behind or found.ids[:skipped] != prompt:
            behind, skipped = "", 0
            found = tokenizer.encode(part, add_special_tokens=False)
        ids += found.ids[skipped:]
        shift = place - len(behind)
        spans += [(start + shift, end + shift) for start, end in found.offsets[skipped:]]
        place += len(part)
    if not ids:
        raise RequestRefused("The model's tokenizer sees nothing in this reply.", code="invalid_value")
    return ReplyTokens(prompt, ids, *_cut(text, spans))


def score_reply(model: LoadedModel, reply: ReplyTokens, count: int) -> Iterator[tuple[TokenLogprob, ...] | None]:
    """The steps of scoring: None while the prompt is read, then the tokens, some at a time, each with the `count` most
    probable ones at its place. Runs in the scheduler; when it ends or is closed, the KV cache is kept."""
    from chatbot.engine.generation import score

    cache, reused = model.prefixes.take(model.key, reply.prompt)
    steps = score(model.decoder, reply.prompt, reply.ids, cache, reused=reused, top_logprobs=count)
    place = 0
    sound = False
    try:
        for tokens in steps:
            if tokens is None:
                yield None
                continue
            tokenizer = model.template.tokenizer
            yield tuple(_describe(tokenizer, reply, place + number, token) for number, token in enumerate(tokens))
            place += len(tokens)
        sound = True
    except GeneratorExit:
        sound = True  # left early, but between two steps: the cache is whole
        raise
    finally:
        if sound:
            model.prefixes.put(model.key, [*reply.prompt, *reply.ids], cache)


def _part_marks(tokenizer: Tokenizer, text: str) -> list[str]:
    """`text` in parts, such that none holds a special token as a whole. A reply that quotes one is text all the same:
    the model wrote it in smaller tokens, since the special one would have ended it or not been shown."""
    marks = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    pattern = "|".join(re.escape(mark) for mark in marks if len(mark) > 1)
    cuts = [found.start() + 1 for found in re.finditer(f"(?={pattern})", text)] if pattern else []
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> tuple[list[str], list[int]]:
    """The texts and the groups of tokens that cover `spans`. White space that no span covers, because tokenizers trim
    theirs, goes to the token after it."""
    texts: list[str] = []
    groups: list[int] = []
    place = 0
    shared = False  # with the token before
    for number, (_, end) in enumerate(spans):
        following = spans[number + 1][0] if number + 1 < len(spans) else len(text)
        groups.append(groups[-1] if shared else number)
        shared = following < end
        cut = len(text) if number + 1 == len(spans) else max(place, min(end, following))
        texts.append(text[place:cut])
        place = cut
    return texts, groups


def _describe(tokenizer: Tokenizer, reply: ReplyTokens, place: int, token: Token) -> TokenLogprob:
    assert token.logprob is not None
    if not token.top:
        return TokenLogprob(reply.texts[place], token.logprob)
    # Decoded behind what stands before it: a space may depend on that, and the rest of a character does.
    begun = reply.groups[place]
    context = reply.ids[reply.groups[begun - 1] if begun else 0 : place]
    before, *found = tokenizer.decode_batch([context, *([*context, other] for other, _ in token.top)])
    before = before.rstrip("\ufffd")
    texts = [
        text.removeprefix(before) if text.startswith(before) else tokenizer.decode([other])
        for text, (other, _) in zip(found, token.top, strict=True)
    ]
    top = tuple((text, value) for text, (_, value) in zip(texts, token.top, strict=True))
    return TokenLogprob(reply.texts[place], token.logprob, top)
