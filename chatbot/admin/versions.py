"""From a model on disk to its row: what is measured, promoted and gone back to is the very content that the row names.

A name is not enough. Base models may be fetched anew with other weights under the same name, which makes a new version;
an adapter's name never gets other weights, so one that differs was exchanged by hand.
"""

from __future__ import annotations

from chatbot.errors import ModelDamaged
from chatbot.models.library import ModelFolder
from chatbot.store.database import Store
from chatbot.store.model_versions import ModelVersion


def find_version(store: Store, folder: ModelFolder) -> ModelVersion:
    """The row of what lies in `folder`; a base model gets one at its first use. Raises NotFound if the adapter was not
    trained here, ModelDamaged if it is another than the one that was."""
    if folder.kind == "base":
        identifier = store.model_versions.find_or_add_base(
            folder.name, sha256=folder.sha256, template_sha=folder.template_sha, path=str(folder.path)
        )
        return store.model_versions.get(identifier)
    version = store.model_versions.find(folder.name)
    if version.sha256 != folder.sha256:
        raise ModelDamaged(
            f"{folder.path} is not the {folder.name} that was trained: its sha256 is {folder.sha256[:12]}… instead of "
            f"{version.sha256[:12]}….",
            hint="Put the right one back, or train another.",
        )
    return version
