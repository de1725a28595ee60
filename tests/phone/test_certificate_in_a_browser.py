"""Chromium, once it trusts the authority as a phone does, opens the app with no certificate error, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from cryptography import x509

from edge.detect.classifier import BUNDLED
from edge.phone import authority, folder
from tests.helpers.phone_server import FILES, served

pytestmark = [pytest.mark.slow, pytest.mark.needs_tool("chromium", "certutil")]
CAMERA = "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"


@contextmanager
def page(home: Path, *flags: str) -> Iterator[Any]:
    """A page of a new chromium with a home of its own; it never ignores a certificate error."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", *flags],  # as root
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        )
        yield browser.new_page()
        browser.close()


def trust(home: Path, certificate: bytes) -> None:
    """Let chromium with this home trust an authority, beside those of the system."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    (home / "ca.crt").write_bytes(certificate)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    subprocess.run([*certutil, "-A", "-n", "bear-alarm", "-t", "C,,", "-i", str(home / "ca.crt")], check=True)


def test_chromium_opens_the_app_once_it_trusts_the_authority(tmp_path: Path):
    from playwright.sync_api import Error

    folder.write(tmp_path / "app", BUNDLED)
    with served(folder.read(tmp_path / "app"), tmp_path / "state") as (servers, who):
        with page(tmp_path / "stranger") as opened, pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            opened.goto(servers.app_url)
        trust(tmp_path / "home", who.authority)
        with page(tmp_path / "home", *CAMERA) as opened:
            complaints: list[str] = []
            opened.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
            opened.on("pageerror", lambda error: complaints.append(str(error)))
            opened.goto(servers.app_url)
            opened.locator("h1").first.wait_for()
            assert opened.title() == "Bear Alarm"
            secure = opened.evaluate("[isSecureContext, crossOriginIsolated, 'mediaDevices' in navigator]")
            assert secure == [True, True, True]
            opened.locator("#install").get_by_text("Ready, also without signal").wait_for(timeout=120_000)  # every file
            assert complaints == []


@pytest.mark.parametrize(("host", "error"), [("hive.local", None), ("bears.example", "ERR_CERT_INVALID")])
def test_chromium_refuses_what_the_authority_signs_for_a_public_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, error: str | None
):
    from playwright.sync_api import Error

    monkeypatch.setattr(authority, "_names", lambda *_: [x509.DNSName(host)])
    with served(FILES, tmp_path / "state") as (servers, who):
        trust(tmp_path / "home", who.authority)
        with page(tmp_path / "home", f"--host-resolver-rules=MAP {host} 127.0.0.1") as opened:
            address = servers.app_url.replace("127.0.0.1", host)
            if error is None:
                opened.goto(address)
                assert opened.locator("title").inner_text() in ("Stand-in", "isolated true")
            else:
                with pytest.raises(Error, match=error):
                    opened.goto(address)
