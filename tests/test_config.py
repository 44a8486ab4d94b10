from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from chatbot.config import Home, Settings, hide_password, load_settings
from chatbot.errors import ConfigError


def write_config(home: Home, text: str) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    home.config_file.write_text(text)


def test_later_sources_win(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(home).model_dump() == Settings().model_dump()
    write_config(home, 'model = "file"\npersona = "file"\n[engine]\nidle_minutes = 3\ncontext = 7\nthreads = 1\n')
    monkeypatch.setenv("CHATBOT_PERSONA", "variable")
    monkeypatch.setenv("CHATBOT_ENGINE_CONTEXT", "8")
    monkeypatch.setenv("CHATBOT_ENGINE_THREADS", "2")
    settings = load_settings(home, engine={"threads": 3})
    assert (settings.model, settings.persona) == ("file", "variable")
    assert (settings.engine.idle_minutes, settings.engine.context, settings.engine.threads) == (3, 8, 3)


def test_settings_are_frozen(home: Home) -> None:
    with pytest.raises(ValidationError):
        load_settings(home).model = "other"  # type: ignore[misc]  # the assignment is what must fail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = 'x'\n[engine\n", r"config\.toml: .*line 2"),
        ("\n[engine]\nidle_minutes = -1\n", r"config\.toml, line 3: engine\.idle_minutes: .*greater than 0"),
        ("[engine]\n\n\nspeed = 9\n", r"config\.toml, line 4: engine\.speed: there is no such setting"),
        ("[turbo]\nx = 1\n", r"config\.toml, line 1: turbo: there is no such setting"),
        ("engine = 4\n", r"config\.toml, line 1: engine: "),
        ("[terminal.keys]\nquit = 4\n", r"config\.toml, line 2: terminal\.keys\.quit: "),
        ("[terminal]\nkeys.quit = 4\n", r"config\.toml, line 2: terminal\.keys\.quit: "),
    ],
)
def test_a_mistake_in_the_file_names_its_line(home: Home, text: str, said: str) -> None:
    write_config(home, text)
    with pytest.raises(ConfigError, match=said):
        load_settings(home)


def test_a_file_that_is_not_text_names_the_line(home: Home) -> None:
    home.config.mkdir(parents=True)
    home.config_file.write_bytes(b'a = "x"\nb = "\xff"\n')
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        load_settings(home)


def test_a_mistake_in_a_variable_names_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_ENGINE_THREADS", "many")
    with pytest.raises(ConfigError, match=r"CHATBOT_ENGINE_THREADS: .*'many'"):
        load_settings(home)


def test_the_token_is_not_shown(home: Home) -> None:
    settings = load_settings(home, engine={"token": "secret-token"})
    assert "secret-token" not in f"{settings!r} {settings}"


def test_a_long_socket_path_becomes_a_short_one(tmp_path: Path) -> None:
    short = Home(tmp_path, tmp_path, tmp_path, Path("/run/user/1/chatbot"))
    assert short.engine_socket == Path("/run/user/1/chatbot/engine.sock")
    long = Home(tmp_path, tmp_path, tmp_path, tmp_path / ("x" * 120))
    assert len(str(long.engine_socket)) < 100
    assert long.engine_socket == Home(tmp_path, tmp_path, tmp_path, long.runtime).engine_socket


def test_database_url(home: Home) -> None:
    assert home.database_url(Settings()) == f"sqlite:///{home.data}/chatbot.db"
    assert home.database_url(Settings(database="postgresql://x/y")) == "postgresql://x/y"


def test_a_path_is_a_path_whatever_it_means_in_a_url(tmp_path: Path) -> None:
    from chatbot.store.sessions import database_path, parse_url

    for name in ("what?now", "100%25", "a#b", "数据 库"):
        home = Home(tmp_path / name, tmp_path / name, tmp_path, tmp_path)
        assert database_path(parse_url(home.database_url(Settings()))) == tmp_path / name / "chatbot.db"


def test_passwords_in_urls_are_not_shown() -> None:
    assert hide_password("http://bob:hunter2@host:80/v1") == "http://…@host:80/v1"
    assert hide_password("http://host/v1") == "http://host/v1"
    assert hide_password("chatbot.db") == "chatbot.db"
