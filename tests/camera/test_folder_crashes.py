"""A picture over which the whole program dies is begun with three times, and then the others are looked at."""

import subprocess
import sys

from edge.camera.processed_files import MAX_CRASHES, CrashGuard
from edge.camera_thread import open_kept
from edge.settings import Camera
from tests.alarm.test_watch import ROOT
from tests.helpers.sink_world import soon
from tests.helpers.uploads import put

# As `watch --follow` takes pictures; the process dies in the middle of one of a certain shade, as of a broken decoder.
FOLLOWER = """
import os, sys
from pathlib import Path
from edge.camera_thread import open_kept
from edge.camera import processed_files
from edge.settings import Camera
processed_files.WRITE_S, processed_files.DISK_S = 0.0, 30.0  # a busy disk
for frame in open_kept(Camera("inbox", sys.argv[1], follow=True), state=Path(sys.argv[2])):
    print(frame.file, flush=True)
    if frame.file == sys.argv[3]:
        os.kill(os.getpid(), 9)
    if frame.file == "9.jpg":
        os._exit(0)
"""


def follow(inbox, state, poison):
    """The pictures that one process took, and how it ended."""
    words = [sys.executable, "-c", FOLLOWER, str(inbox), str(state), poison]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return ran.stdout.split(), ran.returncode, ran.stderr


def test_a_picture_that_kills_the_process_does_not_kill_it_for_ever_and_no_other_is_lost(tmp_path):
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    inbox.mkdir()
    state.mkdir()
    open_kept(Camera("inbox", str(inbox), follow=True), state=state).close()
    for number in range(10):
        put(inbox / f"{number}.jpg", at=1000 + 100 * number)
    lives = [follow(inbox, state, "4.jpg") for _ in range(MAX_CRASHES + 1)]
    assert [code for _, code, _ in lives] == [-9] * MAX_CRASHES + [0]
    taken = [file for files, _, _ in lives for file in files]
    assert taken.count("4.jpg") == MAX_CRASHES
    assert set(taken) == {f"{number}.jpg" for number in range(10)}
    assert "4.jpg: the alarm has died over this picture 3 times" in lives[-1][2]


def test_who_is_stopped_in_the_middle_has_not_died(tmp_path):
    path = tmp_path / "in-hand"
    for _ in range(2 * MAX_CRASHES):
        attempts = CrashGuard(path)
        assert attempts.begin(7)
        attempts.done()
    for _ in range(MAX_CRASHES):
        assert CrashGuard(path).begin(7)
    assert not CrashGuard(path).begin(7)
    assert CrashGuard(path).begin(7)  # given up once is done with


def test_what_is_torn_or_not_to_be_written_is_no_reason_to_fail(tmp_path, caplog):
    path = tmp_path / "in-hand"
    path.write_text('{"00000000000000')
    assert CrashGuard(path).begin(1)
    path.write_text("[1]")
    assert CrashGuard(path).begin(1)
    nowhere = CrashGuard(tmp_path / "missing" / "in-hand")
    assert nowhere.begin(1)
    assert nowhere.begin(2)
    assert caplog.text.count("cannot be written down") == 1
    assert CrashGuard().begin(1)


def test_who_never_came_to_look_at_a_picture_has_not_died_over_it(tmp_path):
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    inbox.mkdir()
    state.mkdir()
    camera = Camera("inbox", str(inbox), follow=True)
    open_kept(camera, state=state).close()
    put(inbox / "bear.jpg", at=1000)
    for _ in range(MAX_CRASHES + 1):  # starts that fail for another reason: a model that is not there, say
        source = open_kept(camera, state=state)
        assert soon(lambda source=source: source._slot)
        source.close()
    source = open_kept(camera, state=state)
    assert next(iter(source)).file == "bear.jpg"
    source.close()
