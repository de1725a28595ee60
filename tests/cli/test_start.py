"""The start of ``watch``: what it does without, since each import costs time and memory on a small board."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2

from tests.helpers.command import ROOT
from tests.helpers.tiny import NO_BEAR_COLOUR, plain, tiny_card, write_tiny_model

# For a camera on the wire, no config, no network: none of these is needed before something happens.
NOT_NEEDED = {
    "ssl", "http.client", "urllib.request", "yaml", "edge.config.schema", "edge.device.heartbeat", "av", "paho",
    "apprise", "rich", "edge.alert.delivery", "uvicorn", "starlette", "cryptography", "segno", "gpiozero",
}  # fmt: skip

WATCHED = """
import gc, json, os, sys
import edge.cli.main as command
def report(*words):
    print(json.dumps({"modules": [*sys.modules], "collects": gc.isenabled(), "frozen": gc.get_freeze_count(),
                      "threads": os.environ.get("OPENBLAS_NUM_THREADS")}))
    leave(*words)
leave, command.leave = command.leave, report  # at the end of the run
command.main()
"""


def test_what_is_not_used_is_not_imported_and_modules_are_not_looked_through_again(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        cv2.imwrite(str(pictures / f"{number}.png"), plain(NO_BEAR_COLOUR, 180 + number))
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    words = [
        "watch",
        str(pictures),
        "--model",
        str(model),
        "--state",
        str(tmp_path / "s"),
        "--evidence",
        str(tmp_path / "e"),
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BEAR_ALARM", "OPENBLAS"))}
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED, *words],
        cwd=tmp_path, env=clean | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "3 frames" in ran.stderr
    found = json.loads(ran.stdout)
    assert not NOT_NEEDED & set(found["modules"])
    assert found["collects"]
    assert found["frozen"] > 10_000
    assert found["threads"] == "1"  # of OpenBLAS, which numpy and OpenCV bring
