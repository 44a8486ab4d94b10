"""One of several processes that pretrain together: `torchrun … -m tests.admin.pretraining.shared_process FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from chatbot.admin.pretraining.run import join_processes
from tests.admin.pretraining.texts import make_config, make_loop


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with join_processes("cpu"):
        assert make_loop(make_config(pass_rows=1), folder).run(None, checkpoint_every=100) == "finished"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
