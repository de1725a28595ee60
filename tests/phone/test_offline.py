"""The web app's service worker and its first download, in a browser: without signal, with newer versions, halfway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from tests.helpers.phone_app import until
from tests.helpers.phone_web import Site, chromium, write_app, write_model

pytestmark = pytest.mark.needs_tool("chromium", "node")

ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
FIRST, SECOND = b"first model " * 500_000, b"second model " * 500_000  # they come in many pieces
APP_FILES = {"app.js", "index.html", "runtime.wasm", "worker.js"}
PREPARE = """async () => {
  globalThis.shares = [];
  try { return await install.prepare((share) => shares.push(share)); }
  catch (error) { return { fault: error.fault ?? String(error), detail: error.message }; }
}"""
FAILS = "([sha256, failure]) => install.modelFails(sha256, failure)"
OFFERED = "() => { dispatchEvent(new Event('online')); return offers.includes('app'); }"
MODEL_TEXT = "async (model) => (await (await fetch(model)).text()).slice(0, 12)"
LISTED = "async () => (await clients.matchAll({ type: 'window', includeUncontrolled: true })).length"
WORKER = "new Promise((got) => new Worker('worker.js').onmessage = ({ data }) => got(data))"
DOWNLOADED = """async () => {
  while ((await navigator.serviceWorker.getRegistration()).installing) await new Promise((on) => setTimeout(on, 20));
}"""
APP_CACHES = (
    "async () => (await caches.keys()).filter((name) => name.includes(' app ')).map((name) => name.split(' ').at(-1))"
)
MODEL_CACHES = (
    "async () => (await caches.keys()).filter((name) => name.includes(' model ')).map((name) => name.split(' ').at(-1))"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A host with version 1 of the stand-in app and the first model."""
    folder = tmp_path / "host"
    write_app(folder, "1")
    write_model(folder, FIRST)
    served = Site(folder)
    yield served
    served.close()


@pytest.fixture
def window(browser: Any, site: Site) -> Iterator[Any]:
    """A page of a fresh profile that has opened the app."""
    context = browser.new_context()
    opened = context.new_page()
    opened.goto(site.address)
    opened.wait_for_function("globalThis.install")
    yield opened
    context.close()


def reload(window: Any) -> None:
    window.reload()
    window.wait_for_function("globalThis.install")


def failure(window: Any) -> str:
    """The fault of a ``prepare`` that fails."""
    found = window.evaluate(PREPARE)
    assert "fault" in found, found
    return str(found["fault"])


def installed(window: Any) -> Any:
    """The result of ``prepare``."""
    found = window.evaluate(PREPARE)
    assert "fault" not in found, found
    return found


@pytest.mark.parametrize("headers", [{}, ISOLATED], ids=["plain", "isolated"])
def test_after_the_first_visit_it_starts_without_signal(browser: Any, site: Site, headers: dict[str, str]) -> None:
    site.headers = headers
    context = browser.new_context()
    window = context.new_page()
    window.goto(site.address)
    window.wait_for_function("globalThis.install")
    found = installed(window)
    assert found["model"].startswith(site.address + "model-")
    shares = window.evaluate("shares")
    assert shares == sorted(shares)
    assert len(shares) > 5
    assert shares[-1] == 1
    assert window.evaluate("navigator.serviceWorker.controller !== null"), "this very visit is served already"
    site.down = True
    site.asked.clear()
    window.goto(site.address + "?from=home")
    window.wait_for_function("globalThis.install")
    assert installed(window) == found
    assert window.evaluate(MODEL_TEXT, found["model"]) == "first model "
    assert window.evaluate(WORKER) == "worker 1"
    assert window.evaluate("crossOriginIsolated") is bool(headers)
    window.goto(site.address + "index.html")
    window.wait_for_function("globalThis.install")
    assert installed(window) == found
    assert not APP_FILES & set(site.asked), "nothing of it was asked of the host"
    context.close()


def test_a_host_that_redirects_the_page_is_as_good(browser: Any, site: Site) -> None:
    site.redirects = {"index.html": "/bears/app/start.html"}
    (site.folder / "start.html").write_bytes((site.folder / "index.html").read_bytes())
    context = browser.new_context()
    window = context.new_page()
    window.goto(site.address + "start.html")
    window.wait_for_function("globalThis.install")
    installed(window)
    site.down = True
    window.goto(site.address)
    window.wait_for_function("globalThis.install")
    installed(window)
    context.close()


def test_a_new_model_comes_alone_and_waits_for_the_next_start(window: Any, site: Site) -> None:
    old = installed(window)
    second = write_model(site.folder, SECOND)
    site.asked.clear()
    window.evaluate("watch()")
    window.wait_for_function("offers.length > 0")
    assert window.evaluate("offers") == ["model"]
    assert not APP_FILES & set(site.asked)
    assert window.evaluate(MODEL_TEXT, old["model"]) == "first model ", "it still watches with the old one"
    site.down = True
    reload(window)
    new = installed(window)
    assert new["sha256"] == second
    assert window.evaluate(MODEL_TEXT, new["model"]) == "second model"
    assert window.evaluate(MODEL_CACHES) == [old["sha256"], second], "the old one stays until the new one works"
    window.evaluate("install.modelWorks", second)
    assert window.evaluate(MODEL_CACHES) == [second]


def test_a_model_that_the_host_withdrew_does_not_start(window: Any, site: Site) -> None:
    old = installed(window)
    second = write_model(site.folder, SECOND)
    window.evaluate("watch()")
    window.wait_for_function("offers.length === 1")
    write_model(site.folder, FIRST)
    window.evaluate("watch()")
    window.wait_for_function("offers.length === 2")
    assert window.evaluate(MODEL_CACHES) == [second, old["sha256"]]
    reload(window)
    assert installed(window) == old


def test_a_new_model_that_does_not_start_gives_way_to_the_old_one(window: Any, site: Site) -> None:
    old = installed(window)
    second = write_model(site.folder, SECOND)
    window.evaluate("watch()")
    assert window.evaluate("offers") == ["model"]
    assert window.evaluate(FAILS, [second, "model-wrong"]) is True
    reload(window)
    assert installed(window) == old
    site.asked.clear()
    window.evaluate("watch()")
    assert window.evaluate("offers") == []
    assert not [name for name in site.asked if name.startswith("model-")], "it is not fetched again and again"


@pytest.mark.parametrize("failure", ["model-corrupt", "model-card", "model-wrong"])
def test_the_only_model_is_never_locked_out(window: Any, site: Site, failure: str) -> None:
    model = installed(window)
    site.asked.clear()
    assert window.evaluate(FAILS, [model["sha256"], failure]) is False, "the host has no other"
    assert not [name for name in site.asked if name.startswith("model-")], "the phone has the very same"
    site.down = True
    assert window.evaluate(FAILS, [model["sha256"], failure]) is False
    reload(window)
    assert installed(window) == model
    site.down = False
    second = write_model(site.folder, SECOND)
    assert window.evaluate(FAILS, [model["sha256"], failure]) is True, "the host has a mended one"
    assert installed(window)["sha256"] == second


@pytest.mark.parametrize("failure", ["model-missing", "runtime", "memory"])
def test_what_may_pass_takes_no_model_away(window: Any, site: Site, failure: str) -> None:
    installed(window)
    second = write_model(site.folder, SECOND)
    window.evaluate("watch()")
    window.wait_for_function("offers.length > 0")
    assert window.evaluate(FAILS, [second, failure]) is False
    assert installed(window)["sha256"] == second


def test_a_model_whose_bytes_have_changed_on_the_phone_is_fetched_anew(window: Any, site: Site) -> None:
    model = installed(window)
    window.evaluate(
        "async ([name, file]) => (await caches.open(name)).put(file, new Response('x'))",
        [f"bear-alarm model /bears/app/ {model['sha256']}", model["model"]],
    )
    site.down = True
    assert window.evaluate(FAILS, [model["sha256"], "model-corrupt"]) is False
    assert window.evaluate(MODEL_CACHES) == [model["sha256"]]
    site.down = False
    assert window.evaluate(FAILS, [model["sha256"], "model-corrupt"]) is True
    assert installed(window) == model
    assert window.evaluate(MODEL_TEXT, model["model"]) == "first model "


def test_models_that_all_failed_are_still_there(window: Any, site: Site) -> None:
    old = installed(window)
    second = write_model(site.folder, SECOND)
    window.evaluate("watch()")
    window.wait_for_function("offers.length > 0")
    assert window.evaluate(FAILS, [second, "model-wrong"]) is True
    window.evaluate("(sha256) => caches.delete(`bear-alarm model /bears/app/ ${sha256}`)", old["sha256"])
    site.down = True
    reload(window)
    assert installed(window)["sha256"] == second


def test_a_restart_in_one_tab_changes_nothing_in_another(window: Any, site: Site) -> None:
    installed(window)
    write_app(site.folder, "2")
    other = window.context.new_page()
    other.goto(site.address)
    other.wait_for_function("globalThis.install")
    installed(other)
    other.evaluate("watch()")
    other.wait_for_function(OFFERED, polling=500)
    said: list[str] = []

    def close(dialog: Any) -> None:
        said.append(dialog.message)
        dialog.accept()

    other.on("dialog", close)
    with other.expect_event("load"):
        other.evaluate("void install.restart()")
    assert said == ["The app is open in another tab or window. Close that one first, then restart this one."]
    assert window.evaluate(WORKER) == "worker 1", "its detector may be started again at any time"
    assert set(window.evaluate(APP_CACHES)) == {"1", "2"}
    window.close()
    other.wait_for_function("globalThis.install")
    until(lambda: {each.evaluate(LISTED) for each in other.context.service_workers} == {1}, 30)  # it has heard of it
    other.evaluate("void install.restart()")
    other.wait_for_function("document.title === '2'")
    assert other.evaluate(WORKER) == "worker 2"
    assert len(said) == 1


def test_a_new_app_comes_alone_and_starts_when_it_is_told_to(window: Any, site: Site) -> None:
    installed(window)
    write_app(site.folder, "2")
    site.asked.clear()
    window.evaluate("watch()")
    window.wait_for_function("offers.length > 0")
    assert window.evaluate("offers") == ["app"]
    assert {"app.js", "index.html", "worker.js"} <= set(site.asked)
    assert "runtime.wasm" not in site.asked, "the large file has not changed"
    assert not [name for name in site.asked if name.startswith("model-")]
    reload(window)
    assert window.title() == "1", "nothing is forced, not even by a reload"
    window.evaluate("void install.restart()")
    window.wait_for_function("document.title === '2'")
    window.wait_for_function("globalThis.install")
    installed(window)
    site.down = True
    reload(window)
    assert window.title() == "2"
    assert window.evaluate(WORKER) == "worker 2"
    assert window.evaluate(APP_CACHES) == ["2"]


@pytest.mark.parametrize("cut", ["worker.js", "model"])
def test_half_a_download_never_replaces_what_works(window: Any, site: Site, cut: str) -> None:
    old = installed(window)
    write_app(site.folder, "2")
    second = write_model(site.folder, SECOND)
    site.cut = {f"model-{second[:12]}.onnx" if cut == "model" else cut}
    window.evaluate("watch()")
    window.wait_for_function("offers.length > 0")
    window.evaluate(DOWNLOADED)
    assert window.evaluate("offers") == (["app"] if cut == "model" else ["model"])
    if cut == "model":
        assert window.evaluate(MODEL_CACHES) == [old["sha256"]]
        reload(window)
        assert installed(window) == old
    else:
        site.down = True
        reload(window)
        installed(window)
        assert window.title() == "1"
        assert window.evaluate(WORKER) == "worker 1"
    site.down, site.cut = False, set()
    reload(window)
    window.evaluate("watch()")
    # The browser may join this look with one of its own that began while the host was away, so signal comes back twice.
    window.wait_for_function(OFFERED, polling=500)


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("missing", lambda site: (site.folder / "runtime.wasm").unlink()),
        ("damaged", lambda site: (site.folder / "runtime.wasm").write_bytes(b"<html>not found</html>")),
        ("offline", lambda site: site.cut.add("runtime.wasm")),
    ],
)
def test_a_first_download_that_fails_says_why_and_goes_on_from_there(
    window: Any, site: Site, fault: str, spoil: Any
) -> None:
    whole = (site.folder / "runtime.wasm").read_bytes()
    spoil(site)
    assert failure(window) == fault
    site.cut.clear()
    (site.folder / "runtime.wasm").write_bytes(whole)
    site.asked.clear()
    installed(window)
    assert "runtime.wasm" in site.asked
    assert "app.js" not in site.asked, "what had come was kept"


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("missing", lambda site, file: file.unlink()),
        ("damaged", lambda site, file: file.write_bytes(FIRST[:-1])),
        ("model-missing", lambda site, file: site.cut.add(file.name)),
        ("damaged", lambda site, file: (site.folder / "model.json").write_text("<html>")),
    ],
)
def test_a_model_that_fails_to_come_says_why_and_may_be_tried_again(
    window: Any, site: Site, fault: str, spoil: Any
) -> None:
    [file] = site.folder.glob("model-*.onnx")
    spoil(site, file)
    assert failure(window) == fault
    site.cut.clear()
    digest = write_model(site.folder, FIRST)
    assert installed(window)["sha256"] == digest


def test_a_host_that_is_away_at_the_first_visit(window: Any, site: Site) -> None:
    site.down = True
    assert failure(window) == "offline"
    site.down = False
    installed(window)


def test_a_model_that_the_browser_deleted_is_missed_at_once(window: Any, site: Site) -> None:
    digest = installed(window)["sha256"]
    window.evaluate(
        "async () => { for (const n of await caches.keys()) if (n.includes(' model ')) await caches.delete(n); }"
    )
    site.down = True
    reload(window)
    assert failure(window) == "model-missing"
    site.down = False
    assert installed(window)["sha256"] == digest


def test_other_pages_in_its_folder_stay_what_they_are(window: Any, site: Site) -> None:
    (site.folder / "photos.html").write_text("<!doctype html><title>Photos</title>")
    installed(window)
    window.goto(site.address + "photos.html")
    assert window.title() == "Photos"


def test_a_browser_without_service_workers_is_told_so(browser: Any, site: Site) -> None:
    context = browser.new_context()
    context.add_init_script("delete Navigator.prototype.serviceWorker")
    window = context.new_page()
    window.goto(site.address)
    window.wait_for_function("globalThis.install")
    assert failure(window) == "unsupported"
    context.close()


def test_another_app_on_the_same_host_keeps_its_caches(window: Any, site: Site) -> None:
    window.evaluate("caches.open('bear-alarm app /other/ 1')")
    window.evaluate("caches.open('bear-alarm model /other/ 1')")
    digest = installed(window)["sha256"]
    window.evaluate("install.modelWorks", digest)
    assert set(window.evaluate("caches.keys()")) >= {"bear-alarm app /other/ 1", "bear-alarm model /other/ 1"}
