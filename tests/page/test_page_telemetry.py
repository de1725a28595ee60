"""``/healthz`` and ``/metrics`` over real sockets: what they answer, and who cannot hold them up."""

from __future__ import annotations

import itertools
import json
import logging
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from edge.errors import OptionError
from edge.page import server as serving_http
from edge.page import telemetry
from edge.page.server import WebServer
from edge.page.serving import TELEMETRY, Serving
from edge.page.telemetry import CachedStatus, telemetry_app
from edge.settings import HealthSettings, Settings, parse_listen
from tests.device.test_telemetry import WELL, YARD, parse
from tests.helpers.outbox_world import wait_for

ILL = replace(WELL, cameras=(replace(YARD, fresh=False),), problems={"sd card": "it is worn; change it"})


class StandIn(SimpleNamespace):
    """As much of an alarm as the servers ask for."""

    def __init__(self, listen, status):
        super().__init__(settings=Settings(health=HealthSettings(listen=listen)), status=status, asked={}, state=None)

    def ask(self, part, problem):
        self.asked[part] = problem


@contextmanager
def served(status=lambda: WELL, listen="127.0.0.1:0"):
    alarm: Any = StandIn(listen, status)
    with closing(Serving(lambda: alarm, None, None, lambda: "bear-alarm page claim")) as serving:
        serving.follow()
        server = serving.server(TELEMETRY)
        assert server
        wait_for(lambda: server.port or server.problem())
        assert alarm.asked[TELEMETRY]() == server.problem()
        yield server


def ask(server, request, host="127.0.0.1", patience_s=20.0):
    """(status, headers, body) of a raw request; (None, {}, "") where the line is cut."""
    with socket.create_connection((host, server.port), timeout=patience_s) as line:
        with suppress(ConnectionError):  # it may be cut before all is sent
            line.sendall(request if isinstance(request, bytes) else request.encode())
        return read(line)


def read(line):
    answer = b""
    try:
        while more := line.recv(65536):
            answer += more
    except ConnectionError:
        pass
    if not answer:
        return None, {}, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.title(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body.decode()


def get(path, host="127.0.0.1", method="GET", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"


def test_health_in_words_and_in_json():
    with served() as server:
        assert server.problem() is None
        status, headers, body = ask(server, get("/healthz"))
        assert (status, headers["Content-Type"], body) == (200, "text/plain; charset=utf-8", "ok\n")
        assert headers["Server"] == "bear-alarm"
    with served(lambda: ILL) as server:
        status, headers, body = ask(server, get("/healthz"))
        assert (status, body) == (503, "yard: no frame is being looked at\nsd card: it is worn; change it\n")
        for request in (get("/healthz?json"), get("/healthz", more="Accept: application/json\r\n")):
            status, headers, body = ask(server, request)
            assert (status, headers["Content-Type"]) == (503, "application/json")
            found = json.loads(body)
            assert (found["ok"], found["reasons"]) == (False, ILL.ill)
            assert found["status"]["cameras"][0]["name"] == "yard"


def test_metrics_are_those_of_the_alarm():
    with served() as server:
        status, headers, body = ask(server, get("/metrics"))
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert int(headers["Content-Length"]) == len(body.encode())
    assert parse(body)["bear_alarm_up"][1][frozenset()] == 1


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (get("/"), 404, "/healthz and /metrics"),
        (get("/healthz/../etc/passwd"), 404, ""),
        (get("/metrics", method="POST", more="Content-Length: 0\r\n"), 405, "only GET and HEAD"),
        (get("/metrics", method="BREW"), 405, "only GET and HEAD"),
        (get("/healthz", host="evil.example"), 403, "localhost"),
        (get("/healthz", more="Host: localhost\r\n"), 400, ""),
        (get("/healthz", host="localhost.evil.example:80"), 403, "localhost"),
        (get("/healthz", host="localhost:9273"), 200, "ok"),
        (get("/healthz", host="[::1]:9273"), 200, "ok"),
        (get("/healthz", host="LOCALHOST"), 200, "ok"),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200, "ok"),
        (get("/" + "a" * 200_000), 400, ""),
        (get("/healthz", more=f"X: {'a' * 200_000}\r\n"), 400, ""),
        (get("/healthz", more="X: a\r\n" * 50_000), 400, ""),
        ("nonsense\r\n\r\n", 400, ""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""),
    ],
)
def test_what_else_is_asked(request_, status, words):
    with served() as server:
        found, headers, body = ask(server, request_)
        assert found == status or (found is None and len(request_) > 99_999), body  # the line may be cut, too
        assert words in body
        assert "evil" not in body
        assert (found == 405) == ("Allow" in headers)
        assert ask(server, get("/healthz"))[0] == 200


def test_head_answers_the_same_without_the_body():
    with served() as server:
        for path in ("/healthz", "/metrics", "/nothing"):
            status, headers, body = ask(server, get(path))
            assert ask(server, get(path, method="HEAD"))[0::2] == (status, "")
            assert int(headers["Content-Length"]) == len(body)


def test_the_status_is_asked_for_once_a_second_at_most():
    asked = itertools.count()
    clock = itertools.count(0.0, 0.25)  # read twice where it asks, else once
    latest = CachedStatus(lambda: replace(WELL, alarms=next(asked)), lambda: next(clock))
    found = [latest().alarms for _ in range(21)]
    assert found == sorted(found)
    assert 4 <= next(asked) <= 6


def test_clients_that_hang_keep_nobody_out(monkeypatch):
    monkeypatch.setattr(serving_http, "REQUEST_S", 60.0)  # they are cut because they are many
    with served() as server, ExitStack() as stack:
        lines = []
        for _ in range(3 * serving_http.MAX_CLIENTS):
            lines.append(stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=20))))
            lines[-1].sendall(b"GET /heal")
        assert ask(server, get("/healthz"))[::2] == (200, "ok\n")
        assert read(lines[0]) == (None, {}, "")  # the oldest had to go


def test_clients_that_get_a_response_stay_where_many_others_come(monkeypatch):
    monkeypatch.setattr(serving_http, "MAX_CLIENTS", 3)
    go = threading.Event()
    with served(lambda: go.wait(30) and WELL) as server, ExitStack() as stack:

        def client(words):
            line = stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=20)))
            line.sendall(words.encode())
            return line

        first = client(get("/healthz"))
        wait_for(lambda: any(each.is_served for each in server._door.clients))
        for _ in range(9):
            client("GET /heal")
        assert ask(server, get("/nothing"))[0] == 404
        go.set()
        assert read(first)[0] == 200


@pytest.mark.parametrize("slowly", ["X: y\r\n", ""])
def test_a_client_that_drips_or_says_nothing_is_cut_off(monkeypatch, slowly):
    monkeypatch.setattr(serving_http, "REQUEST_S", 0.5)
    with served() as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\n" if slowly else b"")
        line.settimeout(0.05)
        for _ in range(400):
            try:
                line.sendall(slowly.encode())
                if line.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:  # reset, or a broken pipe
                return
    raise AssertionError("it may hang for ever")


def test_a_client_that_takes_nothing_of_its_response_is_cut_off(monkeypatch):
    monkeypatch.setattr(serving_http, "STALLED_S", 0.5)
    long = replace(WELL, problems={"disk": "full " * 2_000_000})
    with served(lambda: long) as server, closing(socket.socket()) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        line.sendall(get("/healthz").encode())
        wait_for(lambda: server._door.clients)
        wait_for(lambda: not server._door.clients)


def test_an_alarm_that_hangs_or_fails_is_not_well(monkeypatch, caplog):
    monkeypatch.setattr(telemetry, "STATUS_PATIENCE_S", 0.2)
    go, began = threading.Event(), threading.Event()

    def waits():
        began.set()
        return go.wait(30) and WELL

    with served(waits) as server:
        first = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        with first:
            first.sendall(get("/healthz").encode())
            assert began.wait(20)
            for path in ("/healthz", "/metrics"):
                status, _, body = ask(server, get(path))
                assert (status, "something in it hangs" in body) == (503, True)
            go.set()
            assert read(first)[0] == 200

    def fails():
        raise ZeroDivisionError("secret")

    with served(fails) as server:
        for _ in range(3):
            status, _, body = ask(server, get("/healthz?json"))
            assert status == 503
            assert json.loads(body)["reasons"] == [
                "the alarm cannot report its state: internal error (ZeroDivisionError)"
            ]
    assert len([each for each in caplog.records if each.levelno >= logging.ERROR]) == 1


def test_a_port_that_is_taken_is_reported_and_had_later(caplog, monkeypatch):
    monkeypatch.setattr(serving_http, "PORT_RETRY_MIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = WebServer(f"127.0.0.1:{port}", telemetry_app(lambda: WELL), "telemetry")
        wait_for(lambda: f"127.0.0.1:{port} cannot be listened on (Address already in use)" in (server.problem() or ""))
        time.sleep(0.3)
        assert server.port is None
    wait_for(lambda: server.problem() is None)
    assert ask(server, get("/healthz"))[0] == 200
    server.close()
    server.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1


def test_a_port_that_is_given_up_for_another_address_is_had_within_seconds():
    """As by a reload that listens on 0.0.0.0 from now on: the new one is made before the old one goes."""
    with served() as old, served(listen=f"0.0.0.0:{old.port}") as new:
        assert new.problem()
        old.close()
        wait_for(lambda: new.problem() is None)
        assert ask(new, get("/healthz"))[0] == 200


def test_nothing_is_written_of_what_is_asked(capfd, caplog):
    caplog.set_level(logging.DEBUG)
    with served() as server:
        ask(server, get("/healthz"))
        caplog.clear()
        for path in ("/healthz", "/x?token=hush"):
            ask(server, get(path))
        ask(server, b"\r\n")
        assert ask(server, get("http://["))[0] == 404
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_an_address_others_reach_is_warned_of_and_answers_any_name(caplog):
    with served(listen="0.0.0.0:0") as server:
        assert ask(server, get("/healthz", host="bees.local"))[0] == 200  # it answers after it has warned
        assert "no password" in caplog.text
    caplog.clear()
    with served(listen="127.0.0.1:0") as server:
        assert ask(server, get("/healthz"))[0] == 200
        assert "no password" not in caplog.text


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this system")
def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with served(listen="[::1]:0") as server:
        assert ask(server, get("/healthz", host="[::1]"), host="::1")[0] == 200
        assert ask(server, get("/healthz", host="evil.example"), host="::1")[0] == 403


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("9273", ("127.0.0.1", 9273)),
        ("localhost:80", ("127.0.0.1", 80)),
        (" 0.0.0.0:1 ", ("0.0.0.0", 1)),
        ("[::]:65535", ("::", 65535)),
    ],
)
def test_places_to_listen_on(words, place):
    assert parse_listen(words) == place


@pytest.mark.parametrize(
    "words",
    [
        *[
            "",
            ":",
            ":80",
            "80:",
            "bees.local:80",
            "127.0.0.1",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "::1:80",
            "[127.0.0.1]:80",
        ],
        *["[::1]", "[::1]:", "[localhost]:80", "1.2.3:80", "http://127.0.0.1:80", "127.0.0.1:８０", "a" * 300],
    ],
)
def test_what_is_no_place_to_listen_on(words):
    with pytest.raises(OptionError, match="is no place to listen on") as caught:
        parse_listen(words)
    assert "\n" not in str(caught.value)
