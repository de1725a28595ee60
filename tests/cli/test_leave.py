"""How a command ends when somebody presses Ctrl-C, or when whoever read its output has left."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import app
from edge.cli.main import interrupt

ROOT = Path(__file__).parents[2]

CTRL_C_AT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.meta_path.insert(0, Finder())
sys.argv = ["bear-alarm", "classify", {folder!r}]
from edge.cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("module", ["edge.cli.app", "typer", "edge.cli.classify", "cv2", "onnxruntime"])
def test_ctrl_c_while_it_starts_is_quiet(module, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40, 3), np.uint8))
    code = CTRL_C_AT.format(module=module, folder=str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_lost_in_a_callback_of_the_import_system_ends_it_all_the_same(monkeypatch):
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    callback = compile("interrupt(2, sys._getframe())", "<frozen importlib._bootstrap>", "exec")
    with pytest.raises(KeyboardInterrupt):
        exec(callback, {"interrupt": interrupt, "sys": sys})
    assert left[0] == 130
    with pytest.raises(KeyboardInterrupt):
        interrupt(2, None)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [("--help", ""), ("classify --help", ""), ("schema event", ""), ("schema event", "1"), ("snapshot demo", "")],
)
def test_a_reader_that_leaves_is_no_error(words, unbuffered, tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "edge", *words.split()]
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        command, cwd=tmp_path, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writer)
    assert ran.returncode == 141
    assert [line for line in ran.stderr.splitlines() if "written:" not in line] == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_words_that_nobody_reads_do_not_stop_the_work(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1, encoding="utf-8", closefd=False) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        app._StderrHandler().handle(logging.makeLogRecord({"msg": "a bear"}))
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what is left in the buffer goes there
    os.close(writer)
