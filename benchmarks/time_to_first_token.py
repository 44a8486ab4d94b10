"""Time to the first token of a tenth turn, beside `transformers` reading the whole prompt again.

A: our private engine, asked through its socket as the chat asks it; it still holds the turns before. B: transformers'
`generate(max_new_tokens=1)` on the same prompt in this process, which is what a chat without a kept cache pays. Both
have the same weights, number format, threads and OpenMP waiting policy. They alternate, A B A B, each time with
another tenth question, and the medians are compared. Decoding speed is measured on the way.

    python benchmarks/time_to_first_token.py [--home FOLDER] [--rounds 7] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from chatbot.config import DEFAULT_MODEL, EngineSettings, Home
from chatbot.engine.client import EngineClient
from chatbot.engine.loading import count_threads
from chatbot.engine.protocol import Finished, GenerationRequest, Piece, Sampling
from chatbot.models.library import ModelLibrary
from chatbot.models.template import ChatMessage, ChatTemplate

HISTORY_TOKENS = 1000
TURNS = 9
DECODED = 64
FILLER = (
    "Light from the sun is scattered by the molecules of the air, and the shorter waves are scattered far more than "
    "the longer ones, so that a part of the blue light reaches us from every side of the sky. At sunset the way "
    "through the air is long, most of the blue is gone before it comes, and what is left is yellow, orange and red. "
)
QUESTIONS = (
    "What about clouds?",
    "And on Mars?",
    "Why is the sea blue?",
    "Is violet scattered too?",
    "How do we know?",
)


def build_history(template: ChatTemplate) -> list[ChatMessage]:
    """Nine turns of about a thousand tokens in all."""
    history = [ChatMessage("system", "You are a helpful assistant.")]
    words = (FILLER * 10).split()
    share = 1
    while template.count(_fill(history, words, share)) < HISTORY_TOKENS:
        share += 1
    return _fill(history, words, share)


def _fill(history: list[ChatMessage], words: list[str], share: int) -> list[ChatMessage]:
    turns = list(history)
    for number in range(TURNS):
        turns.append(ChatMessage("user", f"Question {number + 1}: tell me more about the colours of the sky."))
        turns.append(ChatMessage("assistant", " ".join(words[number : number + share])))
    return turns


async def time_ours(client: EngineClient, messages: tuple[ChatMessage, ...], tokens: int) -> tuple[float, float, int]:
    """Seconds to the first piece, tokens a second after it, and how many tokens of the prompt were cached."""
    request = GenerationRequest(DEFAULT_MODEL, messages, Sampling(temperature=0.0, max_tokens=tokens))
    started, first = time.perf_counter(), 0.0
    async for item in client.stream(request):
        if isinstance(item, Piece) and not first:
            first = time.perf_counter()
        if isinstance(item, Finished):
            decoding = max(time.perf_counter() - first, 1e-9)
            return first - started, (item.completion_tokens - 1) / decoding, item.cached_tokens
    raise RuntimeError("the stream had no end")


def time_theirs(model: Any, prompt: list[int], tokens: int) -> float:
    """Seconds of `generate` on the whole prompt."""
    import torch

    ids = torch.tensor([prompt])
    started = time.perf_counter()
    with torch.inference_mode():
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0)
    return time.perf_counter() - started


async def measure(home: Home, rounds: int) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    folder = ModelLibrary(home.models).find(DEFAULT_MODEL)
    template = folder.load_template()
    torch.set_num_threads(count_threads(0))
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32).eval()
    history = build_history(template)
    client = EngineClient(EngineSettings(device="cpu"), home)
    ours: list[float] = []
    theirs: list[float] = []
    cached: list[int] = []
    speeds: list[float] = []
    try:
        # The turns before were answered by this engine; one request stands for them.
        await time_ours(client, tuple(history[:-1]), 1)
        time_theirs(model, template.encode(history[:2]), 1)
        for number in range(rounds):
            question = f"{QUESTIONS[number % len(QUESTIONS)]} (part {number + 1})"
            messages = (*history, ChatMessage("user", question))
            seconds, _, reused = await time_ours(client, messages, 1)
            ours.append(seconds)
            cached.append(reused)
            theirs.append(time_theirs(model, template.encode(messages), 1))
            speeds.append((await time_ours(client, messages, DECODED))[1])
        whole = time_theirs(model, template.encode(messages), DECODED)
        plain = whole - time_theirs(model, template.encode(messages), 1)
    finally:
        await client.leave()
        await client.close()
    return {
        "prompt_tokens": len(template.encode(messages)),
        "cached_tokens": statistics.median(cached),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "ours_seconds": statistics.median(ours),
        "transformers_seconds": statistics.median(theirs),
        "ratio": statistics.median(ours) / statistics.median(theirs),
        "ours_tokens_per_second": statistics.median(speeds),
        "transformers_tokens_per_second": (DECODED - 1) / plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, default=Path(__file__).parent.parent / ".cache" / "home")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as our engine sets it for itself; read when torch is
    with tempfile.TemporaryDirectory() as place:
        # The models of `--home`, but a socket and logs of our own, so that no engine that runs already is measured.
        state = Path(place)
        models = asked.home.resolve()
        home = Home(config=models, data=models, state=state, runtime=state / "run")
        found = asyncio.run(measure(home, asked.rounds))
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"prompt of {found['prompt_tokens']} tokens, {found['cached_tokens']:.0f} of them cached")
        print(f"ours          {found['ours_seconds'] * 1000:8.0f} ms  {found['ours_tokens_per_second']:6.1f} tokens/s")
        theirs = found["transformers_seconds"] * 1000
        print(f"transformers  {theirs:8.0f} ms  {found['transformers_tokens_per_second']:6.1f} tokens/s")
        print(f"ratio         {found['ratio']:8.3f}")


if __name__ == "__main__":
    main()
