"""How probable the tokens of a reply are: the numbers of the generation itself, and texts that make up the reply."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from chatbot.config import EngineSettings
from chatbot.engine.choice import Choice
from chatbot.engine.generation import generate, score
from chatbot.engine.kv_cache import make_cache
from chatbot.engine.loading import LoadedModel, load_model
from chatbot.engine.protocol import Finished, GenerationRequest, Sampling, TokenLogprob
from chatbot.engine.sampling import Sampler
from chatbot.engine.scoring import split_reply
from chatbot.engine.torch_engine import TorchEngine
from chatbot.errors import ModelNotFound, RequestRefused
from chatbot.models.library import ModelLibrary
from chatbot.models.template import ChatMessage, ChatTemplate

HARD = "天空为什么是蓝色的？ 😀👩‍💻🇨🇳  naïve —\n\n ﷽ 𝔘𝔫𝔦 \ufffd."
MARKED = "It ends with <|im_end|>, says the <<|im_start|>|im_start|> manual<|im_end|>"


def ask(*texts: str, model: str = "llama", **sampling: Any) -> GenerationRequest:
    """Texts of the user and the assistant by turns; it is to be scored if the assistant has the last word."""
    roles: Any = ("user", "assistant")
    messages = tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(texts))
    return GenerationRequest(model, messages, Sampling(**sampling), continue_last=len(texts) % 2 == 0)


def join(tokens: tuple[TokenLogprob, ...]) -> str:
    return "".join(token.token for token in tokens)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "mistral"])
def test_the_numbers_are_those_of_the_generation(kind: str, tiny_models: Path) -> None:
    """By token ids: what a tiny model writes is bytes at random, and its text would be cut into other tokens."""
    model = load_model(ModelLibrary(tiny_models).find(kind), EngineSettings(device="cpu", threads=1))
    prompt = model.template.encode(ask("Why is the sky blue? " * 4).messages)
    for reused in (0, 40):
        sampler = Sampler(Choice(temperature=0.0), prompt, 1)
        written = [
            token
            for token in generate(model.decoder, prompt, fill(model, prompt, 0), sampler, limit=150, top_logprobs=4)
            if token is not None
        ]
        steps = list(
            score(
                model.decoder,
                prompt,
                [token.id for token in written],
                fill(model, prompt, reused),
                reused=reused,
                top_logprobs=4,
            )
        )
        scored = [token for step in steps if step is not None for token in step]
        assert len(steps) > 3  # it gives the word back in between
        assert [token.id for token in scored] == [token.id for token in written]
        assert [token.logprob for token in scored] == pytest.approx([token.logprob for token in written], abs=1e-4)
        for one, other in zip(scored, written, strict=True):
            assert [value for _, value in one.top] == pytest.approx([value for _, value in other.top], abs=1e-4)
            assert one.top[0][1] == pytest.approx(one.logprob, abs=1e-4)  # it was drawn greedily


def fill(model: LoadedModel, prompt: list[int], count: int) -> Any:
    """A cache that holds the first tokens of the prompt."""
    import torch

    cache = make_cache(model.decoder.module)
    if count:
        with torch.inference_mode():
            model.decoder.fill(prompt[:count], cache)
    return cache


async def test_another_models_reply_is_scored_as_transformers_would(
    tiny_models: Path, start_engine: Callable[..., TorchEngine]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    reply = "The air scatters light. " * 20 + HARD
    engine = start_engine()
    request = ask("Why is the sky blue?", reply, top_logprobs=3)
    scored = await engine.score(request)
    template = ChatTemplate.load(tiny_models / "llama")
    prompt = template.encode(request.messages[:-1])
    ids = template.tokenizer.encode(reply, add_special_tokens=False).ids
    model = AutoModelForCausalLM.from_pretrained(tiny_models / "llama", dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)
    assert len(ids) == len(scored) > 130  # more than two chunks
    assert [token.logprob for token in scored] == pytest.approx(
        [float(row[token]) for row, token in zip(expected, ids, strict=True)], abs=1e-4
    )
    assert [token.top[0][1] for token in scored] == pytest.approx(expected.max(-1).values.tolist(), abs=1e-4)


@pytest.mark.parametrize("reply", [HARD, MARKED, " leading", "\n", "trailing  ", "a", "😀"])
async def test_the_texts_make_up_the_reply(reply: str, start_engine: Callable[..., TorchEngine]) -> None:
    scored = await start_engine().score(ask("Why?", reply, top_logprobs=2))
    assert join(scored) == reply
    assert all(math.isfinite(token.logprob) and token.logprob <= 0 for token in scored)
    assert all(len(token.top) == 2 for token in scored)


def test_a_character_of_several_tokens_belongs_to_the_last(tiny_models: Path) -> None:
    template = ChatTemplate.load(tiny_models / "llama")
    reply = split_reply(template, ask("Why?", "ab 𝔘c").messages)
    assert reply.texts[-5:] == ["", "", "", "𝔘", "c"]
    first = len(reply.texts) - 5
    assert reply.groups[-5:] == [first, first, first, first, first + 4]


def test_a_quoted_mark_is_no_mark(tiny_models: Path) -> None:
    template = ChatTemplate.load(tiny_models / "llama")
    reply = split_reply(template, ask("Why?", MARKED).messages)
    special = {number for number, token in template.tokenizer.get_added_tokens_decoder().items() if token.special}
    assert not special & set(reply.ids)
    assert template.tokenizer.decode(reply.ids) == MARKED


async def test_the_alternatives_of_a_characters_parts_complete_it(start_engine: Callable[..., TorchEngine]) -> None:
    scored = await start_engine().score(ask("Why?", "x 𝔘", top_logprobs=20))
    *_, last = scored
    # At the place of its last byte, an alternative makes another character of the same beginning or leaves it broken.
    siblings = {chr(code) for code in range(0x1D500, 0x1D540)}
    texts = [text for text, _ in last.top]
    assert siblings & set(texts)
    assert all(text[:1] in {"", "\ufffd", *siblings} for text in texts)


def test_a_tokenizer_that_puts_a_space_before_a_text_puts_none_before_the_reply() -> None:
    vocabulary = {piece: number for number, piece in enumerate(["?", "▁", "▁a", "a", "b", "▁ab", "ab", "\n"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b"), ("▁", "ab"), ("▁", "a")], unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    template = ChatTemplate(tokenizer, "{% for message in messages %}{{ message['content'] }}\n{% endfor %}")
    reply = split_reply(template, ask("a b", "ab a").messages)
    assert [tokenizer.id_to_token(number) for number in reply.ids] == ["ab", "▁a"]
    assert reply.texts == ["ab", " a"]


@pytest.mark.parametrize(
    "messages",
    [
        (ChatMessage("user", "Why?"),),
        (ChatMessage("assistant", "Because."),),
        (ChatMessage("user", "Why?"), ChatMessage("assistant", "")),
        (ChatMessage("assistant", "Hello."), ChatMessage("user", "Why?")),
    ],
)
async def test_what_is_no_reply_is_refused(
    messages: tuple[ChatMessage, ...], start_engine: Callable[..., TorchEngine]
) -> None:
    with pytest.raises(RequestRefused, match="reply"):
        await start_engine().score(GenerationRequest("llama", messages, continue_last=True))


async def test_a_reply_beyond_the_window_or_of_no_model_is_refused(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine(context=64)
    with pytest.raises(RequestRefused) as refusal:
        await engine.score(ask("Why?", "word " * 60))
    assert refusal.value.code == "context_length_exceeded"
    with pytest.raises(ModelNotFound):
        await engine.score(ask("Why?", "Because.", model="no-such-model"))


async def test_the_prompts_cache_is_used_and_stays_right(start_engine: Callable[..., TorchEngine]) -> None:
    engine, plain = start_engine(), start_engine(cached_conversations=0)
    question = "Why is the sky blue? " * 12
    for reply in ("The air scatters light. " * 6, "天空是蓝色的。", "The air scatters light. " * 6):
        steps = engine.steps_done
        scored = await engine.score(ask(question, reply, top_logprobs=1))
        expected = await plain.score(ask(question, reply, top_logprobs=1))
        assert [token.logprob for token in scored] == pytest.approx([token.logprob for token in expected], abs=1e-4)
        steps = engine.steps_done - steps
    assert steps < plain.steps_done / 3  # the last one read its prompt from the cache
    async for item in engine.stream(ask(question, "The air scatters light. " * 6, "And then?", max_tokens=1)):
        if isinstance(item, Finished):
            assert item.cached_tokens > item.prompt_tokens * 0.8  # what scoring read serves the next turn


async def test_leaving_stops_it_and_others_go_on_beside_it(start_engine: Callable[..., TorchEngine]) -> None:
    engine = start_engine()
    scoring = asyncio.create_task(engine.score(ask("Why?", "a b c d e f g h " * 20)))
    async for _ in engine.stream(ask("Hi", temperature=0.0, max_tokens=2)):
        pass
    assert not scoring.done()
    assert len(await scoring) > 100
    begun = engine.steps_done
    scoring = asyncio.create_task(engine.score(ask("Why? " * 60, "Because. " * 8)))
    while engine.steps_done == begun:  # noqa: ASYNC110  the engine counts, it does not ring
        await asyncio.sleep(0)
    scoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scoring
    end = time.monotonic() + 0.2
    seen = -1
    while engine.steps_done != seen:
        assert time.monotonic() < end
        seen = engine.steps_done
        await asyncio.sleep(0.02)
