from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatbot.cli.main import app
from chatbot.config import Home, Settings
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import ChatbotError, EngineUnavailable, InvalidInput, ModelNotFound, NotFound
from chatbot.store.database import Store
from chatbot.store.records import Message

Serve = Callable[..., ScriptedEngine]
runner = CliRunner()


def ask(*arguments: str, stdin: bytes | str | None = None) -> str:
    """Standard output of `chatbot ask`; raises what the command line would print."""
    result = runner.invoke(app, ["ask", *arguments], input=stdin)
    if isinstance(result.exception, ChatbotError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def read_history(home: Home) -> list[Message]:
    """The newest conversation's branch."""
    with Store.open(home.database_url(Settings())) as store:
        latest = store.conversations.latest()
        return store.messages.transcript(latest.id, before=None, limit=99) if latest else []


def test_a_turn_is_printed_and_kept(home: Home, serve_script: Serve) -> None:
    engine = serve_script([["Because ", "it ", "scatters."], ["Short."]])
    assert ask("Why", "blue?") == "Because it scatters.\n"
    assert ask("--continue", "Shorter.") == "Short.\n"
    kept = [(message.role, message.content) for message in read_history(home)]
    assert kept == [
        ("user", "Why blue?"),
        ("assistant", "Because it scatters."),
        ("user", "Shorter."),
        ("assistant", "Short."),
    ]
    said = [message.content for message in engine.requests[1].messages]
    assert said[1:] == ["Why blue?", "Because it scatters.", "Shorter."]


def test_a_conversation_is_found_by_the_beginning_of_its_id(home: Home, serve_script: Serve) -> None:
    serve_script([["one"], ["two"], ["three"]])
    first = json.loads(ask("--json", "first"))["conversation"]
    second = json.loads(ask("--json", "second"))["conversation"]
    length = next(place for place in range(len(first)) if first[place] != second[place]) + 1
    assert json.loads(ask("--json", "-c", first[:length], "more"))["conversation"] == first
    with pytest.raises(InvalidInput, match="begin"):
        ask("-c", first[: length - 1], "more")
    with pytest.raises(NotFound):
        ask("-c", "ffffffff", "more")


def test_json_tells_everything_a_script_needs(home: Home, serve_script: Serve) -> None:
    engine = serve_script([["a\x1b]0;x\x07"]])
    told = json.loads(
        ask("--json", "--temperature", "0", "--seed", "7", "--max-tokens", "5", "--persona", "concise", "?")
    )
    assert told["text"] == "a\x1b]0;x\x07"
    assert (told["status"], told["finish_reason"], told["model"], told["seed"]) == ("complete", "stop", "scripted", 7)
    sampling = engine.requests[0].sampling
    assert (sampling.temperature, sampling.seed, sampling.max_tokens) == (0.0, 7, 5)


def test_control_characters_do_not_reach_standard_output(home: Home, serve_script: Serve) -> None:
    serve_script([["\x1b]52;c;aGk=\x07", "\x9b2J", "\u202ereversed"]])
    out = ask("?")
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "\u202e" not in out
    assert "reversed" in out


def test_no_log_keeps_nothing(home: Home, serve_script: Serve) -> None:
    serve_script([["secret reply"]])
    assert ask("--no-log", "secret prompt") == "secret reply\n"
    for path in home.data.rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes(), path
    assert runner.invoke(app, ["ask", "--no-log", "--continue", "x"]).exit_code == 2


def test_standard_input_is_the_prompt_or_a_part_of_it(home: Home, serve_script: Serve) -> None:
    engine = serve_script([["ok"]])
    ask(stdin="from a pipe\n")
    ask("Explain:", "-", stdin="naïve 中文\n")
    prompts = [request.messages[-1].content for request in engine.requests]
    assert prompts == ["from a pipe", "Explain:\n\nnaïve 中文"]


def test_input_that_cannot_be_used(home: Home, serve_script: Serve) -> None:
    engine = serve_script([["ok"]])
    with pytest.raises(InvalidInput, match=r"not UTF-8: byte 6 \(line 2\) is 0xff"):
        ask(stdin=b"first\n\xff")
    for empty in ("", "  \n "):
        with pytest.raises(InvalidInput):
            ask(stdin=empty)
    with pytest.raises(NotFound, match="nobody"):
        ask("--persona", "nobody", "x")
    assert engine.requests == []


def test_a_prompt_of_a_megabyte_is_refused_at_once_and_kept(home: Home, serve_script: Serve) -> None:
    serve_script([["ok"]])
    text = "word " * 200_000
    started = time.monotonic()
    with pytest.raises(ChatbotError, match="window"):
        ask(stdin=text)
    assert time.monotonic() - started < 5
    assert read_history(home)[0].content == text.strip("\n")


def test_errors_have_their_exit_codes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_ENGINE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(EngineUnavailable):
        ask("hello")
    assert read_history(home)[0].content == "hello"
    monkeypatch.delenv("CHATBOT_ENGINE_URL")
    with pytest.raises(ModelNotFound, match="smollm2-135m-instruct"):
        ask("hello")
    run = subprocess.run([sys.executable, "-m", "chatbot", "ask", "hello"], capture_output=True, text=True, check=False)
    assert run.returncode == ModelNotFound.exit_code
    assert run.stderr.startswith("chatbot: There is no model")
    assert run.stderr.count("\n") == 1
    assert "models pull" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_partial_reply(home: Home, serve_script: Serve, number: signal.Signals) -> None:
    engine = serve_script([["word "] * 1000], delay=0.02)
    process = subprocess.Popen(
        [sys.executable, "-m", "chatbot", "ask", "talk"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    heard = process.stdout.read(25)
    process.send_signal(number)
    rest, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "kept in conversation" in said
    reply = read_history(home)[-1]
    assert reply.status == "stopped"
    assert reply.content.strip() == (heard + rest).strip()
    wait_until_closed(engine)


def test_a_reader_that_leaves_stops_the_reply(home: Home, serve_script: Serve) -> None:
    engine = serve_script([["word\n"] * 1000], delay=0.01)
    command = f"{sys.executable} -m chatbot ask talk | head -n 2"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    assert (run.stdout, run.stderr) == ("word\nword\n", "")
    wait_until_closed(engine)
    assert read_history(home)[-1].status == "stopped"


def wait_until_closed(engine: ScriptedEngine) -> None:
    end = time.monotonic() + 10
    while not engine.closed_early:
        assert time.monotonic() < end, "the reply went on without a reader"
        time.sleep(0.02)


@pytest.mark.model
def test_the_real_model_answers_the_same_for_the_same_seed(model_home: Home, tmp_path: Path) -> None:
    environment = {**os.environ, "CHATBOT_ENGINE_IDLE_MINUTES": "0.5"}
    command = [sys.executable, "-m", "chatbot", "ask", "--json", "--max-tokens", "24", "--seed", "11", "Name a river."]
    replies = [
        json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    assert replies[0]["text"] == replies[1]["text"] != ""
    assert replies[1]["cached_tokens"] > 0
    assert replies[0]["model"] == "smollm2-135m-instruct"


@pytest.mark.parametrize("arguments", [["-t", "inf"], ["-t", "200"], ["--seed", "9" * 30], ["--max-tokens", "9" * 12]])
def test_a_number_out_of_bounds_is_refused_before_anything_is_written(
    home: Home, serve_script: Serve, arguments: list[str]
) -> None:
    engine = serve_script([["ok"]])
    with pytest.raises(InvalidInput, match="must be between"):
        ask(*arguments, "x")
    assert engine.requests == []
    assert not home.data.exists()


@pytest.mark.parametrize(
    ("redirection", "said"),
    [(">/dev/full", "cannot be written"), (">&-", "no standard output"), ("<&-", "no standard")],
)
def test_standard_streams_that_cannot_be_used(home: Home, serve_script: Serve, redirection: str, said: str) -> None:
    serve_script([["a reply"]])
    prompt = "" if "<" in redirection else "hello"
    command = f"{sys.executable} -m chatbot ask {prompt} {redirection}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    assert run.returncode in {1, InvalidInput.exit_code}
    assert said in run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
