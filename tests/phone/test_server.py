"""The servers of `bear-alarm phone --serve`, asked by a client that trusts their own authority and nothing else."""

from __future__ import annotations

import errno
import gzip
import http.client
import io
import ipaddress
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import cv2
import numpy as np
import pytest

from edge.cli.output import qr_code as code_of
from edge.cli.phone import _address as address_of
from edge.cli.phone import _files as files_of
from edge.cli.phone import _shown as shown_by
from edge.errors import OptionError
from edge.phone import folder as app_folder
from edge.phone.authority import LOOPBACK, Identity, OwnAddress, identity
from edge.phone.server import MOST_CLIENTS, Servers
from tests.helpers.command import ROOT, bear_alarm
from tests.helpers.phone_server import FILES, WASM, served, stand_in
from tests.helpers.tiny import model_bytes, tiny_card


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Identity]]:
    """The stand-in, served from a folder that holds a file of nobody's business too."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "bear.onnx").write_bytes(model_bytes(tiny_card()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_folder, "APP", stand_in(folder / "package"))
        app_folder.write(folder / "app", folder / "bear.onnx")
    (folder / "secret.txt").write_text("secret")
    (folder / "app" / "link.txt").symlink_to(folder / "secret.txt")
    (folder / "app" / ".hidden").write_text("secret")
    with served(app_folder.read(folder / "app"), folder / "state") as (servers, who):
        yield servers, who


def asked(
    servers: Servers, who: Identity | None, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask the app's server, or without an identity the plain one."""
    at = urlsplit(servers.app_url if who else servers.page_url)
    line: http.client.HTTPConnection
    if who:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.load_verify_locations(cadata=who.authority)
        line = http.client.HTTPSConnection(at.hostname or "", at.port, context=trusting, timeout=20)
    else:
        line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    line.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = line.getresponse()
    data = answer.read()
    line.close()
    return answer, data


@pytest.mark.parametrize(
    ("path", "kind", "data"),
    [
        ("/", "text/html; charset=utf-8", FILES["index.html"]),
        ("/index.html?from=home", "text/html; charset=utf-8", FILES["index.html"]),
        ("/app.js", "text/javascript; charset=utf-8", FILES["app.js"]),
        ("/run.wasm", "application/wasm", WASM),
        ("/manifest.webmanifest", "application/manifest+json", FILES["manifest.webmanifest"]),
        ("/icons/icon.png", "image/png", FILES["icons/icon.png"]),
    ],
)
def test_files_come_with_their_type_and_what_a_page_with_threads_needs(site, path: str, kind: str, data: bytes):
    servers, who = site
    answer, body = asked(servers, who, path)
    assert (answer.status, body) == (200, data)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]
    assert "'unsafe-eval'" not in answer.headers["Content-Security-Policy"]
    assert "Python" not in answer.headers["Server"]


def test_what_gets_smaller_is_packed_for_those_who_take_it(site):
    servers, who = site
    answer, body = asked(servers, who, "/run.wasm", Accept_Encoding="deflate, gzip;q=0.8")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(body) < len(WASM) / 10
    assert gzip.decompress(body) == WASM
    assert answer.headers["Vary"] == "Accept-Encoding"
    plain, body = asked(servers, who, "/run.wasm", Accept_Encoding="br")
    assert (plain.headers["Content-Encoding"], body) == (None, WASM)
    assert plain.headers["ETag"] == answer.headers["ETag"]
    assert answer.headers["ETag"].startswith('W/"'), "one for two encodings is a weak one"
    picture, _ = asked(servers, who, "/icons/icon.png", Accept_Encoding="gzip")
    assert picture.headers["Content-Encoding"] is None


def test_a_known_file_is_not_sent_again_until_it_changes(site, tmp_path: Path):
    servers, who = site
    first, _ = asked(servers, who, "/app.css")
    again, body = asked(servers, who, "/app.css", If_None_Match=f'"other", {first.headers["ETag"]}')
    assert (again.status, body) == (304, b"")
    with served(FILES | {"app.css": b"body { color: darkgreen }"}, tmp_path) as (newer, its):
        changed, body = asked(newer, its, "/app.css", If_None_Match=first.headers["ETag"])
    assert (changed.status, body) == (200, b"body { color: darkgreen }")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/icons/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/hosts",
        "/%2fetc/hosts",
        "/link.txt",
        "/.hidden",
        "/icons",
        "/icons/",
        "/no%00thing",
        "/written.json",
        "//[",
        "/" + "n" * 5000,
    ],
)
def test_nothing_but_files_of_the_folder_is_given_out(site, path: str):
    servers, who = site
    answer, body = asked(servers, who, path)
    assert answer.status == 404
    assert b"secret" not in body
    assert b"icon.png" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_nothing_can_be_sent(site, method: str):
    servers, who = site
    assert asked(servers, who, "/app.js", method)[0].status == 501


def test_plain_http_gives_out_the_authority_and_the_steps_and_nothing_else(site):
    servers, who = site
    answer, certificate = asked(servers, None, "/bear-alarm-ca.crt")
    assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert certificate == who.authority
    answer, page = asked(servers, None, "/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    text = page.decode()
    assert who.fingerprint in " ".join(text.split())
    assert all(f"{line}\n" in text or f"{line}</pre>" in text for line in who.fingerprint_lines)
    assert "Compare the phone with the terminal, not with this page" in text
    assert f'href="{servers.app_url}"' in text
    assert "Android" in text
    assert "Certificate Trust Settings" in text
    assert servers.name_url == f"https://hive.local:{urlsplit(servers.app_url).port}/"
    assert f'href="{servers.name_url}"' in text
    assert not re.search(r"<script|src=|https?://(?!127\.0\.0\.1|hive\.local)", text), "the page fetches nothing"
    for path in ("/index.html", "/app.js", "/run.wasm", "/server.pem", "/authority.pem", "/../state/authority.pem"):
        assert asked(servers, None, path)[0].status == 404, path


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("DE", "de"),
        ("fr-FR,fr;q=0.9,de;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr,den;q=0.5", "en"),
        ("", "en"),
    ],
)
def test_the_steps_come_in_the_phones_language(site, accepted: str, language: str):
    servers, who = site
    answer, page = asked(servers, None, "/", Accept_Language=accepted)
    assert answer.headers["Vary"] == "Accept-Encoding, Accept-Language"
    text = page.decode()
    assert f'<html lang="{language}">' in text
    assert page == asked(servers, None, f"/{language}")[1]
    other = {"de": "en", "en": "de"}[language]
    assert f'href="/{other}"' in text
    steps = {"en": "Trusted credentials", "de": "Vertrauenswürdige Anmeldedaten"}
    assert steps[language] in text
    assert steps[other] not in text
    for what in (servers.app_url, servers.name_url, "/bear-alarm-ca.crt"):
        assert f'href="{what}"' in text
    assert who.fingerprint in " ".join(text.split())


def test_a_client_that_says_nothing_holds_up_nobody(site):
    servers, who = site
    at = urlsplit(servers.app_url)
    with socket.create_connection((at.hostname, at.port)):
        assert asked(servers, who, "/")[0].status == 200  # before the silent one is given up


def test_too_many_clients_are_turned_away_until_one_leaves(site):
    servers, _ = site
    at = urlsplit(servers.page_url)
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection((at.hostname, at.port))) for _ in range(MOST_CLIENTS)]
        with socket.create_connection((at.hostname, at.port), timeout=20) as late:
            assert late.recv(1) == b""
        crowd[0].close()
        until = time.monotonic() + 20
        while (reply := reply_to(at, b"GET / HTTP/1.1")) == b"" and time.monotonic() < until:
            time.sleep(0.05)
    assert reply.startswith(b"HTTP/1.1 200")


def reply_to(at: SplitResult, request_line: bytes) -> bytes:
    """Return the answer to a request on plain HTTP; empty where the line is cut."""
    with socket.create_connection((at.hostname, at.port), timeout=20) as line:
        try:
            line.sendall(request_line + b"\r\nConnection: close\r\n\r\n")
            return line.makefile("rb").read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET //[ HTTP/1.1", b"404"),
        (b"GET http://[ HTTP/1.1", b"404"),
        (b"GET /\xff%ff%zz HTTP/1.1", b"404"),
        (b"GET / HTTP/9.x", b"400"),
        (b"\x16\x03\x01 \x00", b"400"),
        (b"one two three four five", b"400"),
        (b"GET /" + b"n" * 70_000 + b" HTTP/1.1", b"414"),
    ],
)
def test_a_bad_request_is_refused_and_nothing_is_told_of_it(site, caplog, request_line: bytes, status: bytes):
    servers, _ = site
    caplog.set_level(logging.INFO)
    assert status in reply_to(urlsplit(servers.page_url), request_line)
    assert asked(servers, None, "/")[0].status == 200
    assert caplog.messages == []


def test_a_phone_that_does_not_trust_the_certificate_yet_is_told_of(site, caplog: pytest.LogCaptureFixture):
    servers, _ = site
    at = urlsplit(servers.app_url)
    caplog.set_level(logging.INFO, "edge")
    line = http.client.HTTPSConnection(at.hostname or "", at.port, context=ssl.create_default_context(), timeout=20)
    with pytest.raises(ssl.SSLCertVerificationError):
        line.request("GET", "/")
    until = time.monotonic() + 10
    while not caplog.messages and time.monotonic() < until:
        time.sleep(0.05)
    assert caplog.messages == [f"127.0.0.1 does not trust this certificate yet: open {servers.page_url} there"]


def test_a_port_in_use_is_one_sentence_and_the_other_port_is_given_back():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = probe.getsockname()[1]
        with pytest.raises(OptionError, match=f"^--port {taken}: is in use by another program"):
            Servers(LOOPBACK, taken, free, None)
        with pytest.raises(OptionError, match=f"^--http-port {taken}: is in use by another program"):
            Servers(LOOPBACK, free, taken, None)
    with pytest.raises(OptionError, match="are both 8443"):
        Servers(LOOPBACK, 8443, 8443, None)
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", free)) == errno.ECONNREFUSED


# The command.


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model, beside a stand-in for the app."""
    monkeypatch.setattr(app_folder, "APP", stand_in(tmp_path / "package"))
    (tmp_path / "bear.onnx").write_bytes(model_bytes(tiny_card()))
    return tmp_path / "bear.onnx"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("8.8.8.8", "is not in a private network"),
        ("10.255.254.253", "is not an address of this machine"),
        ("hive", "is no address of a network"),
    ],
)
def test_an_address_that_cannot_be_served_is_one_sentence(tmp_path: Path, model: Path, host: str, said: str):
    ran = bear_alarm("phone", tmp_path / "out", "--serve", "--model", model, "--host", host)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1
    assert said in ran.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [(["192.168.7.20"], "name one of 192.168.7.20\n"), ([], "leave --host out\n")],
)
def test_a_phone_is_not_sent_to_loopback(model: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], said: str):
    own = [*(OwnAddress(ipaddress.ip_address(each), "") for each in more), OwnAddress(LOOPBACK, "is for this machine")]
    monkeypatch.setattr("edge.phone.authority.own_addresses", lambda: own)
    ran = bear_alarm("phone", "--serve", "--model", model, "--host", "192.168.9.9")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith(f"is not an address of this machine; {said}")


def test_localhost_is_an_address():
    assert address_of("localhost") == LOOPBACK


def test_a_machine_without_a_network_is_one_sentence(model: Path, monkeypatch: pytest.MonkeyPatch):
    mobile = ipaddress.ip_address("100.64.0.7")
    own = [OwnAddress(mobile, "is not in a private network"), OwnAddress(LOOPBACK, "is for this machine alone")]
    monkeypatch.setattr("edge.phone.authority.own_addresses", lambda: own)
    ran = bear_alarm("phone", "--serve", "--model", model)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "bear-alarm: this machine has no address that a phone reaches: 100.64.0.7 is not in a private network; "
        "127.0.0.1 is for this machine alone; connect it to a network, such as a phone's hotspot\n"
    )


@pytest.mark.parametrize("more", [[], ["--update"]])
def test_a_port_in_use_leaves_everything_alone(tmp_path: Path, model: Path, more: list[str]):
    if more:
        app_folder.write(tmp_path / "out", model)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = ["phone", tmp_path / "out", "--serve", "--host", "127.0.0.1", "--port", port, "--http-port", 0, *more]
        ran = bear_alarm(*words, BEAR_ALARM_STATE=str(tmp_path / "state"))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [f"bear-alarm: --port {port}: is in use by another program; name another port"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_app_of_another_version_is_served_with_a_warning(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
):
    app_folder.write(tmp_path / "out", model)
    files = app_folder.read(tmp_path / "out")
    assert files_of(tmp_path / "out", None, False) == files
    assert caplog.messages == []
    (app_folder.APP / "app.js").write_text("newer")
    assert files_of(tmp_path / "out", None, False) == files
    assert caplog.messages == [
        f"{tmp_path / 'out'}: its app is not the one of this version; bring it up to date with --update"
    ]
    assert files_of(tmp_path / "out", str(model), True)["app.js"] == b"newer"
    assert len(caplog.messages) == 1


def test_serve_says_which_folder_it_writes(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    for update, written in ((False, True), (False, False), (True, True)):
        files_of(out, str(model) if written else None, update)
        assert capsys.readouterr().out.startswith(f"{out}: written, ") == written


def test_a_file_that_is_missing_in_the_folder_is_one_sentence(tmp_path: Path, model: Path):
    app_folder.write(tmp_path / "out", model)
    (tmp_path / "out" / "app.js").unlink()
    with pytest.raises(OptionError, match=r"app\.js: cannot be read .*--update"):
        files_of(tmp_path / "out", None, False)


def test_another_model_for_a_folder_that_is_there_needs_update(tmp_path: Path, model: Path):
    app_folder.write(tmp_path / "out", model)
    where = ("--host", "127.0.0.1", "--port", 0, "--http-port", 0)
    ran = bear_alarm("phone", tmp_path / "out", "--serve", *where, "--model", model)
    assert ran.returncode == 2
    assert "--update" in ran.stderr


def test_the_terminal_shows_phones_the_way(site):
    servers, who = site
    others = [ipaddress.ip_address(each) for each in ("10.0.0.5", "192.168.7.20")]
    shown = shown_by(servers, who.fingerprint_lines, others)
    assert "▀" in shown, "the QR code"
    assert servers.page_url in shown
    assert servers.app_url in shown
    assert "If the phone cannot reach it: --host 10.0.0.5 or 192.168.7.20\n" in shown
    assert f"or {servers.name_url}, which stays when the address changes" in shown
    assert [line.strip() for line in shown.splitlines() if line.strip() in who.fingerprint_lines] == (
        who.fingerprint_lines
    )
    assert "cannot reach" not in shown_by(servers, who.fingerprint_lines, [])


def test_the_qr_code_on_the_terminal_is_the_address(monkeypatch: pytest.MonkeyPatch):
    url = "http://192.168.178.123:8080/"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    halves = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    rows = [[halves[sign] for sign in line] for line in code_of(url).splitlines() if line]
    dots = np.array(rows, np.uint8).transpose(0, 2, 1).reshape(2 * len(rows), -1)
    picture = cv2.resize(dots, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    assert cv2.QRCodeDetector().detectAndDecode(picture)[0] == url
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert code_of(url) == "", "a terminal without these letters"


@pytest.mark.skipif(os.name != "posix", reason="no Ctrl-C to send on this system")
def test_the_terminal_shows_where_to_go_and_ctrl_c_ends_it(tmp_path: Path, model: Path):
    code = f"""
import pathlib, edge.phone.folder
edge.phone.folder.APP = pathlib.Path({str(tmp_path / "package")!r})
import ipaddress, edge.phone.authority as authority
others = [authority.OwnAddress(ipaddress.ip_address(each), "") for each in ("10.0.0.5", "192.168.7.20")]
own = authority.own_addresses
authority.own_addresses = lambda: [*others, *(each for each in own() if each.fault)]
authority.host_name = lambda: "hive"
from edge.cli.main import main
main()
"""
    words = ["phone", "--serve", "--host", "127.0.0.1", "--port", "0", "--http-port", "0", "--model", str(model)]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "BEAR_ALARM_STATE": str(tmp_path / "state"),
        "TMPDIR": str(temporary),
        "PYTHONIOENCODING": "utf-8",
    }
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        shown = ""
        assert child.stdout is not None
        for line in child.stdout:
            shown += line
            if "Ctrl-C" in line:
                break
        who = identity(tmp_path / "state" / "phone", [LOOPBACK], "hive")
        page, app = (urlsplit(re.findall(rf"{scheme}://127\.0\.0\.1:\d+/", shown)[0]) for scheme in ("http", "https"))
        assert who.fingerprint in " ".join(shown.split())
        assert all(f"{line}\n" in shown for line in who.fingerprint_lines)
        assert "Only this computer can open it. For phones: --host 10.0.0.5 or 192.168.7.20\n" in shown
        assert "▀" not in shown, "no QR code, for no phone could follow it"
        assert "hive.local" not in shown
        for at in (page, app):
            socket.create_connection((at.hostname, at.port)).close()
        assert not list(temporary.iterdir()), "it serves from memory"
        child.send_signal(signal.SIGINT)
        _, complaints = child.communicate(timeout=30)
        assert (child.returncode, complaints) == (130, "")
    finally:
        child.kill()
        child.wait()
