"""What our own engine can answer with: the models on this disk, each with the window that the settings leave it."""

from __future__ import annotations

from chatbot.config import EngineSettings
from chatbot.engine.protocol import EngineModel
from chatbot.models.library import ModelLibrary


def list_models(library: ModelLibrary, settings: EngineSettings) -> list[EngineModel]:
    """Every whole model of the library. Raises ModelError if the folder cannot be read."""
    folders = library.list()
    return [EngineModel(folder.name, min(folder.context, settings.context or folder.context)) for folder in folders]
