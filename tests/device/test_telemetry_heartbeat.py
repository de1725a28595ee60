"""The heartbeat: asked for while all is well, silent when not, patient with a network that is away, and discreet."""

from __future__ import annotations

import logging
import queue
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from edge.device import heartbeat
from edge.device.heartbeat import Heartbeat
from edge.errors import OptionError
from tests.device.test_telemetry import WELL, YARD

ILL = replace(WELL, cameras=(replace(YARD, fresh=False),))
SECRET = "5e1b7c0e-ping-me"


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Monitor:
    """A real web server that is asked, and answers as the test sets it; ``answers`` in turn, then 200."""

    def __init__(self, *answers):
        self.answers, self.silent = list(answers), threading.Event()
        self.asked: list[Any] = []
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answer = monitor.answers.pop(0) if monitor.answers else 200
                monitor.asked.append(SimpleNamespace(path=self.path, headers=dict(self.headers)))
                if answer == "silence":
                    monitor.silent.wait(20)
                    return
                status, headers, body = answer if isinstance(answer, tuple) else (answer, {}, b"")
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *args):
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Times:
    """A clock that only goes on when the heartbeat sleeps, and it sleeps only as often as it is let."""

    def __init__(self):
        self.now, self.slept = 0.0, []
        self._asleep: queue.Queue[float] = queue.Queue()
        self._go: queue.Queue[bool] = queue.Queue()

    def sleep(self, seconds):
        self.slept.append(seconds)
        self._asleep.put(seconds)
        stop = self._go.get(timeout=60)
        self.now += seconds
        return stop

    def until_asleep(self):
        return self._asleep.get(timeout=60)

    def step(self):
        """Let one sleep end, and wait for the next."""
        self._go.put(False)
        return self.until_asleep()

    def stop(self):
        self._go.put(True)


@pytest.fixture(autouse=True)
def no_chance(monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.5)


@contextmanager
def beats(url, status=lambda: WELL, every_s=300.0):
    times = Times()
    heart = Heartbeat(url, every_s, status, clock=lambda: times.now, sleep=times.sleep)
    times.until_asleep()
    try:
        yield heart, times
    finally:
        times.stop()
        heart.close()
        assert not heart._thread.is_alive()


def place(box, path=f"/{SECRET}"):
    return f"http://127.0.0.1:{box.port}{path}"


def test_it_beats_while_all_is_well_and_is_silent_while_not(caplog):
    caplog.set_level(logging.INFO)
    states = [WELL, WELL, ILL, ILL, ILL, WELL]
    with Monitor() as box, beats(place(box), lambda: states.pop(0)) as (_, times):
        waits = [times.step() for _ in range(6)]
        assert waits == [300.0, 300.0, heartbeat.ILL_RETRY_S, heartbeat.ILL_RETRY_S, heartbeat.ILL_RETRY_S, 300.0]
        assert [each.path for each in box.asked] == [f"/{SECRET}"] * 3
    assert box.asked[0].headers["User-Agent"].startswith("bear-alarm/")
    assert [each.message for each in caplog.records] == [
        "no heartbeat from now on, for the alarm is not well: yard: no frame is being looked at",
        "all is well again: the heartbeat goes on",
    ]


def test_an_alarm_that_cannot_report_its_state_is_not_well(caplog):
    def fails():
        raise ZeroDivisionError

    with Monitor() as box, beats(place(box), fails) as (_, times):
        assert [times.step() for _ in range(3)] == [heartbeat.ILL_RETRY_S] * 3
        assert not box.asked
    assert len(caplog.records) == 1


def test_its_own_trouble_does_not_keep_it_silent_for_ever():
    status = replace(WELL, problems={Heartbeat.PART: "the heartbeat has not arrived"})
    with Monitor() as box, beats(place(box), lambda: status) as (_, times):
        times.step()
        assert len(box.asked) == 1


def test_a_network_that_is_away_is_one_line_and_a_longer_wait_each_time(caplog):
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with beats(f"http://127.0.0.1:{port}/{SECRET}") as (heart, times):
        waits = [times.step() for _ in range(12)]
        assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, *[300.0] * 7]
        assert heart.problem() is None
        while times.now < 3600 + 2 * 300:
            times.step()
        assert f"has not reached http://127.0.0.1:{port} for" in heart.problem()
        assert "refused" in heart.problem()
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text + heart.problem() + repr(heart)


def test_back_again_is_one_line(caplog):
    caplog.set_level(logging.INFO)
    with Monitor(500, 503, 200, 200) as box, beats(place(box)) as (heart, times):
        assert [times.step() for _ in range(4)] == [10.0, 20.0, 300.0, 300.0]
        assert heart.problem() is None
        assert len(box.asked) == 4
    assert [each.message.partition(" (")[0] for each in caplog.records] == [
        f"the heartbeat does not reach http://127.0.0.1:{box.port}",
        f"the heartbeat reaches http://127.0.0.1:{box.port} again after 30 s",
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (404, "HTTP 404 Not Found"),
        ((302, {"Location": "http://localhost:1/elsewhere"}, b""), "HTTP 302"),
        ((301, {"Location": "ftp://127.0.0.1/elsewhere"}, b""), "HTTP 301"),
        ((200, {}, b"OK (not found)"), "it answers 'not found'"),
        ("silence", "no answer in time"),
    ],
)
def test_what_is_no_beat(answer, words, caplog, monkeypatch):
    if answer == "silence":
        monkeypatch.setattr(heartbeat, "BEAT_TIMEOUT_S", 0.3)
    with Monitor(answer) as box, beats(place(box)) as (_, times):
        assert times.step() == 10.0
    assert words in caplog.text
    assert SECRET not in caplog.text


def test_a_redirect_on_the_same_host_is_followed_and_the_login_stays_behind():
    with Monitor((302, {"Location": "/other"}, b""), 200) as box:
        with beats(f"http://bob:p%40ss@127.0.0.1:{box.port}/{SECRET}?status=up") as (_, times):
            assert times.step() == 300.0
        assert [each.path for each in box.asked] == [f"/{SECRET}?status=up", "/other"]
        assert [each.headers.get("Authorization") for each in box.asked] == ["Basic Ym9iOnBAc3M=", None]


def test_a_proxy_of_the_environment_is_gone_through_each_time(monkeypatch):
    with Monitor() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with beats(f"http://monitor.invalid/{SECRET}") as (_, times):
            assert [times.step(), times.step()] == [300.0, 300.0]
        assert [each.path for each in proxy.asked] == [f"http://monitor.invalid/{SECRET}"] * 2


def test_closing_does_not_wait_for_a_beat_under_way():
    with Monitor("silence") as box:
        times = Times()
        heart = Heartbeat(place(box), 10.0, lambda: WELL, sleep=times.sleep)
        times.until_asleep()
        times._go.put(False)
        done = threading.Thread(target=heart.close)
        done.start()
        done.join(8.0)
        assert not done.is_alive()
        box.silent.set()
        times.stop()
        heart._thread.join(20)


@pytest.mark.parametrize(
    ("url", "every_s", "words"),
    [
        ("hc-ping.com/" + SECRET, 300.0, "it begins with https://"),
        ("ftp://hc-ping.com/" + SECRET, 300.0, "it begins with https://"),
        ("file:///etc/passwd", 300.0, "it begins with https://"),
        ("https:///" + SECRET, 300.0, "a host's name"),
        ("https://hc-ping.com:x/" + SECRET, 300.0, "a port is a number"),
        ("https://hc-ping.com/ " + SECRET, 300.0, "a space"),
        ("https://" + "ü" * 70 + ".com/" + SECRET, 300.0, "a host's name that cannot be"),
        ("https://hc-ping.com/" + SECRET, 0.0, "makes no sense"),
        ("https://hc-ping.com/" + SECRET, float("nan"), "makes no sense"),
        ("https://hc-ping.com/" + SECRET, float("inf"), "makes no sense"),
    ],
)
def test_what_it_cannot_use(url, every_s, words):
    before = set(threading.enumerate())
    with pytest.raises(OptionError, match=words) as caught:
        Heartbeat(url, every_s, lambda: WELL)
    assert SECRET not in str(caught.value)
    assert [each for each in threading.enumerate() if each.name == "heartbeat" and each not in before] == []
