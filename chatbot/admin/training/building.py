"""From a job to a trainer that is ready to run: data, model, settings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.data import TrainingData, read_data, read_prompts
from chatbot.admin.training.events import Event
from chatbot.admin.training.job import Job
from chatbot.admin.training.memory import explain_memory
from chatbot.admin.training.processes import PATIENCE, meet_processes
from chatbot.admin.training.samples import make_sampler
from chatbot.admin.training.stopping import StopRequest
from chatbot.errors import LearningError
from chatbot.models.template import ChatTemplate

_SMALLER = "Take a smaller base model; on a GPU --quantize takes a quarter, and --use_fsdp shares it out among several."


def count_steps(config: TrainingConfig, passes: int) -> int:
    """Steps of a run with so many forward passes an epoch: as transformers counts them."""
    return math.ceil(config.epochs * max(1, math.ceil(passes / config.accumulation)))


def build_loop(job: Job, folder: Path, report: Callable[[Event], None], stop: StopRequest, *, first_look: bool) -> Any:
    """A trainer of TRL with our loop in it; with several processes, each builds one.

    `first_look` asks for a look at the held-out part before the first step. Raises LearningError if there is nothing
    to learn or the launcher asks for what cannot be, OutOfMemory, and as `load_base` and `add_adapter`.
    """
    # The hub's client, TRL and accelerate report to their makers unless they are told not to.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from chatbot.admin.training.loading import add_adapter, load_base
    from chatbot.admin.training.progress import Progress
    from chatbot.admin.training.sharding import shard_base, take_sharding_over

    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise LearningError("DeepSpeed is not supported.", hint="Launch with --multi_gpu, or with --use_fsdp.")
    template = job.model.load_template()
    data = read_data(job.config, job.dataset, template)
    steps = count_steps(job.config, data.passes)
    config = job.config.space(steps)
    with take_sharding_over() as sharded:
        if sharded and config.quantize:
            raise LearningError(
                "A base in 4 bits cannot be sharded.", hint="Leave --use_fsdp or --quantize out: either saves memory."
            )
        meet_processes(job.device)
        # The trainer's constructor is what moves the model to a GPU.
        with explain_memory(f"{job.model.name} with its adapter does", _SMALLER):
            base = load_base(job.model, config, dtype=job.dtype, device=job.device)
            model = add_adapter(base, config, job.parent)
            if sharded:
                shard_base(model, job.device)
            loop = _make_trainer(job, config, data, model, template, folder, first_look=first_look)
    prompts = read_prompts(job.dataset, template, config.samples)
    sampler = make_sampler(template, prompts, config.sample_tokens)
    loop.attach(Progress(config, steps, folder, report, stop, sampler, data.describe(config)))
    return loop


def _make_trainer(
    job: Job,
    config: TrainingConfig,
    data: TrainingData,
    model: Any,
    template: ChatTemplate,
    folder: Path,
    *,
    first_look: bool,
) -> Any:
    from datasets import Dataset
    from trl import DPOConfig, KTOConfig, SFTConfig

    looks = bool(next(iter(data.held_out.values()), []))
    arguments = make_arguments(job, config, folder, steps=count_steps(config, data.passes), looks=looks)
    arguments["eval_on_start"] = first_look and looks
    options: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_dict(data.columns),
        "eval_dataset": Dataset.from_dict(data.held_out) if looks else None,
        "processing_class": make_tokenizer(template),
    }
    if config.method == "sft":
        from chatbot.admin.training.sft import SftLoop

        settings = SFTConfig(
            padding_free=True, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **arguments
        )
        return SftLoop(args=settings, **options)
    from chatbot.admin.training.preference import DpoLoop, KtoLoop

    if config.method == "dpo":
        return DpoLoop(args=DPOConfig(beta=config.beta, max_length=None, **arguments), **options)
    wanted, unwanted = balance(data.columns["label"])
    settings = KTOConfig(
        beta=config.beta, max_length=None, desirable_weight=wanted, undesirable_weight=unwanted, **arguments
    )
    return KtoLoop(args=settings, **options)


def balance(labels: list[bool]) -> tuple[float, float]:
    """The weights of good and of bad replies that give both kinds the same say (Ethayarajh et al. 2024, equation 8).

    At most 4, since a handful of thumbs must not be shouted.
    """
    good = max(1, sum(labels))
    bad = max(1, len(labels) - good)
    return max(1.0, min(4.0, bad / good)), max(1.0, min(4.0, good / bad))


def make_arguments(job: Job, config: TrainingConfig, folder: Path, *, steps: int, looks: bool) -> dict[str, Any]:
    """What transformers, accelerate and TRL are told, whatever the method."""
    rows = 1 if config.method == "sft" else config.batch_rows
    warmup = math.ceil(config.warmup * steps)
    return {
        "output_dir": str(folder),
        "use_cpu": job.device == "cpu",
        "bf16": job.device == "cuda" and job.dtype == "bfloat16",
        "fp16": job.device == "cuda" and job.dtype == "float16",
        "per_device_train_batch_size": rows,
        "per_device_eval_batch_size": rows,
        "gradient_accumulation_steps": config.accumulation,
        "gradient_checkpointing": config.recompute,
        "num_train_epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": warmup if warmup > 1 else 0,  # the first step of a warm-up is made with a rate of 0
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip,
        "optim": "adamw_torch",
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "log_level_replica": "error",  # the other processes have nothing to add
        "eval_strategy": "steps" if looks else "no",
        "eval_steps": config.evaluate_every if looks else None,
        "save_strategy": "steps",
        "save_steps": config.checkpoint_every,
        "ddp_timeout": PATIENCE,
        "dataloader_pin_memory": job.device == "cuda",
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
    }


def make_tokenizer(template: ChatTemplate) -> Any:
    """The tokenizer as TRL wants to hold one; nothing is rendered with it. Rows are padded with the end of a turn."""
    from transformers import PreTrainedTokenizerFast

    end = template.tokenizer.id_to_token(min(template.stop_ids, default=0))
    return PreTrainedTokenizerFast(tokenizer_object=template.tokenizer, eos_token=end, pad_token=end)
