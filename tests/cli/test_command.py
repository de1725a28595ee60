"""What a user types: help, version, completion, and one sentence for every mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import __version__
from edge.cli import app
from edge.cli.main import COMMANDS
from edge.cli.output import track
from edge.errors import MissingExtraError, PictureError
from edge.installing import extra
from tests.helpers.command import bear_alarm, own_logging

ROOT = Path(__file__).parents[2]


def sentence(*words: object, **environment: Any) -> str:
    """The one line on stderr of a command that exits with 2."""
    ran = bear_alarm(*words, **environment)
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    lines = ran.stderr.splitlines()
    assert len(lines) == 1, ran.stderr
    assert lines[0].startswith("bear-alarm: ")
    return lines[0]


def test_help_names_every_command_and_version_the_version():
    ran = bear_alarm("--help")
    assert ran.returncode == 0
    assert all(name in ran.stdout for name in COMMANDS)
    assert bear_alarm("-h").stdout == ran.stdout
    assert bear_alarm("--version").stdout == f"bear-alarm {__version__}\n"
    assert bear_alarm().returncode == 2


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys\nfrom edge.cli.main import main\n"
        f"sys.argv = ['bear-alarm', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'cv2', 'numpy', 'onnxruntime', 'torch', 'fastai', 'typer', 'rich', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["classify", "model", "schema"])
def test_every_command_has_a_page(name):
    ran = bear_alarm(name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert f"bear-alarm {name}" in ran.stdout


def test_a_misspelt_command_suggests_the_right_one():
    assert "no command 'clasify', did you mean 'classify'" in sentence("clasify")
    assert "no command 'zzz'" in sentence("zzz")


def test_mistakes_are_one_sentence_each(tmp_path):
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:-200])
    (tmp_path / "zero.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "empty").mkdir()
    good = tmp_path / "good.jpg"
    good.write_bytes(whole)
    assert "no such picture or folder" in sentence("classify", tmp_path / "gone")
    assert "empty of pictures" in sentence("classify", tmp_path / "empty")
    assert "0 bytes" in sentence("classify", good, "--model", tmp_path / "zero.onnx")
    text = sentence("model", "check", tmp_path / "text.onnx")
    assert "not an ONNX model" in text
    assert "ONNXRuntimeError" not in text
    assert "no such model file" in sentence("model", "show", tmp_path / "gone.onnx")
    assert "name one model file" in sentence("model", "use")
    assert "$BEAR_ALARM_MODEL" in sentence("model", "check", BEAR_ALARM_MODEL=str(tmp_path / "gone.onnx"))
    assert "No such option" in sentence("classify", good, "--frobnicate")
    assert "'foo' is not one of" in sentence("schema", "foo")
    assert "'--limit': " in sentence("events", "--limit", "-3")
    assert "'--fps': it must be a valid number; see" in sentence("classify", good, "--fps", "often")
    assert "No such command 'sho'" in sentence("events", "sho")
    assert "Missing argument" in sentence("events", "show")
    assert "give pictures, folders or a table" in sentence("classify")
    assert "Choose from: event, card, config; see" in sentence("schema")  # click puts it on three lines


def test_a_path_of_a_user_that_does_not_exist_is_a_mistake():
    assert "no such user" in sentence("config", "check", "~nobody-here/bear-alarm.yml")


def test_a_truncated_picture_alone_is_a_mistake(tmp_path):
    from tests.helpers.tiny import tiny_card, write_tiny_model

    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    whole = cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:-40])
    ran = bear_alarm("classify", tmp_path / "cut.jpg", "--jsonl", "--model", model)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "cut.jpg: truncated JPEG" in ran.stderr


@pytest.mark.parametrize("what", ["event", "card"])
def test_schema_prints_a_json_schema(what):
    schema = json.loads(bear_alarm("schema", what).stdout)
    assert schema["type"] == "object"
    assert {"event": "captured_at", "card": "thresholds"}[what] in schema["required"]


def test_completion_knows_commands_options_and_its_own_script():
    def complete(words: str) -> list[str]:
        ran = bear_alarm(
            _BEAR_ALARM_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
        )
        return ran.stdout.split()

    assert complete("bear-alarm s") == [name for name in COMMANDS if name.startswith("s")]
    assert "--version" in complete("bear-alarm --")
    assert complete("bear-alarm schema e") == ["event"]
    assert "check" in complete("bear-alarm model ")
    # Without this typer asks the process tree for the shell, and `make` runs its lines in sh.
    named = bear_alarm("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_BEAR_ALARM_COMPLETE=complete_bash" in named.stdout


class Outcome:
    """Runs ``app.run`` over a command that raises, and keeps what came of it."""

    def __init__(self, monkeypatch, capsys, error: BaseException, **environment: str) -> None:
        def broken() -> None:
            raise error

        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(app, "load", lambda name: app.as_command(name, broken))
        with pytest.raises(SystemExit) as left:
            app.run(["schema"])
        app.root.__dict__.pop("commands", None)
        self.code = left.value.code
        self.words = capsys.readouterr().err


@own_logging()  # the command sets logging up for the whole process
def test_errors_become_exit_codes(monkeypatch, capsys):
    monkeypatch.delenv(app.DEBUG, raising=False)
    ours = Outcome(monkeypatch, capsys, ZeroDivisionError("oops"))
    assert ours.code == 1
    assert ours.words.count("\n") == 1
    assert "ZeroDivisionError: oops" in ours.words
    assert f"{app.DEBUG}=1" in ours.words
    theirs = Outcome(monkeypatch, capsys, PictureError("x.jpg: broken"))
    assert (theirs.code, theirs.words) == (2, "bear-alarm: x.jpg: broken\n")
    stopped = Outcome(monkeypatch, capsys, KeyboardInterrupt())
    assert (stopped.code, stopped.words) == (130, "")
    missing = Outcome(monkeypatch, capsys, ModuleNotFoundError("no torch", name="torch.nn"))
    assert missing.code == 2
    assert "needs torch" in missing.words
    assert extra("train") in missing.words
    assert Outcome(monkeypatch, capsys, ModuleNotFoundError("no edgy", name="edgy")).code == 1
    assert "Traceback" in Outcome(monkeypatch, capsys, ZeroDivisionError("oops"), BEAR_ALARM_DEBUG="1").words


def test_completion_never_puts_words_between():
    asked: dict[str, Any] = {
        "_BEAR_ALARM_COMPLETE": "complete_bash",
        "COMP_WORDS": "bear-alarm train --",
        "COMP_CWORD": "2",
    }
    assert (bear_alarm(**asked).returncode, bear_alarm(**asked).stderr) == (0, "")


def test_a_room_that_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    with pytest.raises(MissingExtraError, match=re.escape(extra("train"))):
        app.load("train")


class Terminal:
    """A stderr that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_progress_shows_only_on_a_terminal_and_after_two_seconds(monkeypatch, capsys):
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    terminal, clock = Terminal(), iter([0.0, *[1.0] * 3, *[3.0] * 100])
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert terminal.text == ""
    monkeypatch.setattr("edge.cli.output.time.monotonic", lambda: next(clock))
    for number in track(iter(range(6)), "counting", total=6):
        print(f"line {number}")
    assert "counting" in terminal.text
    # stdout is no terminal here: its lines stay there, whole and in order, while the bar shows on stderr.
    assert capsys.readouterr().out == "".join(f"line {number}\n" for number in range(6))
