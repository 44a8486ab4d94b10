"""What the commands of `chatbot admin` open: the store, as those of `chatbot logs` do, and the base model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatbot.cli.logs.finding import Log
    from chatbot.models.library import ModelFolder
    from chatbot.models.template import ChatTemplate


def let_threads_sleep() -> None:
    """Has torch's threads sleep while they wait for each other, as in the engine: beside another busy process, spinning
    ones cost ten times the time. To be called before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def open_base(log: Log, name: str = "") -> tuple[ModelFolder, ChatTemplate]:
    """The base model `name`, or that of the settings, with its template. Raises ModelNotFound, ModelDamaged."""
    from chatbot.models.library import ModelLibrary

    model = ModelLibrary(log.home.models).find(name or log.settings.model)
    return model, model.load_template()
