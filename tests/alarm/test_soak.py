"""The frames of an hour through the whole alarm, as fast as it goes; tests/proofs/prove_soak.py does a week."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.command import ROOT
from tests.proofs.prove_soak import MAX_GROWTH_MB

# A process of its own: what another test left running would be counted here.
PROGRAM = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from tests.proofs.prove_soak import soak
first, *_, last = soak(Path(sys.argv[1]), 4800, 1600, 2, bear_every_s=240.0)
print(json.dumps([asdict(first), asdict(last)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_frames_of_an_hour_with_bears_leaves_nothing_behind(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, last = json.loads(done.stdout.splitlines()[-1])
    assert last["rss_mb"] - first["rss_mb"] <= MAX_GROWTH_MB, (first, last)
    assert last["handles"] <= first["handles"], (first, last)
    assert last["threads"] <= first["threads"], (first, last)
