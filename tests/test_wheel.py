"""The wheel carries what a checkout has beside the package, and starts from an empty folder."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_built_wheel_starts_in_an_environment_of_its_own(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "chatbot/data/catalogue.toml" in names
    assert "chatbot/migrations/env.py" in names
    assert not [name for name in names if name.startswith(("tests/", "data/", "migrations/", "benchmarks/"))]

    # The libraries come from this environment; the package itself only from the wheel.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    program = [str(tmp_path / "venv" / "bin" / "python"), "-I", "-c"]
    where = "import chatbot, os; print(os.path.dirname(chatbot.__file__))"
    found = subprocess.run([*program, where], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout.strip() == str(site / "chatbot")
    start = "from chatbot.__main__ import main; import sys; sys.argv = ['chatbot', *{}]; main()"
    run = [*program, start.format(["db", "upgrade", "--json"])]
    subprocess.run(run, check=True, capture_output=True, text=True, cwd=tmp_path)
    listed = subprocess.run(
        [*program, start.format(["models", "list", "--json"])], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert json.loads(listed.stdout) is not None
