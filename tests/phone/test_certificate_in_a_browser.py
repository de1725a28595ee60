"""Chromium, once it trusts the authority as a phone does, opens the app with no certificate error; not before."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from tests.helpers.phone_world import served, stand_in

pytestmark = [pytest.mark.slow, pytest.mark.needs_tool("chromium", "certutil")]
FLAGS = ("--no-sandbox",)  # as root; certificates are never ignored


def opened(address: str, home: Path) -> tuple[str, Any]:
    """Open an address in a new chromium with a home of its own; return the error, or the title and what is secure."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=list(FLAGS), env={"HOME": str(home), "PATH": "/usr/bin:/bin"}
        )
        try:
            page = browser.new_page()
            try:
                page.goto(address)
            except Error as error:
                return str(error), None
            page.wait_for_function("document.title.startsWith('isolated')")
            return page.title(), page.evaluate("[isSecureContext, crossOriginIsolated, 'mediaDevices' in navigator]")
        finally:
            browser.close()


def test_chromium_opens_the_app_once_it_trusts_the_authority(tmp_path: Path):
    home = tmp_path / "home"
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    with served(stand_in(tmp_path / "app"), tmp_path / "state") as (servers, who):
        error, _ = opened(servers.app_url, home)
        assert "ERR_CERT_AUTHORITY_INVALID" in error
        (tmp_path / "ca.crt").write_bytes(who.authority)
        subprocess.run([*certutil, "-A", "-n", "bear-alarm", "-t", "C,,", "-i", str(tmp_path / "ca.crt")], check=True)
        title, secure = opened(servers.app_url, home)
        assert title == "isolated true"
        assert secure == [True, True, True]
