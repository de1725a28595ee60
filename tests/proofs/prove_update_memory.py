"""The memory that a new model takes, beside the one in use and on kept pictures.

    python tests/proofs/prove_update_memory.py

Each figure is of a process of its own, the median of five. Memory of its own does not count libraries, which the alarm
has in memory anyway; MB are 10^6 bytes. The pictures are 300 random frames of 720p, of the bundled clip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from edge.detect.classifier import BUNDLED
from edge.update.memory import PROGRAM_MB, need_mb
from tests.helpers.kept_pictures import OTHERS_S, demo_frame
from tests.helpers.review_units import frame

TIMES, PICTURES = 5, 300

SECOND = """
import sys
from pathlib import Path
from edge.update.memory import look_once, own_mb
first = look_once(Path(sys.argv[1]))
before = own_mb()
second = look_once(Path(sys.argv[1]))
print(own_mb() - before)
"""

KEPT = """
import json, sys, threading, time
from pathlib import Path
from edge.device.sensors import pairs
from edge.update.kept import bears, compare, newest

def anonymous():
    return int(pairs(Path("/proc/self/status"))["RssAnon"].removesuffix("kB")) * 1.024e-3

def watch():
    while True:
        seen.append(anonymous())
        time.sleep(0.01)

evidence, *models = map(Path, sys.argv[1:])
begin, seen = anonymous(), [0.0]
threading.Thread(target=watch, daemon=True).start()
if len(models) == 1:
    bears(models[0], newest(evidence), 300, {})
else:
    assert compare(*models, evidence, 300, {}).frames == 300
print(json.dumps([begin, max(seen)]))
"""


def asked(program: str, *words: Path) -> str:
    """Return what a program prints."""
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = name
        other = Path(shutil.copy(BUNDLED, folder / "other.onnx"))
        scenes = [demo_frame(second)[0] for second in OTHERS_S]
        for number in range(PICTURES):
            frame(folder / "evidence", number, scene=scenes[number % len(scenes)])
        need, second, one, both = [], [], [], []
        for _ in range(TIMES):
            need.append(need_mb(BUNDLED, threading.Event()))
            second.append(float(asked(SECOND, BUNDLED)))
            one.append(json.loads(asked(KEPT, folder / "evidence", BUNDLED)))
            both.append(json.loads(asked(KEPT, folder / "evidence", BUNDLED, other)))
    alone, after = (median(peak for _, peak in each) for each in (one, both))
    print("| memory of its own | MB |")
    print("|---|---|")
    print(f"| the new model, as the device measures it | {median(need):.0f} |")
    print(f"| the new model beside the one in use | {median(second):.0f} |")
    print(f"| the process that looks at {PICTURES} kept pictures with one model, at its peak | {alone:.0f} |")
    print(f"| the same with both models, one after the other | {after:.0f} |")
    print(f"| what is to be free for it, beside what stays free | {PROGRAM_MB + median(need):.0f} |")
    if not (median(second) <= median(need) and after <= PROGRAM_MB + median(need) and after - alone < 20.0):
        sys.exit("a new model takes more than is kept free for it")


if __name__ == "__main__":
    main()
