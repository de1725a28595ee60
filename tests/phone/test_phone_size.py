"""Bytes that a phone fetches and keeps: all that the first visit needs, as `bear-alarm phone --serve` sends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.phone_host import Host, contents, hosted, write_app
from tests.helpers.phone_web import chromium

MB = 1_000_000
GZIP_MB, STORED_MB = 10, 22
COMPILED_MB = 5  # that chromium keeps beside the files, of its own: compiled scripts, compiled WebAssembly
WRITTEN_ONLY = {"written.json", "sw.js", "ThirdPartyNotices.txt"}  # in the folder, not in the app's own cache

# The address of each cached file, and its bytes.
KEPT = """async () => {
  const kept = [];
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      kept.push([request.url, (await (await cache.match(request)).blob()).size]);
    }
  }
  return kept;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app of this checkout with the model that ships."""
    return write_app(tmp_path_factory.mktemp("size") / "app")


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    with hosted(folder) as served:
        yield served


def names(folder: Path) -> set[str]:
    """Every file of the app."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_sent_with_gzip_and_what_is_stored(folder: Path):
    files = contents(folder).values()
    sent = sum(len(each.data if each.packed is None else each.packed) for each in files)
    stored = sum(len(each.data) for each in files)
    assert 5 * MB < sent <= GZIP_MB * MB
    assert 15 * MB < stored <= STORED_MB * MB


@pytest.mark.slow
@pytest.mark.needs_tool("chromium")
def test_a_first_visit_fetches_each_file_once_and_no_more_than_allowed(folder: Path, host: Host):
    with chromium() as browser:
        page = browser.new_page()
        page.goto(host.address)
        page.click("#check-start")
        page.locator("#rows [data-row=model]:is([data-outcome=ok], [data-outcome=warn])").wait_for(timeout=120_000)
        kept = dict(page.evaluate(KEPT))
        usage = page.evaluate("navigator.storage.estimate()")["usage"]
    assert sum(size for _, size in host.sent) <= GZIP_MB * MB
    assert sum(kept.values()) <= STORED_MB * MB
    assert usage <= (STORED_MB + COMPILED_MB) * MB
    assert {url.removeprefix(host.address) for url in kept} == names(folder) - WRITTEN_ONLY
    model = json.loads((folder / "model.json").read_text())["file"]
    large = [path for path, size in host.sent if size > 100_000]
    assert sorted(large) == sorted([model, "ort-wasm-simd-threaded.wasm"])
