"""Training beside plain TRL: tokens a second, peak memory, and the loss after the same rows.

    python benchmarks/train_throughput.py [--rows 48] [--rounds 2] [--data alpaca.json] [--threads 2]

Both train a LoRA adapter of rank 16 on all linear layers of SmolLM2-135M for one epoch over the same rows, whose tokens
and labels are the same. The peer is TRL's SFTTrainer with its defaults but for a CPU: float32, padding, batches of 8,
no gradient checkpointing. Each run is a process of its own; the two take turns. Tokens are those of the rows, padding
not counted, over the time from the end of the first step to that of the last; memory is the process's peak. The loss
is that of rows held out from both, by the same plain forward pass over one row at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
DATA = REPOSITORY.parent / "shared" / "data" / "instruct" / "alpaca_en_demo.json"
RATE, RANK, HELD_OUT = 1e-3, 16, 16
SYSTEM = "You are a helpful AI assistant."


def read_pairs(data: Path, count: int) -> list[tuple[str, str]]:
    """Questions and answers: of an Alpaca file, else made up, with lengths as uneven as those of such a file."""
    if data.is_file():
        records = json.loads(data.read_text("utf-8"))
        return [(f"{r['instruction']}\n\n{r.get('input', '')}".strip(), r["output"]) for r in records][:count]
    sentence = "The lighthouse keeper counts {} ships and writes each of them down. "
    return [
        (f"How many ships passed in the year {n}?", "".join(sentence.format(n + i) for i in range(1 + n * 7 % 25)))
        for n in range(count)
    ]


def build(folder: Path, data: Path, rows: int) -> tuple[Any, Any]:
    """The base model and a dataset of `rows` rows and the held-out ones after them."""
    from chatbot.admin.datasets.folder import DatasetFolder, write_folder
    from chatbot.admin.datasets.items import SftItem, Turn
    from chatbot.files import hash_file
    from chatbot.models.library import ModelLibrary

    base = ModelLibrary(REPOSITORY / ".cache" / "home" / "models").find("smollm2-135m-instruct")
    path = folder / "dataset"
    if path.exists():
        return base, DatasetFolder.open(path)
    items = [
        SftItem(
            id=str(number),
            source="file:benchmark",
            group=str(number),
            turns=(
                Turn(role="system", content=SYSTEM),
                Turn(role="user", content=question),
                Turn(role="assistant", content=answer, learn=True),
            ),
        )
        for number, (question, answer) in enumerate(read_pairs(data, rows + HELD_OUT))
    ]
    dataset = write_folder(
        path,
        {"train": items[:rows], "test": items[rows:]},
        name="benchmark",
        number=1,
        kind="sft",
        model=base.name,
        template_sha256=base.template_sha,
        tokenizer_sha256=hash_file(base.path / "tokenizer.json"),
        recipe={},
        counts={},
        created="2026-01-01T00:00:00Z",
    )
    return base, dataset


def measure_loss(model: Any, rows: list[Any]) -> float:
    """The mean over the learnt tokens of `rows`, one plain forward pass for each."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor([row.tokens])).logits[0, :-1].float()
            labels = torch.tensor(row.labels[1:])
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            count += int((labels != -100).sum())
    return total / count


def run_peer(base: Any, rows: list[Any], threads: int, folder: Path) -> tuple[Any, float, int]:
    """Plain TRL. The model, tokens a second, and the peak memory in bytes."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(threads)
    ends: list[tuple[float, int]] = []
    seen = 0

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append((time.perf_counter(), seen))

    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            num_train_epochs=1,
            learning_rate=RATE,
            lr_scheduler_type="cosine",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict(
            {"input_ids": [list(row.tokens) for row in rows], "labels": [row.labels for row in rows]}
        ),
        processing_class=AutoTokenizer.from_pretrained(base.path),
        peft_config=LoraConfig(
            r=RANK, lora_alpha=8, use_rslora=True, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[Watch()],
    )
    collate = trainer.data_collator

    def count(examples: list[dict[str, Any]]) -> Any:
        nonlocal seen
        seen += sum(len(example["input_ids"]) for example in examples)
        return collate(examples)

    # Batches are read one step ahead at most; at the last step everything is read.
    trainer.data_collator = count
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (first, before), (last, _) = ends[0], ends[-1]
    return trainer.model, (sum(len(row.tokens) for row in rows) - before) / (last - first), peak


def run_ours(base: Any, dataset: Any, threads: int, folder: Path) -> tuple[Any, float, int]:
    """The same of this program."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from chatbot.admin.training.config import TrainingConfig
    from chatbot.admin.training.events import Event, Step
    from chatbot.admin.training.job import settle
    from chatbot.admin.training.run import run_job
    from chatbot.files import make_private_folder

    ends: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, Step):
            ends.append(time.perf_counter())

    config = TrainingConfig(
        rank=RANK, learning_rate=RATE, epochs=1, warmup=0, checkpoint_every=10_000, patience=0, threads=threads
    )
    make_private_folder(folder / "run")
    outcome = run_job(settle(config, dataset, base, None), folder / "run", folder / "adapter", watch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    plain = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    rate = outcome.tokens * (len(ends) - 1) / len(ends) / (ends[-1] - ends[0])
    return PeftModel.from_pretrained(plain, outcome.adapter), rate, peak


def run_child(which: str, folder: Path, data: Path, rows: int, threads: int) -> None:
    from chatbot.admin.training.rows import read_sft_rows

    base, dataset = build(folder, data, rows)
    template = base.load_template()
    train_rows, test_rows = (read_sft_rows(template, dataset.read(split)) for split in ("train", "test"))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        if which == "trl":
            model, rate, peak = run_peer(base, train_rows, threads, Path(place))
        else:
            model, rate, peak = run_ours(base, dataset, threads, Path(place))
        loss = measure_loss(model, test_rows)
    (folder / "result.json").write_text(json.dumps([rate, peak, loss]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--child", choices=["trl", "chatbot"])
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.rows < 24:
        parser.error("--rows below 24 leave the peer, which takes 8 a step, no two steps to measure between")
    if arguments.child:
        run_child(arguments.child, arguments.folder, arguments.data, arguments.rows, arguments.threads)
        return
    found: dict[str, list[tuple[float, float, float]]] = {"trl": [], "chatbot": []}
    with tempfile.TemporaryDirectory(prefix="chatbot-bench-") as place:
        build(Path(place), arguments.data, arguments.rows)
        for number in range(arguments.rounds):
            for name, results in found.items():
                command = [sys.executable, __file__, "--child", name, "--folder", place]
                for option in ("rows", "threads", "data"):
                    command += [f"--{option}", str(getattr(arguments, option))]
                subprocess.run(
                    command,
                    check=True,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"},
                )
                rate, peak, loss = json.loads((Path(place) / "result.json").read_text())
                results.append((rate, peak, loss))
                print(f"{number + 1} {name:8} {rate:7.1f} tokens/s  {peak / 1e9:5.2f} GB  loss {loss:.4f}", flush=True)
    middle = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    ours, theirs = middle["chatbot"], middle["trl"]
    print(
        f"median: {ours[0] / theirs[0]:.2f} times the tokens a second, {ours[1] / theirs[1]:.2f} of the memory, "
        f"loss {ours[2]:.4f} beside {theirs[2]:.4f}"
    )


if __name__ == "__main__":
    main()
