"""One of several processes of a run: `accelerate launch -m chatbot.admin.training.worker FOLDER TARGET`.

The run's folder has its config.json (see `job`), so that every process trains the same. Only the first writes and
reports; what it reports stands in metrics.jsonl. A run that has checkpoints is resumed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.job import read_job
from chatbot.admin.training.run import is_main_process, run_job
from chatbot.errors import ChatbotError


def main(folder: Path, target: Path) -> int:
    """Trains the run in `folder` into the adapter's folder `target`. Returns the exit status."""
    try:
        resume = find_checkpoint(folder) is not None
        run_job(read_job(folder), folder, target, resume=resume)
    except ChatbotError as error:
        if is_main_process():
            sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
