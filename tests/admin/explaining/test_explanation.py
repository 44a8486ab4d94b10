"""A tiny model is explained: the maps, the neighbours and the distribution are its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatbot.admin.explaining.explanation import Explanation, explain
from chatbot.admin.explaining.loading import MOST_TOKENS, encode, load_subject
from chatbot.admin.tokenizing.pieces import TokenReader
from chatbot.config import EngineSettings
from chatbot.errors import InvalidInput
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.template import ChatMessage, ChatTemplate
from tests.admin.training.samples import build_tiny
from tests.models.tiny_adapters import add_adapter, reload_with_peft

TEXT = "The quick brown 狐狸 jumps 🎉 over 12 rivers."


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


def look(folder: ModelFolder, text: str = TEXT, **options: object) -> tuple[list[int], Explanation]:
    template = folder.load_template()
    ids = encode(folder, template, text)
    subject = load_subject(ModelLibrary(folder.path.parent), folder.name, EngineSettings(device="cpu"))
    return ids, explain(subject, TokenReader(template.tokenizer), ids, **options)  # type: ignore[arg-type]


def test_attention_and_distribution_are_those_of_transformers(base: ModelFolder) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids, found = look(base, temperature=0.7)
    model = AutoModelForCausalLM.from_pretrained(base.path, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        reference = model(input_ids=torch.tensor([ids]), output_attentions=True)
    assert sorted(found.attention) == list(range(len(reference.attentions)))
    for layer, maps in found.attention.items():
        assert np.allclose(maps.sum(-1), 1, atol=1e-5)
        assert np.allclose(maps, reference.attentions[layer][0].numpy(), atol=1e-5)
        assert np.triu(maps, 1).max() == 0  # nothing looks ahead
    logits = reference.logits[0, -1]
    plain, tempered = torch.softmax(logits, 0), torch.softmax(logits / 0.7, 0)
    for one in found.next.candidates:
        assert one.probability == pytest.approx(float(plain[one.id]), rel=1e-3)
        assert one.tempered == pytest.approx(float(tempered[one.id]), rel=1e-3)
    assert {one.id for one in found.next.candidates} == set(torch.topk(plain, 10).indices.tolist())
    assert b"".join(token.content for token in found.tokens) == TEXT.encode()


def test_an_adapter_is_applied_on_its_base(base: ModelFolder, tmp_path: Path) -> None:
    import torch

    library = ModelLibrary(base.path.parent)
    adapter = add_adapter(library, "tiny", "talks.1-1", tmp_path, size=0.3)
    ids, found = look(adapter)
    tuned = reload_with_peft(base.path, adapter.path)
    with torch.no_grad():
        plain = torch.softmax(tuned(input_ids=torch.tensor([ids])).logits[0, -1], 0)
    for one in found.next.candidates:
        assert one.probability == pytest.approx(float(plain[one.id]), rel=1e-3)
    assert found.next != look(base)[1].next


def test_neighbours_are_of_the_tokens_asked_for_and_no_special_ones(base: ModelFolder) -> None:
    ids, found = look(base, places=[2])
    assert list(found.neighbours) == [2]
    special = TokenReader(base.load_template().tokenizer).special
    near = [piece.id for piece, _ in found.neighbours[2]]
    assert len(near) == 5
    assert not special & set(near)
    assert ids[2] not in near
    for places in ([len(ids)], [-1]):
        with pytest.raises(InvalidInput, match="There is no token"):
            look(base, places=places)


def test_a_head_that_is_not_there_is_named(base: ModelFolder) -> None:
    _, found = look(base)
    assert found.find_map(1, 0).shape == (len(found.tokens), len(found.tokens))
    with pytest.raises(InvalidInput, match="layers 0 to 1"):
        found.find_map(2, 0)
    with pytest.raises(InvalidInput, match="heads 0 to"):
        found.find_map(0, 64)


def test_one_token_is_enough_and_too_many_are_refused(base: ModelFolder) -> None:
    ids, found = look(base, "!")
    assert len(ids) == 1
    assert found.attention[0].shape[-2:] == (1, 1)
    template = base.load_template()
    with pytest.raises(InvalidInput, match="no text"):
        encode(base, template, "")
    with pytest.raises(InvalidInput, match=r"at most \d+ can"):
        encode(base, template, "1" * (MOST_TOKENS + 1))


def test_a_model_that_goes_on_with_text_reads_what_the_engine_reads(base: ModelFolder) -> None:
    named = {"bos_token": "<|im_end|>"}
    completer = ChatTemplate(base.load_template().tokenizer, "", named_tokens=named).as_completer()
    for text in (TEXT, "a<|im_end|>b"):
        expected = completer.encode([ChatMessage("user", text)])
        assert expected[0] == completer.tokenizer.token_to_id("<|im_end|>")
        assert encode(base, completer, text) == encode(base, completer, text, chat=True) == expected
    chat = base.load_template()
    assert encode(base, chat, TEXT) == chat.tokenizer.encode(TEXT).ids


def test_a_chat_is_rendered_by_the_template(base: ModelFolder) -> None:
    template = base.load_template()
    ids = encode(base, template, "Hello <|im_end|>", chat=True)
    end = template.tokenizer.token_to_id("<|im_end|>")
    assert [number == end for number in ids].count(True) == 1  # the message's own is disarmed
