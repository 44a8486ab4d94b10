"""A model out of a hub repository: the whole of it, nothing else of it, and no refused byte of it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot.errors import ModelDamaged, ModelNotFound, ModelRefused, SourceUnreachable
from chatbot.models.add import add_model
from chatbot.models.catalogue import HubSource
from chatbot.models.installation import DOWNLOADS, LOCK
from chatbot.models.library import ModelLibrary
from chatbot.models.pull import pull_model
from tests.models.hub_imitation import COMMIT, HubImitation
from tests.models.tiny_models import Notes, build_folder, describe_model

REPOSITORY = "someone/tiny"


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubImitation]:
    with HubImitation(REPOSITORY, build_folder(tmp_path / "repository")).serve() as hub:
        yield hub


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_from_the_hub(hub: HubImitation, library: ModelLibrary) -> None:
    hub.extra_names = ["onnx/model.onnx", "../../evil.json", "/etc/evil.json", "pytorch_model.bin", "run.py", ".env"]
    hub.extra_names += ["consolidated.safetensors", "README.md"]
    digest = hashlib.sha256((hub.folder / "model.safetensors").read_bytes()).hexdigest()
    catalogue = describe_model(HubSource(repository=REPOSITORY, revision="main", files={"model.safetensors": digest}))
    notes = Notes()
    model = pull_model(library, "tiny", catalogue=catalogue, reporter=notes, endpoint=hub.endpoint)
    assert (model.manifest.source, model.manifest.revision) == (f"hub:{REPOSITORY}", COMMIT)
    assert model.manifest.licence == "mit"
    library.verify("tiny")
    settings = json.loads((model.path / "generation_config.json").read_text())
    assert (settings["temperature"], settings["top_p"], settings["do_sample"]) == (0.2, 0.9, True)
    assert settings["eos_token_id"] == 2
    assert not [request for request in hub.requests if "evil" in request or ".bin" in request or "onnx" in request]
    assert [title for title, _ in notes.steps] == ["Downloading", "Checking", "Checking"]
    assert list_names(library.folder / DOWNLOADS) == []

    before = len(hub.requests)
    again = Notes()
    assert pull_model(library, "tiny", catalogue=catalogue, reporter=again, endpoint=hub.endpoint) == model
    assert len(hub.requests) == before
    assert again.steps == []
    pull_model(library, "tiny", catalogue=catalogue, force=True, endpoint=hub.endpoint)
    assert len(hub.requests) > before


def test_a_hub_id_can_be_added(hub: HubImitation, library: ModelLibrary) -> None:
    model = add_model(library, REPOSITORY, endpoint=hub.endpoint)
    assert (model.name, model.manifest.licence, model.manifest.revision) == ("tiny", "mit", COMMIT)
    with pytest.raises(ModelNotFound, match="no revision"):
        add_model(library, REPOSITORY, revision="v9", name="other", endpoint=hub.endpoint)
    with pytest.raises(ModelNotFound, match="no repository"):
        add_model(library, "someone/else", endpoint=hub.endpoint)


def test_a_repository_with_code_is_refused_before_the_weights(hub: HubImitation, library: ModelLibrary) -> None:
    config = json.loads((hub.folder / "config.json").read_text())
    (hub.folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ModelRefused, match=r"evil\.Model"):
        add_model(library, REPOSITORY, endpoint=hub.endpoint)
    assert not [request for request in hub.requests if "model.safetensors" in request]


def test_a_broken_download_goes_on_where_it_stopped(hub: HubImitation, library: ModelLibrary) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    weights = hub.folder / "model.safetensors"  # larger, because the client writes blocks of 10 MB
    save_file(load_file(weights) | {"ballast": np.zeros(6_000_000, np.float32)}, weights, {"format": "pt"})
    hub.weights_end_at = 15_000_000
    catalogue = describe_model(HubSource(repository=REPOSITORY))
    with pytest.raises(SourceUnreachable, match="broke off"):
        pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    assert library.list() == []
    assert list_names(library.folder) == [DOWNLOADS, LOCK]

    retries = [request for request in hub.requests if "bytes=10485760-" in request]
    assert retries  # the client itself went on where the connection broke

    killed = library.folder / DOWNLOADS / "tiny" / ".cache" / "huggingface" / "download" / "x.incomplete"
    killed.write_bytes(b"left by a killed process")
    hub.weights_end_at = 0
    hub.requests.clear()
    pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    library.verify("tiny")
    fetched = [request for request in hub.requests if request.startswith("GET") and "/resolve/" in request]
    assert len(fetched) == 1  # only the weights: what had come whole is kept
    assert "model.safetensors" in fetched[0]
    assert list_names(library.folder / DOWNLOADS) == []


def test_a_file_that_is_not_the_catalogues_is_refused(hub: HubImitation, library: ModelLibrary) -> None:
    catalogue = describe_model(HubSource(repository=REPOSITORY, files={"model.safetensors": "0" * 64}))
    with pytest.raises(ModelDamaged, match="not the file that the catalogue names"):
        pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    assert library.list() == []


def test_the_process_that_waited_takes_what_the_other_fetched(hub: HubImitation, library: ModelLibrary) -> None:
    catalogue = describe_model(HubSource(repository=REPOSITORY))
    outcomes: list[object] = []

    def pull() -> None:
        outcomes.append(pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint).sha256)

    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(outcomes) == 3
    assert len(set(outcomes)) == 1
    assert len([request for request in hub.requests if request.startswith("GET /api/models")]) == 1


def test_a_damaged_model_is_fetched_anew(hub: HubImitation, library: ModelLibrary) -> None:
    catalogue = describe_model(HubSource(repository=REPOSITORY))
    model = pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    (model.path / "config.json").unlink()
    with pytest.raises(ModelDamaged):
        library.find("tiny")
    pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    library.verify("tiny")


def test_a_repository_of_pickles_is_refused_before_a_download(hub: HubImitation, library: ModelLibrary) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin"):
        add_model(library, REPOSITORY, endpoint=hub.endpoint)
    assert len(hub.requests) == 1
