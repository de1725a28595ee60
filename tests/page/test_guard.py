"""Requests of strangers and of hostile pages: what each is refused with, and that nothing of it is written."""

from __future__ import annotations

import json
import logging
import re
import socket
import tracemalloc

import pytest

from edge.page.guard import BODY_MAX_BYTES, COOKIE
from tests.helpers.page_world import World, page_world

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; media-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
OURS = "127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "192.168.1.20", "bees.example.org"
STRANGE = (
    "evil.example",
    "127.0.0.1.evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1,evil.example",
    "",
    "2130706433",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from edge.settings import PageSettings

    page = PageSettings(listen="127.0.0.1:0", names=("bees.example.org",))
    with page_world(tmp_path_factory.mktemp("world"), page=page) as found:
        yield found


@pytest.fixture(scope="module")
def owner(world):
    with world.client() as found:
        yield found


def raw(world: World, request: bytes) -> str:
    """Return everything that comes back for these bytes."""
    host, port = world.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(request)
        found = b""
        while more := line.recv(65536):
            found += more
        return found.decode()


@pytest.mark.parametrize(("host", "fits"), [*((each, True) for each in OURS), *((each, False) for each in STRANGE)])
def test_a_name_that_is_not_ours_is_refused_though_it_leads_here(owner, host, fits):
    """DNS rebinding: a page of evil.example whose name server gives this machine's address."""
    found = owner.get("/access", headers={"Host": host and f"{host}:8470"})
    assert found.status_code == (200 if fits else 421)
    if not fits:
        assert "use an address of its log" in found.text
        assert "evil" not in found.text


def test_two_hosts_are_no_request(world):
    assert raw(world, b"GET /login HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").startswith(
        "HTTP/1.1 400"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},  # another program's page on this machine
        {"Origin": ""},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/access", "/login", "/claim", "/logout"])
def test_a_change_that_another_sites_page_asks_for_is_refused(owner, path, headers):
    refused = owner.change(path, {"what": "log-out-all"}, headers=headers)
    assert refused.status_code == 403
    assert owner.get("/access").status_code == 200, "nobody was logged out"


def test_a_change_needs_the_sessions_own_csrf_token(world, owner):
    with world.client() as other:
        for csrf in ("", "guess", other.csrf):
            refused = owner.change("/access", {"what": "log-out-all"}, headers={"X-CSRF-Token": csrf})
            assert refused.status_code == 403
        field = {"what": "end-token", "name": "none", "csrf": owner.csrf}
        assert owner.change("/access", field, headers={"X-CSRF-Token": ""}).status_code == 400, "there is no such token"
        assert other.get("/access").status_code == 200, "nobody was logged out"


def test_the_headers_of_every_response_keep_a_browser_from_harm(world, owner):
    for path in ("/access", "/login", "/static/page.css", "/nothing", "/manifest.webmanifest"):
        found = owner.get(path)
        assert {name: found.headers[name] for name in HEADERS} == HEADERS
    assert owner.get("/access").headers["Cache-Control"] == "no-store"
    for path in ("/access", "/login"):
        assert not re.search(r"<script(?![^>]*src)|<style| style=| on[a-z]+=", owner.get(path).text)
    with world.client("") as nobody:
        assert {name: nobody.get("/").headers[name] for name in HEADERS} == HEADERS


def test_tokens_look_and_those_with_the_scope_review_review(world, owner):
    view, review = world.accounts.new_token("ha", "view"), world.accounts.new_token("sorter", "review")
    with world.client("") as program:
        del program.headers["Accept"]
        assert program.get("/nothing").status_code == 401
        assert program.get("/nothing", headers={"Accept": "application/json"}).json() == {"error": "log in first"}
        for token, reviewed in ((view, 403), (review, 404)):
            program.headers["Authorization"] = f"Bearer {token}"
            assert program.get("/nothing").status_code == 404
            assert program.get("/access").status_code == 403
            assert program.post("/access", data={"what": "log-out-all"}).status_code == 403
            assert program.post("/logout").status_code == 403
            assert program.post("/reviews", json={}).status_code == 403
            assert program.post("/review/nothing", json={"x": 1}).status_code == reviewed
        world.accounts.end_token("sorter")
        assert program.get("/nothing").status_code == 401


def test_a_form_of_ten_megabytes_is_refused_and_fills_no_memory(world, owner):
    def parts():
        for _ in range(160):
            yield b"x" * 65_536

    url_encoded = {"Content-Type": "application/x-www-form-urlencoded", "Origin": world.address}
    with world.client("") as nobody:
        tracemalloc.start()
        try:
            for headers in (url_encoded, url_encoded | {"Content-Length": str(160 * 65_536)}):
                refused = nobody.post("/login", content=parts(), headers=headers)
                assert refused.status_code == 413
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()
        assert nobody.get("/login").status_code == 200
    with world.client("") as nobody:
        fits = nobody.change("/login", {"passphrase": "x" * (BODY_MAX_BYTES - 100)})
        assert fits.status_code == 403


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b'{"passphrase": "\\ud800"}'),
        ("application/json", b"[" * 100_000),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/x-www-form-urlencoded", b"\xff"),
        ("application/x-www-form-urlencoded", b"a=1&" * 2000),
    ],
)
def test_what_is_no_form_is_refused(owner, kind, body):
    assert owner.change("/access", content=body, headers={"Content-Type": kind}).status_code == 400


def test_a_script_sends_json(world, owner):
    sent = owner.change("/access", content=json.dumps({"what": "end-token", "name": 7}))
    assert sent.status_code == 400, "without its type it is no form of the page"
    world.accounts.new_token("7", "view")
    sent = owner.change(
        "/access", content=b'{"what": "end-token", "name": 7}', headers={"Content-Type": "application/json"}
    )
    assert sent.status_code == 303
    assert "7" not in world.accounts.tokens


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(owner, method):
    assert owner.request(method, "/access").status_code == 405


def test_an_upgrade_to_a_websocket_is_answered_as_a_page(world):
    found = raw(
        world,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert re.match(r"HTTP/1.1 (303|401)", found)


@pytest.mark.parametrize(
    "path", ["/static/../access.py", "/static/%2e%2e/guard.py", "/static/..%2fguard.py", "//access"]
)
def test_nothing_but_the_static_files_is_public(world, path):
    found = raw(world, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert re.match(r"HTTP/1.1 (303|401|404)", found)


def test_nothing_is_written_of_what_strangers_send(world, capfd, caplog):
    caplog.set_level(logging.DEBUG, "edge")
    with world.client("") as nobody:
        nobody.get("/x?token=hush", headers={"Cookie": f"{COOKIE}=hush"})
        nobody.get("/", headers={"Authorization": "Bearer hush"})
        nobody.change("/login", {"passphrase": "hush hush hush"})
        nobody.get("/claim?code=hush")
        assert nobody.change("/settings", headers={"Referer": "http://[hush"}).status_code == 401
    raw(world, b"\x16\x03\x01hush\r\n\r\n")
    host, port = world.address.removeprefix("http://").split(":")
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Length: 99\r\n\r\nhush"
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(head)  # and goes
    with world.client("") as nobody:
        assert nobody.get("/login").status_code == 200
    assert "hush" not in caplog.text + "".join(capfd.readouterr())
    # Nobody answered here: an answer of an earlier test may still wait for its event, and then warns.
    loud = [each for each in caplog.records if each.levelno >= logging.WARNING and each.threadName != "answers"]
    assert loud == []
