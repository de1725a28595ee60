"""Models on the page: what everybody sees of the new one, and the buttons of the owner."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.minisign import SecretKey
from edge.model_store import Entry, Installed, ModelStore
from edge.page.accounts import Accounts
from edge.settings import UpdateSettings
from edge.update import updates
from edge.update.attempt import How
from edge.update.sources import Sources
from edge.update.updates import CHANGED, Updates, UpdateStanding
from tests.helpers.fake_camera import LiveYard, watching
from tests.helpers.page_world import OWNER, Client, World, page_world, wait_for
from tests.helpers.signed_models import current, offer, trusting, waiting
from tests.page.test_live import AXE
from tests.page.test_stages import browsing, check_looks, plain

HOSTILE = "<script>alert(1)</script>"
KEY = "0123456789ABCDEF"
ASKS = "300 frames in 168 h are needed"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """The store of a device on which a signed model has been in use for long."""
    found = ModelStore.of(tmp_path / "state")
    current(found, "old", serial=3, key=KEY, source="/media/stick")
    return found


@pytest.fixture
def world(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Its page; of a new model a person is asked at once."""
    monkeypatch.setattr(updates, "LOOK_S", 0.1)
    sources = str(tmp_path / "stick"), "https://example.org/new.onnx?token=hunter2"
    with page_world(tmp_path, model=None, updates=UpdateSettings(sources, ask_h=0.0)) as made:
        yield made


def updates_of(world: World) -> Updates:
    assert world.alarm.updates
    return world.alarm.updates


def arrive(world: World, store: ModelStore) -> Entry:
    """Have a new model come, and wait until a person is asked about it."""
    entry: Entry = waiting(store, HOSTILE, serial=4, key=KEY, source="https://example.org/<b>.onnx")
    wait_for(lambda: updates_of(world).standing.asks)
    return entry


def press(client: Client, what: str, model: Entry | None) -> int:
    """Press a button that was shown for a model; return the status of the answer."""
    return client.change("/model", {"what": what, "model": model.sha256 if model else ""}).status_code


def asked(client: Client, place: str) -> bool:
    """Return True if a page says at its top that the owner is asked."""
    return "hidden" not in client.get(place).text.partition('id="asks"')[2].partition(">")[0]


def test_a_model_that_is_named_takes_no_updates(tmp_path: Path) -> None:
    with page_world(tmp_path) as world, world.client() as owner:
        assert '<a href="/model">' in owner.get("/health").text
        assert "no other one is tried or taken here" in owner.get("/model").text
        assert press(owner, "back", None) == 409


def test_everybody_sees_what_is_installed_and_tried_and_hostile_names_are_text(world: World, store: ModelStore) -> None:
    key = SecretKey.new()
    trusting(store, key)
    new = arrive(world, store)
    with world.client("viewer") as viewer:
        for place in ("/", "/events", "/model"):
            assert asked(viewer, place)
        page = viewer.get("/model").text
    assert "<script>alert" not in page
    assert "hunter2" not in page
    assert "<b>.onnx" not in page
    assert f"&lt;script&gt;alert(1)&lt;/script&gt;@{new.sha256[:12]}" in page
    assert '<progress max="300" value="' in page
    assert 'name="what"' not in page
    words = plain(page)
    for each in (
        ASKS,
        "Serial 3 Signed by key 0123456789ABCDEF From /media/stick",
        key.public.name,
        "The owner decides",
        "https://example.org Nothing to look at came yet",
    ):
        assert each in words
    assert "still watches" not in words


def test_the_owner_alone_decides_of_the_model_that_was_shown(world: World, store: ModelStore) -> None:
    old, new = store.read().current, arrive(world, store)
    with world.client("viewer") as viewer, world.client() as owner:
        assert press(viewer, "use", new) == 403
        assert owner.post("/model", data={"what": "use", "model": new.sha256}).status_code == 403  # no CSRF token
        refused = owner.change("/model", {"what": "use", "model": "0" * 64})
        assert (refused.status_code, CHANGED[1:] in refused.text) == (409, True)
        assert press(owner, "burn", new) == 400
        assert (store.read().current, store.read().waiting) == (old, new)
        assert press(owner, "use", new) == 303
        held = store.read()
        assert (held.current and held.current.sha256, held.previous) == (new.sha256, old)
        assert press(owner, "use", new) == 409  # a second click
        assert not asked(owner, "/")
        assert "The new model was chosen." in owner.get("/model?done=use").text
        words = plain(owner.get("/model").text)
        assert f"The alarm still watches with {world.alarm.classifier.name}, until it starts again" in words
        assert press(owner, "back", new) == 303
        assert store.read().current == old
        wait_for(lambda: "chosen by owner" in plain(owner.get("/events?kind=notice").text))


def test_a_new_model_is_removed_and_the_one_in_use_stays(world: World, store: ModelStore) -> None:
    old, new = store.read().current, arrive(world, store)
    with world.client() as owner:
        assert "Go back" not in owner.get("/model").text
        assert press(owner, "remove", new) == 303
        assert (store.read().current, store.read().waiting) == (old, None)
        assert "Go back" in owner.get("/model").text


def test_one_sentence_says_how_far_the_new_model_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Entry("a" * 64, "new@aaaaaaaaaaaa")
    beside, kept, later = "It is tried beside", "This board has too little memory", "It waits until the model in use"

    def stands(how: How, problem: str | None = None, *, proven: bool = True) -> UpdateStanding:
        return UpdateStanding(Installed(waiting=new, proven=proven), None, UpdateSettings(), "", how, (), "", problem)

    cases = [
        (stands("beside"), beside),
        (stands("kept"), kept),
        (stands("", proven=False), later),
        (stands("beside", "it cannot be loaded"), "it cannot be loaded"),
        (stands("kept", "it cannot be loaded"), "it cannot be loaded"),
    ]
    with world.client("viewer") as viewer:
        for standing, words in cases:
            monkeypatch.setattr(Updates, "standing", standing)
            page = plain(viewer.get("/model").text).lower()
            assert [each for each in (beside, kept, later, "it cannot be loaded") if each.lower() in page] == [words]


def look_now(sources: Sources, true: Callable[[], object]) -> None:
    """Have the stick looked at until something is true; a look that was under way sets its own time again."""

    def asked() -> object:
        sources._sources[0].due = 0.0
        return true()

    wait_for(asked)


def test_a_refused_stick_is_shown_until_it_is_taken_out(world: World, store: ModelStore, tmp_path: Path) -> None:
    trusting(store, SecretKey.new())
    offer(tmp_path / "stick", SecretKey.new())
    updates = updates_of(world)
    with world.client("viewer") as viewer:
        look_now(updates.sources, updates.sources.refusal)
        words = plain(viewer.get("/model").text)
        assert re.search(
            r"/stick Looked at \d+(\.\d)? s ago: .*not trusted here.* or when the files there change\.", words
        )
        assert 'role="alert"' in viewer.get("/model").text
        (tmp_path / "stick").rename(tmp_path / "drawer")
        look_now(updates.sources, lambda: updates.sources.refusal() is None)
        assert "not trusted here" not in viewer.get("/model").text
        assert f"{tmp_path}/stick, https://example.org (what came of them)" in plain(viewer.get("/settings").text)


def test_without_a_usable_key_the_page_says_what_to_do(world: World, store: ModelStore) -> None:
    with world.client("viewer") as viewer:
        assert "bear-alarm model trust KEY.pub" in viewer.get("/model").text
        store.change(lambda found: replace(found, keys=("RWQ",)))
        wait_for(lambda: updates_of(world).standing.installed.keys)
        answer = viewer.get("/model")
        assert (answer.status_code, "this is no public key of minisign" in answer.text) == (200, True)


@pytest.mark.alone
@pytest.mark.slow
def test_the_alarm_of_a_config_takes_it_over_and_the_page_shows_it_at_once(store: ModelStore, tmp_path: Path) -> None:
    new = waiting(store)
    with LiveYard() as yard:
        config = f"cameras:\n  yard: {yard.url}\npage: 127.0.0.1:0\nstate: state\nrecord: no\n"
        (tmp_path / "bear-alarm.yml").write_text(config)
        with watching(cwd=tmp_path) as watch:
            address = re.search(r"http://127\.0\.0\.1:\d+", watch.until("the page is on"))
            assert address
            accounts = Accounts(tmp_path / "state")
            cookie = accounts.claim(accounts.new_claim(), OWNER)
            with Client(address[0], cookie) as owner:
                access = accounts.of_session(cookie)
                assert access
                owner.csrf = access.csrf
                assert press(owner, "use", wait_for(lambda: "Use it" in owner.get("/model").text and new)) == 303
                wait_for(lambda: new.name in owner.get("/health").text)
                assert f"The model in use Model {new.name}" in plain(owner.get("/model").text)
            os.kill(watch.process.pid, signal.SIGTERM)


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_the_owner_uses_the_new_model_in_a_browser(world: World, store: ModelStore) -> None:
    with browsing(world) as page:
        page.goto(f"{world.address}/health")
        new = arrive(world, store)
        page.locator("#asks").get_by_role("link").click()  # it comes by itself
        page.get_by_role("heading", name="The new model").wait_for()
        check_looks(page)
        page.get_by_role("button", name="Use it").focus()
        page.keyboard.press("Enter")
        page.get_by_text("The new model was chosen.").wait_for()
        page.wait_for_url(f"{world.address}/model")  # loaded again, it says so no more
        found = store.read().current
        assert found
        assert found.sha256 == new.sha256
        page.locator("#asks").wait_for(state="hidden")


def test_a_switch_waits_for_the_clip_of_a_bear_that_has_left(world: World, store: ModelStore) -> None:
    wait_for(lambda: not updates_of(world)._busy())
    world.yard.bear = True
    wait_for(updates_of(world)._busy)
    world.yard.bear = False
    wait_for(lambda: not any(each.watcher.decider.open_incidents for each in world.alarm.threads))
    assert updates_of(world)._busy(), "its clip is not made yet"
    wait_for(lambda: not updates_of(world)._busy(), 120.0)  # a busy machine makes clips last
