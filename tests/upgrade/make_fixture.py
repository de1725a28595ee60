"""Make ``made_by_0.1.0.tar.xz``: what a user of version 0.1.0 has on the disk when the update comes.

    git worktree add --detach ../old 6ecc3f9
    python tests/upgrade/make_fixture.py ../old

Everything is made by the code of that checkout, in /tmp/bear (a path that names no machine), in this order:

1. ``pictures``, painted; ``run``: trained on them for one epoch, a network of timm's for tests. Its weights are rounded
   to 1/64 afterwards, so that they pack well, and the run's digest of ``learner.pkl`` is that of the new file.
2. ``bear.onnx``: exported from that run.
3. ``state``: a watch of the second half of the demo clip, halved in size, to its end; a receiver takes what its webhook
   posts, the MQTT broker and the notified are away. Then a second watch, the receiver away too, killed (SIGKILL) while
   its bear is there. Each believes in the same made-up boot of the machine.
4. ``bear-alarm.service``: the unit for a program in /opt/bear-alarm.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
WORK = Path("/tmp/bear")
SECRETS = {
    "YARD": "clip.mp4", "CAMERA_PASSWORD": "honey", "MQTT_PASSWORD": "honey", "HOOK": "hook", "HOOK_SECRET": "honey",
}  # fmt: skip
PAINT = """
from pathlib import Path
from train.notebooks import practice
practice.CAMERAS, practice.EACH = 5, 2
practice.practice_pictures(Path("pictures"))
recipe = {"backbone": "test_convnext", "pretrained": False, "freeze_epochs": 0, "epochs": 1, "per_epoch": 64,
          "size": 64, "old_head_kept": 0.0, "distill": 0.0, "body_kept": 0.0}
import json
Path("recipe.json").write_text(json.dumps(recipe))
"""
ROUND = """
import json
from pathlib import Path
from fastai.learner import load_learner
from edge.detect.classifier import file_digest
file, settings = Path("run/learner.pkl"), Path("run/settings.json")
learn = load_learner(file)
for values in learn.model.state_dict().values():
    if values.is_floating_point():
        values.copy_((values * 64).round() / 64)
learn.path = Path("run")
learn.export(file.name)
told = json.loads(settings.read_text()) | {"learner_sha256": file_digest(file)}
settings.write_text(json.dumps(told, indent=1) + "\\n")
"""
CLIP = """
import cv2, edge.demo
from pathlib import Path
demo = cv2.VideoCapture(str(Path(edge.demo.__file__).with_name("demo.mp4")))
out = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 360))
for index in range(320):
    more, picture = demo.read()
    if more and index >= 80:
        out.write(cv2.resize(picture, (640, 360), interpolation=cv2.INTER_AREA))
out.release()
"""
WATCH = """
import sys
from pathlib import Path
import edge.record.journal as disk
disk.MACHINE_BOOT = Path("boot_id")
from edge.cli.main import main
sys.argv = ["bear-alarm", "watch", "--config", "bear-alarm.yml"]
main()
"""
UNIT = """
from pathlib import Path
from edge.device.systemd import Plan, unit
config = Path("/etc/bear-alarm/config.yml")
plan = Plan(("/opt/bear-alarm/bin/bear-alarm",), config, ("video", "gpio", "audio"))
Path("bear-alarm.service").write_text(unit(plan))
"""


def old(*words: str) -> subprocess.Popen[bytes]:
    """Start Python in the work folder with the old code."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    env |= SECRETS | {"PYTHONPATH": str(WORK / "code")}
    return subprocess.Popen([sys.executable, *words], cwd=WORK, env=env)


def done(*words: str) -> None:
    """Run it to its end."""
    assert old(*words).wait() == 0, words


def told() -> list[str]:
    """Return what the watch has written of bears: new, update, end."""
    file = WORK / "events.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [event["type"] for event in map(json.loads, lines) if event["kind"] == "bear"]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes everything that is posted."""

    def do_POST(self) -> None:
        """Answer 200."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()


def watch() -> None:
    """One finished event, told to the webhook; and one that is open and told to nobody."""
    (WORK / "boot_id").write_text("00000000-0000-4000-8000-000000000001\n")
    shutil.copy(HERE / "bear-alarm.yml", WORK)
    done("-c", CLIP)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 18080), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done("-c", WATCH)
        server.shutdown()
    finished = told()
    assert finished[-1] == "end", finished
    alarm = old("-c", WATCH)
    while len(told()) == len(finished):
        assert alarm.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)  # its picture is being written
    os.kill(alarm.pid, signal.SIGKILL)
    alarm.wait()
    assert "end" not in told()[len(finished) :]


def main() -> None:
    """Make all of it, and pack it."""
    checkout = Path(sys.argv[1])
    shutil.rmtree(WORK, ignore_errors=True)
    for room in ("edge", "train", "export"):  # a pickle holds the path of its code
        shutil.copytree(checkout / room, WORK / "code" / room)
    done("-c", PAINT)
    done("-m", "edge", "train", "pictures", "--recipe", "recipe.json", "--out", "run")
    done("-c", ROUND)
    done("-m", "edge", "export", "run", "--out", "bear.onnx", "--precision", "fp32", "--force")
    watch()
    done("-c", UNIT)
    shutil.copy(HERE / "every-setting.yml", WORK)
    (WORK / "run" / "top-losses.png").unlink()  # large, and nothing reads it
    kept = (
        "bear-alarm.yml", "every-setting.yml", "pictures", "run", "bear.onnx", "state", "events.jsonl", "trace.bin",
        "bear-alarm.service",
    )  # fmt: skip
    with tarfile.open(HERE / "made_by_0.1.0.tar.xz", "w:xz", preset=9) as tar:
        for name in kept:
            tar.add(WORK / name, name, filter=_nobody)


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
