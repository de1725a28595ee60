"""Clips: made by a program of its own, playable everywhere, whole or not at all."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import astuple

import cv2
import numpy as np
import pytest

from edge.detect.zones import BLACK, PrivacyMask, parse_polygon
from edge.pictures import decode_picture
from edge.record.clip import CannotError, ClipError, ClipMaker, encode, jpeg, packed, unpacked
from edge.record.recorder import compressed
from edge.schema import Frame, Packet
from tests.alarm.test_watch import scene
from tests.helpers.magenta import MAGENTA, magenta
from tests.helpers.meadow import WALL
from tests.helpers.uploads import claiming, oriented

SLEEPS = (sys.executable, "-c", "import sys, time; sys.stdin.buffer.read(); time.sleep(60)")
UPPER_LEFT = parse_polygon("0,0 0.5,0 0.5,0.5 0,0.5", "--mask")


def shot(time, data):
    """A JPEG at a time."""
    return Packet(data, time, time, key=True)


def shots(times, size_wh=(320, 180)):
    """Frames with a red square that goes to the right as time goes on."""
    found = []
    for at in times:
        picture = scene(*size_wh)
        x = round(10 * at) % (size_wh[0] - 30)
        cv2.rectangle(picture, (x, 100), (x + 29, 129), (40, 40, 230), -1)
        found.append(shot(100.0 + at, jpeg(picture, 80)))
    return found


def probe(path, what):
    words = ["ffprobe", "-v", "error", "-show_entries", what, "-of", "json", str(path)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def frames(path):
    video, found = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        found.append(read[1])
    return found


@pytest.mark.needs_tool("ffprobe")
def test_a_clip_is_what_browsers_and_phones_play(tmp_path):
    path = tmp_path / "clip.mp4"
    assert ClipMaker()(shots(np.arange(20) * 0.2, (321, 181)), path)
    (stream,) = probe(path, "stream=codec_name,pix_fmt,width,height")["streams"]
    assert stream == {"codec_name": "h264", "pix_fmt": "yuv420p", "width": 320, "height": 180}
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert len(frames(path)) == 20
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.needs_tool("ffprobe")
def test_each_frame_is_shown_when_it_was_taken(tmp_path):
    times = [0.0, 1.0, 2.0, 2.2, 2.43, 2.6, 2.8, 5.0, 5.2]
    encode(shots(times), tmp_path / "clip.mp4")
    found = [float(packet["pts_time"]) for packet in probe(tmp_path / "clip.mp4", "packet=pts_time")["packets"]]
    assert found == pytest.approx(times, abs=0.002)


def test_masks_are_black_and_the_rest_is_not(tmp_path):
    ClipMaker()(shots([0.0, 0.2, 0.4]), tmp_path / "clip.mp4", [UPPER_LEFT])
    for picture in frames(tmp_path / "clip.mp4"):
        assert picture[:88, :158].max() < 12
        assert picture[92:, 162:].mean() > 40


def test_what_is_masked_mixes_into_nothing_beside_it_where_a_picture_is_made_smaller(tmp_path):
    mask = parse_polygon("0,0 1,0 1,0.3337 0,0.3337", "--mask")
    picture = scene(2000, 1500)
    picture[:500] = MAGENTA
    encode([shot(at, jpeg(picture, 95)) for at in (0.0, 0.2)], tmp_path / "clip.mp4", [mask])
    held = decode_picture(compressed(Frame(picture, 0.0, WALL, "yard", 0), PrivacyMask([mask], BLACK)), "a shot")
    for shown in (held, frames(tmp_path / "clip.mp4")[1]):
        assert magenta(shown) < 50
        assert shown[shown.shape[0] // 2 :].mean() > 40


def test_frames_of_other_sizes_and_damaged_ones_do_no_harm(tmp_path):
    mixed = [
        *shots([0.0, 0.2]),
        shot(100.3, b"no picture"),
        *shots([0.4], (200, 200)),
        shot(100.5, shots([0.5])[0].data[:900]),
        shot(100.4, shots([0.4])[0].data),  # not later than the one before
        shot(100.6, jpeg(scene()[..., 0], 80)),  # grey
    ]
    assert encode(mixed, tmp_path / "clip.mp4") >= 4
    assert {picture.shape for picture in frames(tmp_path / "clip.mp4")} == {(180, 320, 3)}


def test_a_picture_of_an_absurd_size_is_passed_over(tmp_path):
    found = shots(np.arange(6) * 0.2)
    for number, size_wh in ((2, (40000, 40000)), (4, (20000, 20000))):
        found[number] = shot(found[number].time, claiming(found[number].data, size_wh))
    assert ClipMaker()(found, tmp_path / "clip.mp4")
    assert len(frames(tmp_path / "clip.mp4")) == 4


def test_masks_lie_where_they_were_drawn_whatever_a_cameras_exif_says(tmp_path):
    found = [shot(each.time, oriented(each.data, 6)) for each in shots([0.0, 0.2])]
    encode(found, tmp_path / "clip.mp4", [UPPER_LEFT])
    for picture in frames(tmp_path / "clip.mp4"):
        assert picture.shape == (180, 320, 3)
        assert picture[:88, :158].max() < 12
        assert picture[92:, 162:].mean() > 40


def test_a_camera_of_many_pixels_is_made_small_enough_to_play(tmp_path):
    encode(shots([0.0, 0.2], (2592, 1944)), tmp_path / "clip.mp4")
    assert frames(tmp_path / "clip.mp4")[0].shape == (960, 1280, 3)


def test_one_frame_is_no_clip_and_nothing_is_left(tmp_path):
    with pytest.raises(ClipError, match="1 frames are no clip"):
        ClipMaker()(shots([0.0]), tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_what_is_packed_comes_out_again_and_an_early_end_is_noticed(tmp_path):
    given = shots([0.0, 0.2])
    pipe = tmp_path / "pipe"
    pipe.write_bytes(b"".join(packed(given, [UPPER_LEFT])))
    with pipe.open("rb") as stream:
        masks, found = unpacked(stream)
    assert list(map(astuple, found)) == list(map(astuple, given))
    assert masks == (UPPER_LEFT,)
    for cut in (1, 20, 3000):
        pipe.write_bytes(b"".join(packed(given, []))[:-cut])
        with pipe.open("rb") as stream, pytest.raises(ValueError, match="end early"):
            unpacked(stream)


def test_a_program_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.clip.LIMIT_S", 0.5)
    monkeypatch.setattr("edge.record.clip.PROGRAM", SLEEPS)
    maker = ClipMaker()
    started = time.monotonic()
    with pytest.raises(ClipError, match=r"longer than 0.5 s"):
        maker(shots([0.0, 0.2]), tmp_path / "clip.mp4")
    assert time.monotonic() - started < 20


def test_at_the_end_the_one_in_the_making_is_given_up_and_none_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.clip.PROGRAM", SLEEPS)
    maker, failed = ClipMaker(), []

    def make():
        try:
            maker(shots([0.0, 0.2]), tmp_path / "clip.mp4")
        except ClipError as error:
            failed.append(str(error))

    thread = threading.Thread(target=make)
    thread.start()
    while maker._child is None:
        time.sleep(0.01)
    maker.stop()
    thread.join(20)
    assert len(failed) == 1
    with pytest.raises(ClipError, match="no time is left"):
        maker(shots([0.0, 0.2]), tmp_path / "clip.mp4")


def test_a_machine_that_cannot_encode_is_logged_once(tmp_path, monkeypatch, caplog):
    code = "import sys; sys.stdin.buffer.read(); sys.stderr.write('no libx264 here\\n'); sys.exit(3)"
    monkeypatch.setattr("edge.record.clip.PROGRAM", (sys.executable, "-c", code))
    maker = ClipMaker()
    for _ in range(3):
        assert not maker(shots([0.0, 0.2]), tmp_path / "clip.mp4")
    assert caplog.text.count("there will be no clips, pictures only: no libx264 here") == 1
    assert maker.cannot


def test_a_machine_without_pyav_or_without_h264(tmp_path, monkeypatch):
    import av

    real = av.Codec
    monkeypatch.setattr("edge.record.clip.ENCODERS", (("libx-nothing", {}),))
    with pytest.raises(CannotError, match="without libx264"):
        encode(shots([0.0, 0.2]), tmp_path / "clip.mp4")
    monkeypatch.undo()

    def without_x264(name, mode):
        if name == "libx264":
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(av, "Codec", without_x264)
    assert encode(shots([0.0, 0.2]), tmp_path / "clip.mp4") == 2  # VP9
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CannotError, match=r"-m pip install av$"):
        encode(shots([0.0, 0.2]), tmp_path / "none.mp4")
    assert not (tmp_path / "none.mp4").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_an_alarm_that_is_killed_leaves_no_half_clip_and_no_program(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom edge.record.clip import ClipMaker\n"
        "from edge.schema import Packet\n"
        "class Slow(list):\n"
        "    def __iter__(self):\n"
        "        yield Packet(b'x' * 10, 0.0, 0.0, True)\n"
        "        print(maker._child.pid, flush=True)\n"
        "        time.sleep(60)\n"
        "maker = ClipMaker()\nmaker(Slow(), Path(sys.argv[1]))\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "clip.mp4")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as alarm:
        assert alarm.stdout
        child = int(alarm.stdout.readline())
        alarm.kill()
    patience = time.monotonic() + 20
    while alive(child) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not alive(child)
    assert list(tmp_path.iterdir()) == []


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(stat.strip()) and not stat.startswith("Z")  # in a container nobody may collect it
