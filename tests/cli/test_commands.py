"""The small commands: config, doctor, db, version, and what the command line does with errors."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from chatbot.cli.main import app
from chatbot.config import Home

runner = CliRunner()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "chatbot", *arguments], capture_output=True, text=True, check=False)


def test_config_tells_each_value_and_its_source(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.config.mkdir(parents=True)
    home.config_file.write_text('model = "other"\n[engine]\ntoken = "secret"\n[terminal.keys]\nquit = "f10"\n')
    monkeypatch.setenv("CHATBOT_ENGINE_IDLE_MINUTES", "5")
    shown = json.loads(runner.invoke(app, ["config", "show", "--json"]).stdout)
    assert shown["model"] == {"value": "other", "source": "config.toml", "help": shown["model"]["help"]}
    assert (shown["engine.idle_minutes"]["value"], shown["engine.idle_minutes"]["source"]) == (
        5.0,
        "CHATBOT_ENGINE_IDLE_MINUTES",
    )
    assert shown["terminal.keys"]["value"] == {"quit": "f10"}
    assert shown["persona"]["source"] == "default"
    assert all(entry["help"] for entry in shown.values())
    assert "secret" not in runner.invoke(app, ["config", "show"]).stdout
    assert runner.invoke(app, ["config", "path"]).stdout.strip() == str(home.config_file)


def test_an_unreadable_config_is_one_line_with_the_place(home: Home) -> None:
    home.config.mkdir(parents=True)
    home.config_file.write_text('model = "x"\n\nmodel: y\n')
    for command in (["ask", "hi"], ["config", "show"], []):
        done = run(*command)
        assert done.returncode == 3, command
        assert done.stderr.count("\n") == 1
        assert "config.toml" in done.stderr
        assert "line 3" in done.stderr


def test_the_chat_without_a_terminal_says_what_to_do(home: Home) -> None:
    done = run()
    assert done.returncode == 1
    assert done.stderr.startswith("chatbot: The chat needs a terminal.")
    assert "chatbot ask" in done.stderr


def test_doctor_finds_what_is_missing(home: Home) -> None:
    done = runner.invoke(app, ["doctor", "--json"])
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert findings["model"]["status"] == "failed"
    assert "models pull" in findings["model"]["advice"]
    assert findings["database"]["status"] == "ok"
    assert {"versions", "settings", "device", "personas", "engine", "disk"} <= set(findings)


def test_doctor_names_a_damaged_database(home: Home) -> None:
    home.data.mkdir(parents=True)
    (home.data / "chatbot.db").write_bytes(b"this is no database" * 100)
    done = runner.invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "chatbot.db" in done.stdout
    assert "✗ database" in done.stdout


@pytest.mark.model
def test_doctor_is_content_with_a_whole_installation(model_home: Home) -> None:
    done = runner.invoke(app, ["doctor"])
    assert done.exit_code == 0, done.stdout
    assert "every file as its manifest says" in done.stdout


def test_version() -> None:
    from chatbot import __version__

    assert runner.invoke(app, ["--version"]).stdout.strip() == f"chatbot {__version__}"


def test_doctor_fails_if_the_server_cannot_be_reached(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_ENGINE_URL", "http://bob:hunter2@127.0.0.1:9/v1")
    done = runner.invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "✗ engine" in done.stdout
    assert "hunter2" not in done.stdout + runner.invoke(app, ["config", "show"]).stdout


def test_doctor_makes_nothing(home: Home) -> None:
    runner.invoke(app, ["doctor"])
    assert not home.data.exists()


def test_doctor_tells_of_keys_and_themes_that_do_not_exist(home: Home) -> None:
    home.config.mkdir(parents=True)
    home.config_file.write_text('[terminal]\ntheme = "neon"\n[terminal.keys]\nfly = "f9"\n')
    done = runner.invoke(app, ["doctor", "--json"])
    finding = next(finding for finding in json.loads(done.stdout) if finding["name"] == "terminal")
    assert finding["status"] == "warning"
    assert "neon" in finding["detail"]
    assert "fly" in finding["detail"]


def test_serving_a_model_that_is_not_there_is_told_at_once(home: Home) -> None:
    done = run("serve", "--port", "0", "--model", "nosuch")
    assert done.returncode == 6
    assert "nosuch" in done.stderr
