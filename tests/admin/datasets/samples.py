"""A base model without weights, conversations that were reviewed, and files of other programs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.items import Turn
from chatbot.config import Home
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.manifest import FileRecord, Manifest
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store
from chatbot.store.records import Message
from tests.models.tiny_models import CHATML, train_tokenizer
from tests.store.sample import answer, say


def make_base(home: Home, *, name: str = "tiny", context: int = 512) -> ModelFolder:
    """A model folder with a tokenizer and a template, all that datasets need of one."""
    path = home.models / name
    path.mkdir(parents=True)
    files = {
        "tokenizer.json": train_tokenizer(),
        "tokenizer_config.json": json.dumps({"chat_template": CHATML, "eos_token": "<|im_end|>"}),
        "config.json": "{}",
    }
    for file, text in files.items():
        (path / file).write_text(text, "utf-8")
    manifest = Manifest(
        name=name,
        source="test",
        architecture="LlamaForCausalLM",
        dtype="float32",
        parameters=1,
        context=context,
        template_sha256=ChatTemplate.load(path).sha256,
        created="2026-01-01T00:00:00+00:00",
        files=tuple(
            FileRecord(path=file, size=len(text.encode()), sha256=hashlib.sha256(text.encode()).hexdigest())
            for file, text in files.items()
        ),
    )
    (path / "manifest.json").write_text(manifest.model_dump_json())
    return ModelLibrary(home.models).find(name)


def talk(store: Store, *texts: str, decisions: str = "", ratings: str = "") -> list[Message]:
    """A conversation of prompts and replies in turn; for each reply a sign: + approves or rates up, - the opposite."""
    conversation, said = "", list[Message]()
    for place, text in enumerate(texts):
        if place % 2 == 0:
            said.append(say(store, text, conversation))
            conversation = said[-1].conversation_id
        else:
            said.append(answer(store, said[-1], text))
    replies = said[1::2]
    for reply, sign in zip(replies, decisions, strict=False):
        if sign != " ":
            store.judgements.decide([reply.id], "approve" if sign == "+" else "reject", author="me")
    for reply, sign in zip(replies, ratings, strict=False):
        if sign != " ":
            store.judgements.say(reply.id, author="me", rating=1 if sign == "+" else -1)
    return said


def write_alpaca(path: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    records = [{"instruction": asked, "input": "", "output": answered} for asked, answered in pairs]
    path.write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    return path


def write_pairs(path: Path, records: Sequence[tuple[str, str, str]]) -> Path:
    """As LLaMA-Factory has them for DPO."""
    told = [
        {
            "conversations": [{"from": "human", "value": asked}],
            "chosen": {"from": "gpt", "value": chosen},
            "rejected": {"from": "gpt", "value": rejected},
        }
        for asked, chosen, rejected in records
    ]
    path.write_text(json.dumps(told), "utf-8")
    return path


def write_labels(path: Path, records: Sequence[tuple[str, str, bool]]) -> Path:
    """As LLaMA-Factory has them for KTO."""
    told = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}], "label": good}
        for asked, reply, good in records
    ]
    path.write_text(json.dumps(told), "utf-8")
    return path


def draft(prompt: str, reply: str, **more: Any) -> Draft:
    """An SFT draft of one exchange."""
    turns = (
        Turn(role="system", content=""),
        Turn(role="user", content=prompt),
        Turn(role="assistant", content=reply, learn=True),
    )
    return Draft("sft", more.pop("source", "file:f"), turns, ((), (), ()), **more)


_WORDS = """apple bridge candle desert engine forest garden harbour island jungle kitchen ladder market needle orchard
palace quarry river saddle temple urn valley window yacht zebra anchor basket cotton dragon eagle"""


def make_pairs(count: int) -> list[tuple[str, str]]:
    """Questions and answers of which no two are alike."""
    words = _WORDS.split()
    size = len(words)
    return [
        (
            f"What is a {words[n % size]} {words[(n * 7 + n // size + 3) % size]} for?",
            f"A {words[(n * 3 + 1) % size]} {n} is for the {words[(n * 11 + 5 + n // size) % size]}.",
        )
        for n in range(count)
    ]
