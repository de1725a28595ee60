"""The served page where the disk is full, and where two windows of it decide: no key that was pressed is lost."""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("cleanlab")
pytest.importorskip("playwright")

from tests.helpers.clean_world import rows_of, six_pictures
from train.clean.page import Review, open_server
from train.data.decisions import digest_of, read_decisions

BROWSER = pytest.mark.needs_tool("chromium")


@pytest.fixture
def review(tmp_path: Path) -> Review:
    """Six small pictures and the page's rows."""
    root = six_pictures(tmp_path)
    return Review(rows_of(root), root, "run 1234")


@contextmanager
def served(review: Review, port: int = 0) -> Iterator[str]:
    """The page's address while it is served."""
    server, url = open_server(review, port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def profile(browser: Any) -> Iterator[Any]:
    """A fresh profile, whose windows share what the browser keeps; whatever a page complains of fails the test."""
    context = browser.new_context()
    context.set_default_timeout(60000)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    yield context
    context.close()
    assert faults == []


def shows(window: Any, words: str, cards: list[str]) -> None:
    """Wait until the page shows this of what it keeps, and this on its first cards."""
    from playwright.sync_api import expect

    expect(window.locator("#kept")).to_have_text(re.compile(words), timeout=60000)
    for place, card in enumerate(cards):
        expect(window.locator(".card .was").nth(place)).to_have_text(card)


def kept(window: Any) -> int:
    """Return how many rows the browser keeps."""
    found: int = window.evaluate("Object.keys(localStorage).filter((key) => key.includes('\\n')).length")
    return found


def rows_in(review: Review) -> list[tuple[str, str]]:
    """The decisions that were written, sorted."""
    return sorted((row.file, row.decision) for row in read_decisions(review.root))


@BROWSER
def test_while_the_disk_is_full_decisions_wait_and_the_reason_is_shown(
    profile: Any, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with served(review) as url:
        window = profile.new_page()
        window.goto(url)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            window.keyboard.press("d")
            shows(window, "1 not written yet: .*No space left on device", ["deleted", ""])
            window.keyboard.press("k")
            shows(window, "2 not written yet", ["deleted", "kept", ""])
            assert rows_in(review) == []
            assert kept(window) == 2
            window.reload()
            shows(window, "2 not written yet", ["deleted", "kept", ""])
        shows(window, "^written$", ["deleted", "kept", ""])
        assert [decision for _, decision in rows_in(review)] == ["delete", "keep"]
        assert kept(window) == 0


@BROWSER
def test_a_decision_that_is_refused_is_taken_off_its_card_and_shown_until_the_next_one(
    profile: Any, review: Review
) -> None:
    with served(review) as url:
        window = profile.new_page()
        window.goto(url)
        row = next(row for row in review.rows if window.locator("#words").inner_text().startswith(row["file"] + ":"))
        row["bytes"] += 1  # the picture is no more as this page shows it
        window.keyboard.press("d")
        shows(window, "^refused: .*not as this page shows it", ["", ""])
        assert kept(window) == 0
        row["bytes"] -= 1
        window.keyboard.press("k")
        shows(window, "^written$", ["", "kept", ""])
        assert [decision for _, decision in rows_in(review)] == ["keep"]


@BROWSER
@pytest.mark.parametrize("closed", [True, False])
def test_two_windows_keep_what_the_other_one_could_not_write(
    profile: Any, review: Review, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: "token")
    one, other = profile.new_page(), profile.new_page()
    with served(review) as url:
        for window in (one, other):
            window.goto(url)
    one.keyboard.press("d")
    shows(one, "1 not written yet", ["deleted", ""])
    shows(other, "1 not written yet", ["deleted", ""])  # it has heard of it
    other.keyboard.press("ArrowRight")
    other.keyboard.press("k")
    shows(other, "2 not written yet", ["deleted", "kept", ""])
    if closed:
        one.close()
    with served(review, int(url.split("/")[2].partition(":")[2])):
        shows(other, "^written$", ["deleted", "kept", ""])
        if not closed:
            shows(one, "^written$", ["deleted", "kept", ""])
        assert [decision for _, decision in rows_in(review)] == ["delete", "keep"]
        assert kept(other) == 0
        third = profile.new_page()
        third.goto(url)
        shows(third, "^written$", ["deleted", "kept", ""])


@BROWSER
def test_what_a_page_of_an_older_version_kept_is_written(profile: Any, review: Review) -> None:
    with served(review) as url:
        window = profile.new_page()
        window.goto(url)
        first = review.rows[0]
        row = {"time": "2026-11-28T08:00:00.000000+00:00", "decision": "delete", "before": first["label"], "after": ""}
        row |= {"file": first["file"], "sha256": first["sha256"], "bytes": str(first["bytes"]), "by": "run 1234"}
        window.evaluate("(row) => localStorage.setItem(STORE, JSON.stringify({ log: [row] }))", row)
        window.reload()
        shows(window, "^written$", ["deleted", ""])
        assert kept(window) == 0
    assert [(row.file, row.decision) for row in read_decisions(review.root)] == [(first["file"], "delete")]
    assert digest_of(review.root / first["file"]) == first["sha256"]
