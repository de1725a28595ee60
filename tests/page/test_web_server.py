"""The page's server: crowds, what hangs in it, TLS, and reloads. The alarm never waits for it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from edge.errors import OptionError
from edge.page import live, server
from edge.page.accounts import Accounts
from edge.page.guard import COOKIE, SECURE_COOKIE
from edge.page.server import WebServer
from edge.page.serving import PAGE, TELEMETRY, Serving
from edge.phone import authority
from edge.settings import HealthSettings, PageSettings, Settings
from tests.camera.test_streams import free_port
from tests.helpers.fake_camera import LiveYard, watching
from tests.helpers.page_world import OWNER, Client, World, page_world, wait_for
from tests.helpers.yard import yard_model

EVERYWHERE = PageSettings(listen="0.0.0.0:0")


def frames(world: World) -> int:
    """Return the number of frames that the camera's loop has looked at."""
    return world.alarm.threads[0].watcher.stats.frames


def goes_on(world: World) -> bool:
    """Fail where the camera's loop looks at no more frames."""
    before = frames(world)
    return bool(wait_for(lambda: frames(world) > before + 10))


def descriptors() -> int:
    """Return the number that this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def place(world: World) -> tuple[str, int]:
    """Return the address and port of the page."""
    return "127.0.0.1", int(world.address.rpartition(":")[2])


@pytest.mark.alone
def test_two_hundred_connections_at_once_leave_the_page_and_the_alarm_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "REQUEST_S", 60.0)  # they are cut because they are many
    with page_world(tmp_path) as world, ExitStack() as stack, world.client() as owner:
        before, half = descriptors(), b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
        lines = [stack.enter_context(socket.create_connection(place(world), timeout=20)) for _ in range(200)]
        for number, line in enumerate(lines):
            line.sendall(half if number % 2 else b"")
        assert owner.get("/access").status_code == 200
        assert goes_on(world)
        wait_for(lambda: descriptors() - before - len(lines) <= server.MAX_CLIENTS + 10)


@pytest.mark.alone
def test_endpoints_that_hang_for_ever_are_reported_and_alarms_go_on(tmp_path, monkeypatch):
    go = threading.Event()

    def hang(_: object) -> PlainTextResponse:
        go.wait(120)
        return PlainTextResponse("at last")

    monkeypatch.setattr(live, "ROUTES", [*live.ROUTES, Route("/hang", hang)])
    monkeypatch.setattr(server, "STUCK_S", 1.0)
    with page_world(tmp_path) as world, world.client() as owner, ExitStack() as stack:
        session = f"{COOKIE}={owner.cookies[COOKIE]}"
        for _ in range(server.THREADS + 1):
            line = stack.enter_context(socket.create_connection(place(world), timeout=60))
            line.sendall(f"GET /hang HTTP/1.1\r\nHost: localhost\r\nCookie: {session}\r\n\r\n".encode())
        problem = world.alarm._more[PAGE]
        wait_for(lambda: "does not answer" in (problem() or ""))
        assert world.bear()
        go.set()
        assert owner.get("/access").status_code == 200
        wait_for(lambda: problem() is None)


def test_a_page_whose_own_thread_hangs_or_dies_holds_nothing_up(tmp_path, monkeypatch, caplog):
    go = threading.Event()

    async def die(_: object) -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    async def hang(_: object) -> None:
        go.wait(120)

    monkeypatch.setattr(live, "ROUTES", [*live.ROUTES, Route("/die", die), Route("/hang", hang)])
    monkeypatch.setattr(server, "STUCK_S", 1.0)
    with page_world(tmp_path) as world, world.client() as owner, ExitStack() as stack:
        with suppress(httpx.HTTPError):
            owner.get("/die")
        assert goes_on(world)
        wait_for(lambda: "was lost" in caplog.text)  # the line is cut before that
        found = world.serving.server(PAGE)
        assert found
        wait_for(lambda: found.port and found.problem() is None)
        with Client(found.address, owner.cookies[COOKIE]) as again:
            assert again.get("/access").status_code == 200
            line = stack.enter_context(socket.create_connection(("127.0.0.1", found.port), timeout=20))
            session = f"{COOKIE}={owner.cookies[COOKIE]}"
            line.sendall(f"GET /hang HTTP/1.1\r\nHost: localhost\r\nCookie: {session}\r\n\r\n".encode())
            wait_for(lambda: "does not answer" in (found.problem() or ""))
            assert goes_on(world)
            port = found.port
            world.serving.close()
            socket.create_server(("127.0.0.1", port)).close()  # it can be had
            go.set()


def test_a_stream_without_end_does_not_keep_the_server_from_closing():
    async def parts():
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    async def stream(_: object) -> StreamingResponse:
        return StreamingResponse(parts())

    found = WebServer("127.0.0.1:0", Starlette(routes=[Route("/", stream)]), "streams")
    wait_for(lambda: found.port)
    with closing(found), httpx.stream("GET", found.address, trust_env=False) as response:
        received = response.iter_bytes()
        next(received)
        found.close()
        assert not found._thread.is_alive()
        assert found.port is None
        with pytest.raises(httpx.HTTPError):
            for _ in received:
                pass


# TLS.


def trusting(state: Path) -> ssl.SSLContext:
    """TLS of a client that trusts the authority of this state folder and no other."""
    der = authority.identity(state / "phone", [authority.LOOPBACK], authority.host_name()).authority
    return ssl.create_default_context(cadata=der)


def test_the_page_is_encrypted_where_others_reach_it(tmp_path):
    with page_world(tmp_path, page=EVERYWHERE) as world:
        port = place(world)[1]
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/login", trust_env=False)
        with Client(f"https://127.0.0.1:{port}", verify=trusting(world.state)) as client:
            entered = client.change("/login", {"passphrase": OWNER})
            assert entered.status_code == 303
            for cookie in entered.headers.get_list("Set-Cookie"):
                assert "Secure" in cookie
            assert SECURE_COOKIE in client.cookies
            assert client.get("/access").status_code == 200
            plain = {"Cookie": f"{COOKIE}={client.cookies.pop(SECURE_COOKIE)}"}
            assert client.get("/access", headers=plain).status_code == 303, "another program may have set it"
            strange = client.get("/access", headers={"Host": "raspberrypi.lan"})
            assert strange.status_code == 421
            assert "names" not in strange.text, "its certificate would not have that name"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(b"\x16\x03\x01 no handshake")
            while line.recv(100):
                pass
        assert goes_on(world)


def test_plain_http_for_others_only_where_it_is_allowed_and_that_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "edge.page")
    with page_world(tmp_path, page=replace(EVERYWHERE, allow_http=True)) as world:
        assert httpx.get(f"http://127.0.0.1:{place(world)[1]}/login", trust_env=False).status_code == 200
    assert "anyone in the network can read the page's passphrase" in caplog.text
    assert "the page is on http" in caplog.text
    assert "the page is on http://0.0.0.0" not in caplog.text, "that cannot be opened"


def test_the_certificate_is_renewed_while_the_page_serves(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "RENEW_S", 0.2)
    alarm = stand_in(tmp_path, page=EVERYWHERE)
    with closing(Serving(lambda: alarm, None, None, lambda: "bear-alarm page claim")) as serving:
        serving.follow()
        found = serving.server(PAGE)
        assert found
        place = "127.0.0.1", wait_for(lambda: found.port)
        before = ssl.get_server_certificate(place)
        monkeypatch.setattr(authority, "host_name", lambda: "another-name")
        wait_for(lambda: ssl.get_server_certificate(place) != before)
        (tmp_path / "phone" / "server.pem").write_text("damaged")
        wait_for(lambda: "keeps its certificate of before" in (alarm.asked[PAGE]() or ""))
        assert ssl.get_server_certificate(place)
        (tmp_path / "phone" / "server.pem").unlink()
        wait_for(lambda: alarm.asked[PAGE]() is None)


def test_a_certificate_that_cannot_be_made_is_a_problem_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "PORT_RETRY_MIN_S", 0.1)
    (tmp_path / "phone").write_text("in the way")
    alarm = stand_in(tmp_path, page=EVERYWHERE)
    with closing(Serving(lambda: alarm, None, None, lambda: "bear-alarm page claim")) as serving:
        serving.follow()
        problem = str(wait_for(alarm.asked[PAGE]))
        assert re.search(r"^0\.0\.0\.0:0 is not served: .*cannot be kept there", problem)
        (tmp_path / "phone").unlink()
        found = serving.server(PAGE)
        assert found
        wait_for(lambda: found.port and alarm.asked[PAGE]() is None)  # the problem ends after the port is had


@pytest.mark.needs_tool("chromium", "certutil")
def test_chromium_that_trusts_the_authority_logs_in_over_https(tmp_path):
    pytest.importorskip("playwright")
    from playwright.sync_api import Error

    from tests.phone.test_certificate_in_a_browser import page, trust

    with page_world(tmp_path, page=EVERYWHERE) as world:
        url = f"https://127.0.0.1:{place(world)[1]}/login"
        with page(tmp_path / "stranger") as opened, pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            opened.goto(url)
        who = authority.identity(world.state / "phone", [authority.LOOPBACK], authority.host_name())
        trust(tmp_path / "home", who.authority)
        with page(tmp_path / "home") as opened:
            complaints: list[str] = []
            opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            opened.goto(url)
            opened.get_by_label("Passphrase").fill(OWNER)
            opened.get_by_role("button", name="Log in").click()
            opened.goto(url.replace("login", "access"))
            assert opened.get_by_role("heading", level=1).inner_text() == "Who may get in"
            assert opened.evaluate("document.cookie") == "", "no script reads the session"
            assert {each["name"]: each["secure"] for each in opened.context.cookies()}[SECURE_COOKIE]
            assert [each for each in complaints if "404" not in each] == []


# Reloads.


def test_the_alarm_waits_for_no_certificate_and_for_no_page_that_hangs(tmp_path, monkeypatch):
    go, began = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        began.set()
        go.wait(120)
        raise OptionError("at last")

    monkeypatch.setattr("edge.page.serving.page_identity", hang)
    alarm = stand_in(tmp_path, page=EVERYWHERE)
    with closing(Serving(lambda: alarm, None, None, lambda: "bear-alarm page claim")) as page:
        page.follow()  # a disk that hangs below the certificate
        assert began.wait(30)
        old = page.server(PAGE)
        assert old
        alarm = stand_in(tmp_path, page=PageSettings(listen="127.0.0.1:0"))
        page.follow()
        assert old._thread.is_alive(), "it was waited for"
        new = page.server(PAGE)
        assert new
        assert wait_for(lambda: new.port)
        go.set()


def stand_in(state: Path, **settings: Any) -> Any:
    """As much of an alarm as the servers ask for."""
    asked: dict[str, object] = {}
    return SimpleNamespace(
        settings=Settings(**settings), state=state, alerting=None, asked=asked, ask=asked.__setitem__
    )


def test_a_reload_opens_again_only_what_has_changed(tmp_path):
    health, page = HealthSettings(listen="127.0.0.1:0"), PageSettings(listen="127.0.0.1:0")
    alarm = stand_in(tmp_path, health=health, page=page)
    with closing(Serving(lambda: alarm, None, None, lambda: "bear-alarm page claim")) as serving:
        serving.follow()
        first = serving.server(PAGE), serving.server(TELEMETRY)
        alarm = stand_in(tmp_path, health=health, page=page)
        serving.follow()
        assert (serving.server(PAGE), serving.server(TELEMETRY)) == first
        assert set(alarm.asked) == {PAGE, TELEMETRY}, "the new alarm's health asks too"
        alarm = stand_in(tmp_path, health=health, page=replace(page, names=("bees.example.org",)))
        serving.follow()
        assert serving.server(TELEMETRY) is first[1]
        assert serving.server(PAGE) is not first[0]
        old = first[0]
        assert old
        wait_for(lambda: old.port is None)
        alarm = stand_in(tmp_path, page=page)
        serving.follow()
        assert serving.server(TELEMETRY) is None
        assert set(alarm.asked) == {PAGE}


@pytest.mark.alone
def test_watch_moves_its_page_on_sighup_and_sessions_live_on(tmp_path):
    yard_model(tmp_path / "tiny.onnx")
    ports = free_port(), free_port()
    with LiveYard() as yard:

        def configure(port: int) -> None:
            config = (
                f"model: tiny.onnx\nbell: no\nstate: state\nrecord: no\npage: {port}\ncameras: {{yard: {yard.url}}}\n"
            )
            (tmp_path / "bear-alarm.yml").write_text(config)

        configure(ports[0])
        with watching(cwd=tmp_path) as alarm:
            alarm.until(f"the page is on http://127.0.0.1:{ports[0]}")
            alarm.until("`bear-alarm page claim`")
            accounts = Accounts(tmp_path / "state")
            cookie = accounts.claim(accounts.new_claim(), OWNER)
            with Client(f"http://127.0.0.1:{ports[0]}", cookie) as owner:
                assert owner.get("/access").status_code == 200
            configure(ports[1])
            alarm.hang_up()
            awaited = f"the page is on http://127.0.0.1:{ports[1]}", "was read again"  # in any order
            while not all(words in "\n".join(alarm.said) for words in awaited):
                alarm.until("")
            with Client(f"http://127.0.0.1:{ports[1]}", cookie) as owner:
                assert owner.get("/access").status_code == 200
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"http://127.0.0.1:{ports[0]}/login", trust_env=False)
