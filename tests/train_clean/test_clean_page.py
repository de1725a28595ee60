"""The page on which labels are decided, in a browser: keys, undo, categories, reload, its file, the server."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("cleanlab")
pytest.importorskip("playwright")

from tests.helpers.clean_world import ODD, rows_of, six_pictures
from train.clean.page import Review, open_server, page
from train.clean.suspects import BEAR_INSIDE, NO_BEAR_HERE
from train.data.catalog import read_catalog
from train.data.decisions import append_decisions, digest_of, live, read_decisions, read_table
from train.data.pictures import TRAINING_LABELS

BROWSER = pytest.mark.needs_tool("chromium")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six small pictures."""
    return six_pictures(tmp_path)


@pytest.fixture
def rows(root: Path) -> list[dict[str, Any]]:
    """The page's rows."""
    return rows_of(root)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def window(browser: Any) -> Iterator[Any]:
    """A page of a fresh profile; whatever it complains of fails the test."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: faults.append(dialog.message))
    opened.on("request", lambda request: faults.append(request.url) if request.url.startswith("https:") else None)
    yield opened
    context.close()
    assert faults == []


def written(rows: list[dict[str, Any]], tmp_path: Path) -> str:
    """The page's address on the disk."""
    file = tmp_path / "clean.html"
    file.write_text(page(rows, "run 1234"), encoding="utf-8")
    return file.as_uri()


def press(window: Any, keys: str) -> None:
    """Type keys one by one."""
    for key in keys.split():
        window.keyboard.press(key)


def verdicts(window: Any) -> list[str]:
    """Return the text of each card."""
    found: list[str] = window.locator(".card .was").all_inner_texts()
    return found


def told(window: Any, words: str) -> None:
    """Wait until the page shows this of what it keeps."""
    from playwright.sync_api import expect

    expect(window.locator("#kept")).to_have_text(re.compile(f"^{words}"), timeout=20000)


def saved(window: Any, tmp_path: Path) -> Path:
    """The file the page hands out."""
    with window.expect_download() as waiting:
        window.keyboard.press("s")
    assert waiting.value.suggested_filename == "decisions.csv"
    waiting.value.save_as(tmp_path / "decisions.csv")
    return tmp_path / "decisions.csv"


@BROWSER
def test_keys_decide_and_the_file_is_what_the_command_takes(
    window: Any, rows: list[dict[str, Any]], root: Path, tmp_path: Path
) -> None:
    window.goto(written(rows, tmp_path))
    press(window, "k r 2 d ArrowRight r Enter")
    assert verdicts(window) == ["kept", "→ black_bear", "deleted", "", "→ no_bear", ""]
    assert window.locator("#count").inner_text() == "4 of 6 decided"
    decisions = read_table(saved(window, tmp_path))
    assert [(row.decision, row.before, row.after) for row in decisions] == [
        ("keep", "no_bear", "no_bear"),
        ("relabel", "no_bear", TRAINING_LABELS[1]),
        ("delete", "no_bear", ""),
        ("relabel", "brown_bear", "no_bear"),
    ]
    assert all(row.sha256 == digest_of(root / row.file) and row.by == "run 1234" for row in decisions)
    assert ODD in {row.file for row in decisions}
    assert append_decisions(root, decisions) == decisions
    assert sorted(read_catalog(root).count("label").items()) == [("black_bear", 1), ("brown_bear", 2), ("no_bear", 2)]


@BROWSER
def test_undo_takes_back_one_by_one_and_the_file_has_them(
    window: Any, rows: list[dict[str, Any]], root: Path, tmp_path: Path
) -> None:
    window.goto(written(rows, tmp_path))
    press(window, "k d")
    append_decisions(root, read_table(saved(window, tmp_path)))  # taken before the person thinks again
    press(window, "u")
    assert verdicts(window)[:3] == ["kept", "", ""]
    press(window, "r 1 ArrowLeft r 2 u")
    assert verdicts(window)[:3] == ["kept", "→ brown_bear", ""]
    press(window, "u u u u")
    assert verdicts(window) == [""] * 6
    append_decisions(root, read_table(saved(window, tmp_path)))
    assert live(read_decisions(root)) == []


@BROWSER
def test_nothing_is_lost_when_the_category_is_switched_or_the_page_is_loaded_again(
    window: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    window.goto(written(rows, tmp_path))
    press(window, "d k")
    window.select_option("#category", NO_BEAR_HERE)
    assert verdicts(window) == [""] * 3
    press(window, "r 5")
    window.select_option("#category", BEAR_INSIDE)
    assert verdicts(window) == ["deleted", "kept", ""]
    window.reload()
    assert verdicts(window) == ["deleted", "kept", "", "→ no_bear", "", ""]
    assert "3 not saved to a file yet" in window.locator("#kept").inner_text()
    window.select_option("#category", BEAR_INSIDE)
    press(window, "u")  # of another category: it is shown, so that one sees what was taken back
    assert verdicts(window) == ["deleted", "kept", "", "", "", ""]
    assert len(read_table(saved(window, tmp_path))) == 4
    assert window.locator("#kept").inner_text() == "saved"


@BROWSER
def test_two_windows_on_one_page_keep_each_others_decisions(
    window: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    address = written(rows, tmp_path)
    window.goto(address)
    other = window.context.new_page()
    other.goto(address)
    press(window, "d")
    press(other, "ArrowRight k")
    press(window, "ArrowRight k")
    both = ["deleted", "kept", "kept", "", "", ""]
    for each in (other, window):  # by then the browser has what each of them wrote
        expect(each.locator(".card .was")).to_have_text(both, timeout=20000)
    window.reload()
    assert verdicts(window) == both


@BROWSER
def test_a_picture_is_shown_with_its_twin_and_its_name_is_only_a_name(
    window: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    window.goto(written(rows, tmp_path))
    assert "nearly the same, labelled brown_bear" in window.locator("#twin").inner_text()
    assert window.locator("#twin img").evaluate("image => image.naturalWidth") == 32
    while ODD not in window.locator("#words").inner_text():
        press(window, "ArrowRight")
    assert window.locator("img[src=x]").count() == 0
    press(window, "r Escape k")
    assert "kept" in verdicts(window)


@pytest.fixture
def served(rows: list[dict[str, Any]], root: Path) -> Iterator[str]:
    """The page served from the loopback address."""
    server, url = open_server(Review(rows, root, "run 1234"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


@BROWSER
def test_the_served_page_writes_each_decision_at_once(window: Any, served: str, root: Path) -> None:
    window.goto(served)
    for keys, count in (("k", 1), ("r 2", 2), ("d", 3), ("u", 4)):
        press(window, keys)
        told(window, "written")
        assert len(read_decisions(root)) == count
    window.reload()
    assert verdicts(window) == ["kept", "→ black_bear", "", "", "", ""]
    assert not window.locator("#save").is_visible()


@BROWSER
def test_what_could_not_be_written_is_shown_and_written_when_the_command_is_back(
    window: Any, rows: list[dict[str, Any]], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: "token")
    server, url = open_server(Review(rows, root, "run 1234"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    window.goto(url)
    server.shutdown()
    server.server_close()
    thread.join()
    press(window, "d")
    told(window, "1 not written yet")
    assert read_decisions(root) == []
    window.close()
    again = window.context.new_page()
    server, _ = open_server(Review(rows, root, "run 1234"), int(url.split("/")[2].partition(":")[2]))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    again.goto(url)
    told(again, "written")
    server.shutdown()
    server.server_close()
    thread.join()
    assert [row.decision for row in read_decisions(root)] == ["delete"]


def test_the_page_needs_nothing_from_outside(rows: list[dict[str, Any]]) -> None:
    html = page(rows, "run")
    assert "default-src 'none'" in html
    assert "http://" not in html
    assert "https://" not in html
    data = html.partition('id="data">')[2].partition("</script>")[0]
    assert "<" not in data
    assert {row["file"] for row in json.loads(data)["rows"]} == {row["file"] for row in rows}
