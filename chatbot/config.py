"""Where things live, and the settings.

Settings are read once, by the command line, and handed in; nothing else reads the environment. Later sources win:
the defaults below, `config.toml`, variables such as `CHATBOT_ENGINE_URL`, flags.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from chatbot.errors import ConfigError

DEFAULT_MODEL = "smollm2-135m-instruct"
_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes on Linux, 104 on macOS


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EngineSettings(_Section):
    url: str = ""
    """An OpenAI-compatible server to use, such as http://127.0.0.1:8000/v1; empty starts our own engine."""
    token: SecretStr = SecretStr("")
    """The bearer token for `url`, and the one `chatbot serve` asks for on a network address."""
    idle_minutes: float = Field(30.0, gt=0)
    """The private engine leaves after this long without a request."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs: auto takes CUDA, then MPS, then the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The weights' number format: auto takes bfloat16 on CUDA, float16 on MPS, float32 on a CPU."""
    threads: int = Field(0, ge=0)
    """Compute threads on a CPU; 0 takes as many as there are physical cores."""
    context: int = Field(0, ge=0)
    """The window in tokens; 0 takes the model's own (for a remote server: what it reports, else 4096)."""
    cached_conversations: int = Field(8, ge=0)
    """How many conversations keep their KV cache, so that a next turn computes only what is new."""


class TerminalSettings(_Section):
    theme: str = "chatbot-dark"
    """chatbot-dark, chatbot-light, chatbot-ansi or any theme of Textual."""
    sidebar: bool = True
    """Whether the list of conversations is shown at the start (it hides itself on narrow terminals)."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Remapped keys: name of the action = keys, as in `regenerate = "ctrl+g,f5"`; the help screen lists the names."""


class ReviewSettings(_Section):
    author: str = ""
    """The name that judgements are signed with; empty takes the login name."""
    wanted: int = Field(200, ge=1)
    """How many approved replies the next training should have; the review says how far it is."""
    names: str = ""
    """A file with names of people that a redaction masks, one a line."""

    @property
    def signature(self) -> str:
        """`author`, or else the login name."""
        if self.author:
            return self.author
        try:
            return getpass.getuser()
        except (OSError, KeyError):  # a process without a user of its own
            return "me"


class Settings(BaseSettings):
    """All settings. Frozen: a change is a new object, made with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="CHATBOT_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    model: str = DEFAULT_MODEL
    """The model that answers, unless a promoted one takes its place."""
    persona: str = "default"
    """The persona of a new conversation."""
    database: str = ""
    """The database: empty for chatbot.db in the data folder, else a path or an SQLAlchemy URL."""
    engine: EngineSettings = EngineSettings()
    terminal: TerminalSettings = TerminalSettings()
    review: ReviewSettings = ReviewSettings()


@dataclass(frozen=True)
class Home:
    """The folders of one installation: the platform's own, or all under CHATBOT_HOME."""

    config: Path
    data: Path
    state: Path
    runtime: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def datasets(self) -> Path:
        return self.data / "datasets"

    @property
    def runs(self) -> Path:
        return self.data / "runs"

    @property
    def corpora(self) -> Path:
        return self.data / "corpora"

    @property
    def tokenizers(self) -> Path:
        return self.data / "tokenizers"

    @property
    def personas(self) -> Path:
        return self.config / "personas"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def engine_socket(self) -> Path:
        """The private engine's Unix socket. A path too long for the kernel is replaced by a short one under the
        temporary folder, named after the long one and this user."""
        path = self.runtime / "engine.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"chatbot-{os.getuid()}-{digest}" / "engine.sock"

    def database_url(self, settings: Settings) -> str:
        """The SQLAlchemy URL of the database."""
        if "://" in settings.database:
            return settings.database
        path = Path(settings.database).expanduser() if settings.database else self.data / "chatbot.db"
        return f"sqlite:///{quote(str(path.absolute()))}"  # a path may hold what means something in a URL


def find_home() -> Home:
    """The folders for this user; nothing is made yet."""
    if root := os.environ.get("CHATBOT_HOME"):
        path = Path(root).expanduser().absolute()
        return Home(config=path, data=path, state=path, runtime=path / "run")
    from platformdirs import PlatformDirs

    folders = PlatformDirs("chatbot", appauthor=False)
    return Home(
        config=folders.user_config_path,
        data=folders.user_data_path,
        state=folders.user_state_path,
        runtime=folders.user_runtime_path if os.environ.get("XDG_RUNTIME_DIR") else folders.user_state_path / "run",
    )


def load_settings(home: Home, **flags: Any) -> Settings:
    """Reads the settings. `flags` are the command line's, by field name, with a dict for a section; they win.

    Raises ConfigError with the file and line, or the variable, that is at fault.
    """
    content = read_config_file(home.config_file)

    class _Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  no .env of a folder one happens to be in
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  nor of a folder of secrets
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, content))

    try:
        return _Layered(**flags)
    except ValidationError as error:
        raise _explain(error, home.config_file, content) from None
    except SettingsError as error:
        raise ConfigError(f"A CHATBOT_* variable cannot be read: {error}.") from None


def hide_password(url: str) -> str:
    """`url` without the user name and password that it may hold: for screens, logs and the database."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return parts._replace(netloc="…@" + parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def read_config_file(path: Path) -> dict[str, Any]:
    """config.toml as it stands, {} if there is none. Raises ConfigError with the line at fault."""
    try:
        text = path.read_bytes().decode("utf-8")
        return tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text.", hint="Save the file as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        hint = 'It is TOML: name = "value" under [sections].'
        raise ConfigError(f"{path}: {error}.", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def _explain(error: ValidationError, path: Path, content: dict[str, Any]) -> ConfigError:
    """The first complaint, with the place a person would look at: the variable if it is set, else the file's line."""
    complaint = error.errors()[0]
    keys = [str(key) for key in complaint["loc"]]
    name = ".".join(keys)
    reason = "there is no such setting" if complaint["type"] == "extra_forbidden" else complaint["msg"]
    variable = "CHATBOT_" + "_".join(keys[:2]).upper()
    if variable in os.environ:
        return ConfigError(f"{variable}: {reason}.", hint=f"It is {os.environ[variable]!r} now.")
    if line := _find_line(path, keys, content):
        return ConfigError(f"{path}, line {line}: {name}: {reason}.", hint="`chatbot config show` lists every setting.")
    return ConfigError(f"{name}: {reason}.", hint="`chatbot config show` lists every setting.")


def _find_line(path: Path, keys: list[str], content: dict[str, Any]) -> int:
    """The line of config.toml that sets `keys`, 0 if the file does not. tomllib keeps no positions, so we look."""
    place: Any = content
    for key in keys[:2]:
        if not isinstance(place, dict) or key not in place:
            return 0
        place = place[key]
    section, line_of_section = "", 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            section = header[1]
            if section == ".".join(keys):
                line_of_section = number
        elif found := re.match(r"""\s*["']?([\w.-]+)["']?\s*=""", line):
            path_of_key = f"{section}.{found[1]}".lstrip(".")
            if path_of_key in {".".join(keys), ".".join(keys[:2]), keys[0]}:
                return number
    return line_of_section
