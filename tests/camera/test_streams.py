"""Real streams on loopback, cut and restored: MJPEG over HTTP from Python, H.264 over RTSP from GStreamer."""

import os
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera import open_camera, open_source
from edge.camera.reconnect import ReconnectingSource
from edge.errors import SourceError
from edge.pictures import decode_picture, jpeg_size
from tests.helpers.decoding import noted_flags, pictures_of
from tests.helpers.h264 import filmed
from tests.helpers.kept_world import opens
from tests.helpers.uploads import claiming

SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's, which knows GStreamer
RTSP_SERVER = str(Path(__file__).parents[1] / "helpers" / "rtsp_server.py")


class Mjpeg(ThreadingHTTPServer):
    """A camera with one page: JPEGs without end, 20 a second; ``hold`` makes it go silent with the line open."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), MjpegPage)
        self.cut = threading.Event()
        self.hold = False
        self.shade = None  # of a picture that stands still
        self.hostile = None  # every second picture's width and height, as its header claims
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="mjpeg")
        self.thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.cut.set()
        self.shutdown()
        self.server_close()
        self.thread.join()

    def handle_error(self, request, client_address):
        """A reader that leaves is nothing to speak of."""


class MjpegPage(BaseHTTPRequestHandler):
    server: "Mjpeg"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while not self.server.cut.wait(0.05):
            if self.server.hold:
                continue
            number += 1
            shade = number * 9 % 256 if self.server.shade is None else self.server.shade
            _, jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), shade, np.uint8))
            if self.server.hostile and number % 2:
                jpeg = np.frombuffer(claiming(jpeg.tobytes(), self.server.hostile), np.uint8)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def mjpeg():
    servers = [Mjpeg()]
    yield servers
    servers[-1].stop()


@pytest.fixture
def rtsp() -> None:
    """Nothing but the check that GStreamer's RTSP server can be run here."""
    try:
        run = subprocess.run([SYSTEM_PYTHON, RTSP_SERVER, "check"], capture_output=True, text=True, check=False)
        why = run.stderr.strip().splitlines()[-1] if run.returncode else None
    except OSError as error:
        why = str(error)
    if why:
        reason = "GStreamer's RTSP server is not installed (see tests/helpers/rtsp_server.py)"
        if {"rtsp", "all"} & set(os.environ.get("BEAR_ALARM_REQUIRE", "").replace(",", " ").split()):
            pytest.fail(f"{reason}: {why}", pytrace=False)
        pytest.skip(reason)


@contextmanager
def rtsp_server(port, *words):
    """The server's process, listening; killed at the end, as by a power cut."""
    with subprocess.Popen([SYSTEM_PYTHON, RTSP_SERVER, str(port), *words], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == "ready\n"
            yield server
        finally:
            server.kill()


def free_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), MjpegPage) as server:
        return server.server_address[1]


class Watch:
    """Iterates a kept source in a thread, and notes frames and reports."""

    def __init__(self, url, **options):
        self.frames, self.reports = [], []
        # A short pause at first, so that the tests are fast; what the pauses are has tests of its own.
        self.kept = ReconnectingSource(
            lambda: open_camera(url, name="yard", fps=10), name="yard", fps=10, report=self.note, **options,
        )  # fmt: skip
        self.kept.open()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def note(self, trouble, at):
        self.reports.append((time.monotonic(), trouble))

    def run(self):
        for frame in self.kept:
            self.frames.append((time.monotonic(), frame))

    def wait_for(self, what, within_s):
        until = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < until, f"frames {len(self.frames)}, said {self.reports[-3:]}"
            assert self.thread.is_alive()
            time.sleep(0.01)
        return time.monotonic()

    def close(self):
        started = time.monotonic()
        self.kept.close()
        self.thread.join(5)
        assert not self.thread.is_alive()
        return time.monotonic() - started

    def check_recovery(self, cut_at, back_at):
        """Noticed within ten seconds, back within fifteen, told once, with times that go forward."""
        troubles = [(at, trouble) for at, trouble in self.reports if trouble]
        assert troubles[0][0] - cut_at < 10.0
        assert {trouble.kind for _, trouble in troubles} == {"gone"}
        over = [at for at, trouble in self.reports if trouble is None]
        assert len(over) == 1
        assert over[0] - back_at < 15.0
        times = [frame.time for _, frame in self.frames]
        assert times == sorted(set(times))
        again = [at for at, frame in self.frames if frame.discontinuity]
        assert len(again) == 1
        assert again[0] >= back_at
        assert [frame.index for _, frame in self.frames] == list(range(len(self.frames)))


def test_an_mjpeg_camera_is_read_thinned_and_let_go_of(mjpeg):
    with open_source(f"http://anna:secret@127.0.0.1:{mjpeg[0].port}/mjpeg", fps=5) as source:
        frames = [frame for frame, _ in zip(source, range(6), strict=False)]
        assert (source.live, source.name) == (True, "127.0.0.1")
        assert "secret" not in repr(source)
    assert frames[0].image.shape == (120, 160, 3)
    assert len({int(frame.image.mean()) for frame in frames}) == 6
    assert np.median(np.diff([frame.time for frame in frames])) == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("fault", ["cut", "silent with the line open"])
def test_an_mjpeg_camera_that_is_away_for_a_while_is_found_again(mjpeg, fault):
    watch = Watch(f"http://127.0.0.1:{mjpeg[0].port}/mjpeg", silent_s=1.0)
    try:
        watch.wait_for(lambda: len(watch.frames) > 5, 15)
        if fault == "cut":
            mjpeg[0].stop()
        mjpeg[0].hold = True
        cut_at = time.monotonic()
        watch.wait_for(lambda: watch.reports, 10)
        back_at, count = time.monotonic(), len(watch.frames)
        mjpeg[0].hold = False
        if fault == "cut":
            mjpeg.append(Mjpeg(mjpeg[0].port))
        watch.wait_for(lambda: len(watch.frames) > count + 5, 15)
    finally:
        taken_s = watch.close()
    watch.check_recovery(cut_at, back_at)
    assert taken_s < 1.5


def test_an_mjpeg_camera_that_freezes_is_opened_again_and_reported(mjpeg, monkeypatch):
    for name, seconds in (("FROZEN_S", 0.5), ("FROZEN_AGAIN_S", 2.0)):
        monkeypatch.setattr(f"edge.camera.reconnect.{name}", seconds)
    watch = Watch(f"http://127.0.0.1:{mjpeg[0].port}/mjpeg")
    try:
        watch.wait_for(lambda: len(watch.frames) > 5, 15)
        mjpeg[0].shade = 77
        watch.wait_for(lambda: watch.reports, 10)
        assert watch.kept.reopened == 1
        assert watch.reports[0][1].kind == "frozen"
        mjpeg[0].shade = None
        watch.wait_for(lambda: watch.reports[-1][1] is None, 10)
    finally:
        watch.close()


@pytest.fixture
def behind_http():
    """Serve bytes; return their address."""
    servers = []

    def serve(data):
        class Page(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/a"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def film(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (160, 120))
    for i in range(40):
        writer.write(np.full((120, 160, 3), i * 6, np.uint8))
    writer.release()
    return (tmp_path / "a.avi").read_bytes()


def test_a_film_behind_http_just_ends(behind_http, film):
    reports = []
    kept = ReconnectingSource(
        opens(open_camera(behind_http(film), name="yard", fps=10), lambda: pytest.fail("opened again")),
        report=lambda *said: reports.append(said),
    )
    assert list(kept)
    assert reports == []


def test_what_is_no_stream_is_one_sentence(behind_http, film):
    picture = cv2.imencode(".jpg", np.full((120, 160, 3), 90, np.uint8))[1].tobytes()
    nothing = film[: film.index(b"movi") + 4]
    for data, words in ((picture, "gives one picture and no stream"), (nothing, "ended before its first frame")):
        with open_source(behind_http(data)) as source, pytest.raises(SourceError, match=words):
            list(source)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("hold", r"/mjpeg: nothing came for 2 s"), ("cut", "/mjpeg: the (stream broke off|camera ended the stream)")],
)
def test_a_stream_that_stops_says_how(mjpeg, monkeypatch, fault, words):
    monkeypatch.setattr("edge.camera.video.READ_S", 2.0 if fault == "hold" else 30.0)
    with open_camera(f"http://127.0.0.1:{mjpeg[0].port}/mjpeg", name="yard", fps=20) as source:
        frames = iter(source)
        assert next(frames).index == 0
        assert next(frames).index == 1
        if fault == "hold":
            mjpeg[0].hold = True
        else:
            mjpeg[0].cut.set()
        with pytest.raises(SourceError, match=words):
            list(frames)


def test_jpegs_of_a_stream_are_handed_on_and_decoded_in_full_for_who_asks_alone(mjpeg, monkeypatch):
    asked = noted_flags(monkeypatch)
    with open_source(f"http://127.0.0.1:{mjpeg[0].port}/mjpeg", fps=20) as source:
        frames = [frame for frame, _ in zip(source, range(4), strict=False)]
    assert cv2.IMREAD_COLOR not in asked
    assert [jpeg_size(frame.jpeg or b"") for frame in frames] == [(160, 120)] * 4
    picture = frames[1].image
    assert asked.count(cv2.IMREAD_COLOR) == 1
    assert np.array_equal(picture, decode_picture(frames[1].jpeg or b"", "own"))


def test_pictures_of_an_absurd_size_are_passed_over(mjpeg):
    mjpeg[0].hostile = (40000, 40000)
    with open_source(f"http://127.0.0.1:{mjpeg[0].port}/mjpeg", fps=20) as source:
        frames = [frame for frame, _ in zip(source, range(4), strict=False)]
    assert [frame.image.shape for frame in frames] == [(120, 160, 3)] * 4


def test_a_camera_that_is_gone_after_one_picture_is_a_stream_all_the_same(behind_http):
    (packet,) = filmed([np.full((120, 160, 3), 90, np.uint8)])
    address = behind_http(packet.data)
    with open_source(address) as source, pytest.raises(SourceError, match="the camera ended the stream"):
        list(source)


def test_an_address_where_nothing_listens_is_one_sentence():
    with pytest.raises(
        SourceError, match=r"^http://\*\*\*@127\.0\.0\.1:\d+/x: the stream cannot be opened; .*$"
    ) as error:
        open_source(f"http://anna:secret@127.0.0.1:{free_port()}/x")
    assert "secret" not in str(error.value)


@pytest.mark.slow
def test_an_rtsp_camera_that_is_cut_and_restored_is_found_again(rtsp):
    port = free_port()
    with rtsp_server(port):
        watch = Watch(f"rtsp://127.0.0.1:{port}/yard", silent_s=2.0)
        try:
            watch.wait_for(lambda: len(watch.frames) > 5, 20)
        except BaseException:
            watch.close()
            raise
    cut_at = time.monotonic()
    try:
        watch.wait_for(lambda: watch.reports, 10)
        back_at, count = time.monotonic(), len(watch.frames)
        with rtsp_server(port):
            watch.wait_for(lambda: len(watch.frames) > count + 5, 15)
            watch.close()
    finally:
        watch.close()
    watch.check_recovery(cut_at, back_at)
    assert watch.frames[0][1].image.shape == (240, 320, 3)


@pytest.mark.slow
def test_an_rtsp_cameras_own_video_can_be_kept(rtsp):
    port = free_port()
    with rtsp_server(port), open_source(f"rtsp://127.0.0.1:{port}/yard", fps=5) as source:
        frames = iter(source)
        first = next(frames)
        assert first.video is not None
        first.video.seconds = 60.0
        for frame in frames:
            if frame.time - first.time > 3.0:
                break
        packets = first.video.since(0.0)
    assert frame.video is first.video
    assert len(packets) > 15  # at 15 a second, whatever the frames' rate is
    assert pictures_of(packets) == len(packets)
    assert max(abs(packet.time - packet.decode_time) for packet in packets) < 0.5
    assert frame.time - 0.5 < packets[-1].decode_time < time.monotonic()


@pytest.mark.slow
def test_an_rtsp_camera_that_stops_answering_is_noticed(rtsp):
    """A process that is stopped keeps its connections open: only the silence tells."""
    port = free_port()
    with rtsp_server(port) as server:
        watch = Watch(f"rtsp://127.0.0.1:{port}/yard", silent_s=2.0)
        try:
            watch.wait_for(lambda: len(watch.frames) > 5, 20)
            subprocess.run(["kill", "-STOP", str(server.pid)], check=True)
            cut_at = time.monotonic()
            watch.wait_for(lambda: watch.reports, 10)
            back_at, count = time.monotonic(), len(watch.frames)
            subprocess.run(["kill", "-CONT", str(server.pid)], check=True)
            watch.wait_for(lambda: len(watch.frames) > count + 5, 15)
        finally:
            watch.close()
    watch.check_recovery(cut_at, back_at)


@pytest.mark.slow
def test_an_rtsp_camera_with_a_password_opens_with_it_alone_and_never_shows_it(rtsp):
    port = free_port()
    with rtsp_server(port, "anna", "s3cret"):
        with open_source(f"rtsp://anna:s3cret@127.0.0.1:{port}/yard") as source:
            assert next(iter(source)).camera == "127.0.0.1"
            assert "s3cret" not in repr(source)
        with pytest.raises(SourceError, match=r"\*\*\*@127.*check the address, user and password") as error:
            open_source(f"rtsp://anna:s3cre@127.0.0.1:{port}/yard")
    assert "s3cre" not in str(error.value)
