"""Who gets in: the claim, passphrases and their limits, sessions, viewers, tokens, and the file that keeps them."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.errors import OptionError
from edge.page import accounts as keeping
from edge.page.access import OWN_COOKIE
from edge.page.accounts import FILE, Accounts, TooManyTriesError
from edge.page.guard import COOKIE
from tests.helpers.page_world import OWNER, VIEWER, World, page_world, wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with page_world(tmp_path_factory.mktemp("world")) as found:
        yield found


class Clock:
    """Seconds that a test sets."""

    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setitem(keeping.SCRYPT, "n", 2)  # hundreds of passphrases
    return Clock()


@pytest.fixture
def accounts(tmp_path, clock):
    found = Accounts(tmp_path, clock)
    found.claim(found.new_claim(), OWNER)
    found.set_viewer(VIEWER)
    return found


def wrong(accounts, address, times, own=""):
    """Return the number of these wrong passphrases that were looked at."""
    looked_at = 0
    for number in range(times):
        try:
            accounts.log_in(f"wrong passphrase {number}", address, own)
        except TooManyTriesError:
            continue
        except OptionError:
            looked_at += 1
    return looked_at


# The claim.


def test_a_claim_works_once_and_for_ten_minutes_and_a_later_one_ends_it(tmp_path, clock):
    accounts = Accounts(tmp_path, clock)
    assert not accounts.claimed
    first, second = accounts.new_claim(), accounts.new_claim()
    assert not accounts.claim_fits(first)
    clock.now += keeping.CLAIM_S + 1
    assert not accounts.claim_fits(second)
    third = accounts.new_claim()
    access = accounts.of_session(accounts.claim(third, OWNER))
    assert access
    assert access.owner
    assert accounts.claimed
    for used in (first, second, third, ""):
        with pytest.raises(OptionError, match="another was made after it"):
            accounts.claim(used, "another passphrase")
    assert accounts.log_in(OWNER, "here")


def test_a_claim_gives_a_new_passphrase_and_ends_every_session(accounts):
    before = accounts.log_in(OWNER, "here")
    accounts.claim(accounts.new_claim(), "a passphrase to remember")
    assert accounts.of_session(before) is None
    with pytest.raises(OptionError, match="wrong"):
        accounts.log_in(OWNER, "here")


def test_a_short_passphrase_is_refused_and_the_code_still_works(tmp_path, clock):
    accounts = Accounts(tmp_path, clock)
    code = accounts.new_claim()
    for passphrase in ("ninechars", "x" * 201):
        with pytest.raises(OptionError, match="10 to 200 characters, and this has"):
            accounts.claim(code, passphrase)
    assert accounts.claim(code, OWNER)


def test_a_code_that_does_not_fit_costs_no_scrypt(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_scrypt", lambda *_: pytest.fail("it was computed"))
    with pytest.raises(OptionError, match="was used"):
        Accounts(tmp_path).claim("guess", OWNER)


def test_until_it_is_claimed_the_page_shows_how_and_nothing_else(tmp_path):
    with page_world(tmp_path, claimed=False) as world, world.client("") as nobody:
        for path in ("/", "/events", "/settings", "/access", "/nothing"):
            shown = nobody.get(path)
            assert shown.status_code == 403
            assert "bear-alarm page claim" in shown.text
            assert "<nav" not in shown.text
        assert nobody.get("/static/page.css").status_code == 200
        assert nobody.change("/login", {"passphrase": OWNER}).headers["Location"] == "/"
        assert nobody.get("/claim?code=guess").status_code == 403
        code = world.accounts.new_claim()
        assert code in nobody.get(f"/claim?code={code}").text
        form = {"code": code, "passphrase": OWNER, "again": "something other"}
        differ = nobody.change("/claim", form)
        assert differ.status_code == 400
        assert not world.accounts.claimed
        assert nobody.change("/claim", form | {"again": OWNER}).status_code == 303
        assert nobody.get("/access").status_code == 200, "the owner is logged in"
        used = nobody.change("/claim", form | {"again": OWNER})
        assert used.status_code == 403, "a second time"
        assert "You are the owner already" in used.text


# Logging in and out.


def test_logging_in_over_http(world: World):
    with world.client("") as nobody:
        asked = nobody.get("/events?kind=bear").headers["Location"]
        assert asked == "/login?next=/events%3Fkind%3Dbear"
        assert 'name="next" value="/events?kind=bear"' in nobody.get(asked).text
        refused = nobody.change("/login", {"passphrase": "not this one"})
        assert refused.status_code == 403
        assert "Set-Cookie" not in refused.headers
        entered = nobody.change("/login", {"passphrase": OWNER})
        assert (entered.status_code, entered.headers["Location"]) == (303, "/")
        (session, own) = entered.headers.get_list("Set-Cookie")
        for cookie, name in ((session, COOKIE), (own, OWN_COOKIE)):
            assert cookie.startswith(f"{name}=")
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert "Secure" not in cookie, "there is no TLS"
        assert nobody.get("/access").status_code == 200
        access = world.accounts.of_session(nobody.cookies[COOKIE])
        assert access
        nobody.csrf = access.csrf
        cookie = nobody.cookies[COOKIE]
        assert nobody.change("/logout").headers["Location"] == "/login"
        assert COOKIE not in nobody.cookies
        assert world.accounts.of_session(cookie) is None


@pytest.mark.parametrize(
    ("place", "leads_to"),
    [
        ("/events?kind=bear", "/events?kind=bear"),
        *((each, "/") for each in ("", "//bad.example", "/\\bad.example", "/\t/bad.example", "https://bad.example")),
    ],
)
def test_a_log_in_leads_to_what_was_asked_for_and_to_no_other_site(world: World, place, leads_to):
    with world.client("") as nobody:
        entered = nobody.change("/login", {"passphrase": VIEWER, "next": place})
        assert entered.headers["Location"] == leads_to


def test_a_session_that_ended_while_somebody_typed_leads_back_to_the_form(world: World):
    with world.client("") as nobody:
        refused = nobody.change(
            "/settings", {"detect/fps": "5"}, headers={"Referer": f"{world.address}/zones/yard?x=1"}
        )
        assert refused.status_code == 401
        assert '<a class="button main" href="/login?next=/zones/yard%3Fx%3D1">Log in</a>' in refused.text
        assert "nothing was saved" in refused.text


def test_a_proxy_of_this_machine_with_tls_gets_secure_cookies_and_names_the_client(world: World):
    with world.client("") as client:
        proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.2.3"}
        entered = client.change("/login", {"passphrase": VIEWER}, headers=proxied)
        (session,) = entered.headers.get_list("Set-Cookie")
        assert session.startswith(f"__Host-{COOKIE}=")
        assert "Secure" in session
        assert "Path=/" in session
        cookie = session.partition(";")[0]
        assert client.get("/login", headers=proxied | {"Cookie": cookie}).status_code == 200
        for _ in range(keeping.FREE_TRIES + 1):
            last = client.change("/login", {"passphrase": "not this one"}, headers=proxied)
        assert last.status_code == 429
        proxied["X-Forwarded-For"] = "10.1.2.4"
        assert client.change("/login", {"passphrase": VIEWER}, headers=proxied).status_code == 303


def test_a_viewer_looks_and_changes_nothing(world: World):
    with world.client("viewer") as viewer:
        assert viewer.get("/access").status_code == 403
        for path in ("/access", "/settings", "/review/x", "/nothing"):
            refused = viewer.change(path, {"what": "log-out-all"})
            assert refused.status_code == 403
        assert viewer.change("/logout").status_code == 303


def test_the_owner_says_who_gets_in(world: World):
    with world.client() as owner, world.client("viewer") as before, ExitStack() as stack:
        shown = owner.change("/access", {"what": "token", "name": "home assistant", "scope": "review"})
        assert any(map(world.accounts.of_token, re.findall(r"[\w-]{32}", shown.text))), "it is shown"
        assert world.accounts.tokens == {"home assistant": "review"}
        again = owner.change("/access", {"what": "token", "name": "home assistant", "scope": "view"})
        assert again.status_code == 400
        assert owner.change("/access", {"what": "token", "name": "<b>"}).status_code == 400
        assert owner.change("/access", {"what": "end-token", "name": "home assistant"}).status_code == 303
        assert world.accounts.tokens == {}
        assert owner.change("/access", {"what": "viewer", "passphrase": OWNER}).status_code == 400
        assert owner.change("/access", {"what": "something"}).status_code == 400
        ended = owner.change("/access", {"what": "no-viewer"})
        assert "Nobody but you gets in now." in owner.get(ended.headers["Location"]).text
        assert before.get("/").headers["Location"] == "/login", "the viewer's session is over"
        with pytest.raises(OptionError, match="wrong"):
            world.accounts.log_in(VIEWER, "test")
        saved = owner.change("/access", {"what": "viewer", "passphrase": VIEWER})
        assert "Saved." in owner.get(saved.headers["Location"]).text
        viewer = stack.enter_context(world.client("viewer"))
        ended = owner.change("/access", {"what": "log-out-all"})
        assert "Everybody is logged out, this browser too." in owner.get(ended.headers["Location"]).text
        for client in (owner, viewer):
            assert client.get("/").headers["Location"] == "/login"


def test_sessions_end_after_a_month_and_viewers_push_no_owner_out(accounts, clock):
    owner = accounts.log_in(OWNER, "here")
    for _ in range(keeping.MOST_SESSIONS + 5):
        viewer = accounts.log_in(VIEWER, "there")
    assert accounts.of_session(owner).owner
    assert not accounts.of_session(viewer).owner
    clock.now += keeping.SESSION_S + 1
    assert accounts.of_session(owner) is None
    clock.now -= 2 * keeping.SESSION_S  # the clock was wrong
    assert accounts.of_session(owner) is None


def test_a_clock_that_is_set_back_ends_no_session_and_no_typo_makes_anybody_wait(accounts, clock):
    owner = accounts.log_in(OWNER, "here")
    assert wrong(accounts, "here", 1) == 1
    clock.now -= 80_000
    assert accounts.of_session(owner)
    assert accounts.log_in(OWNER, "here")


# Guessing.


def test_one_address_that_guesses_waits_longer_and_longer_and_the_owner_elsewhere_does_not(accounts, clock):
    assert wrong(accounts, "10.0.0.66", 20) == keeping.FREE_TRIES
    with pytest.raises(TooManyTriesError, match=r"try again in 2 s"):
        accounts.log_in(OWNER, "10.0.0.66")
    tries = 0
    for _ in range(3600):  # an hour
        clock.now += 1.0
        tries += wrong(accounts, "10.0.0.66", 3)
    assert tries < 25
    assert accounts.log_in(OWNER, "10.0.0.7")
    clock.now += keeping.MAX_PAUSE_S
    assert accounts.log_in(OWNER, "10.0.0.66"), "five minutes after the last guess"


def test_many_addresses_that_guess_get_one_try_in_ten_seconds_in_all(accounts, clock):
    tries = 0
    for number in range(3600):
        clock.now += 1.0
        tries += wrong(accounts, f"fe80::{number:x}", 3)
    assert tries <= keeping.STOCK + 3600 / keeping.REFILL_S
    with pytest.raises(TooManyTriesError) as found:
        accounts.log_in(OWNER, "10.0.0.7")
    assert int(str(found.value).split()[-2]) <= keeping.REFILL_S, "a new browser of the owner's waits for seconds"
    clock.now += keeping.REFILL_S
    assert accounts.log_in(OWNER, "10.0.0.7")


def test_a_browser_of_the_owners_is_not_held_up_by_guesses_of_others(accounts, clock):
    own = accounts.own_browser
    for number in range(100):
        wrong(accounts, f"10.0.0.{number}", 9)
    assert accounts.log_in(OWNER, "10.0.0.66", own), "even behind the same address"
    assert wrong(accounts, "10.0.0.7", 20, own) == keeping.FREE_TRIES, "and has no more tries than others"
    assert wrong(accounts, "10.0.0.7", 20, "x" * 64) == 0, "which a made-up mark does not give"
    accounts.claim(accounts.new_claim(), "a passphrase to remember")
    assert accounts.own_browser != own


def test_a_viewers_own_passphrase_gives_no_more_tries_at_the_owners(accounts):
    tries = 0
    for _ in range(10):
        tries += wrong(accounts, "10.0.0.66", keeping.FREE_TRIES - 1)
        try:
            accounts.log_in(VIEWER, "10.0.0.66")
        except TooManyTriesError:
            break
    assert tries == keeping.FREE_TRIES


def test_guesses_at_the_same_moment_are_counted(accounts):
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(wrong(accounts, "10.0.0.66", 4))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == keeping.FREE_TRIES


def test_addresses_that_somebody_makes_up_do_not_fill_the_memory(accounts, clock):
    for number in range(3 * keeping.MOST_ADDRESSES):
        clock.now += keeping.REFILL_S
        wrong(accounts, f"fe80::{number:x}", 1)
    assert len(accounts._wrong) <= keeping.MOST_ADDRESSES


# The file.


def test_the_file_is_for_its_owner_alone_and_holds_no_secret(accounts, tmp_path):
    secrets = [OWNER, VIEWER, accounts.log_in(OWNER, "here"), accounts.new_token("ha", "view"), accounts.new_claim()]
    text = (tmp_path / FILE).read_text()
    assert not [each for each in secrets if each in text]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [each for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_files_that_root_makes_belong_to_the_owner_of_the_folder(tmp_path, clock):
    os.chown(tmp_path, 12_345, 12_345)
    Accounts(tmp_path, clock).new_claim()
    assert {path.name: path.stat().st_uid for path in tmp_path.iterdir()} == {FILE: 12_345, keeping.LOCK: 12_345}


def test_another_process_changes_the_file_and_the_page_knows(accounts, tmp_path, clock):
    other = Accounts(tmp_path, clock)
    cookie = accounts.log_in(OWNER, "here")
    assert other.of_session(cookie)
    other.log_out_all()
    assert accounts.of_session(cookie) is None


def test_changes_at_the_same_moment_are_all_kept(tmp_path, clock):
    def add(number: int) -> None:
        Accounts(tmp_path, clock).new_token(f"t{number}", "view")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Accounts(tmp_path, clock).tokens) == 12


@pytest.mark.parametrize("text", ["", "{", "[]", '{"claim": null}', '{"people": {"owner": {"salt": 1}}}'])
def test_a_damaged_file_is_one_sentence_and_nobody_is_the_owner(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    accounts = Accounts(tmp_path)
    for ask in (lambda: accounts.claimed, accounts.new_claim, lambda: accounts.log_in(OWNER, "here")):
        with pytest.raises(OptionError, match=rf"{FILE}: is damaged; delete it, then the page says"):
            ask()
    assert "is damaged" in str(accounts.problem())
    (tmp_path / FILE).unlink()
    assert not accounts.claimed
    assert accounts.problem() is None


def test_with_a_damaged_file_the_alarm_goes_on_and_page_and_health_say_so(tmp_path: Path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_text("{")
    with page_world(tmp_path, claimed=False) as world, world.client("") as nobody:
        for path in ("/", "/login", "/claim?code=x"):
            shown = nobody.get(path)
            assert shown.status_code == 503
            assert "log says why" in shown.text
            assert str(tmp_path) not in shown.text
        assert "is damaged" in (world.alarm._more["page"]() or "")
        seen = world.alarm.threads[0].watcher.stats.frames
        wait_for(lambda: world.alarm.threads[0].watcher.stats.frames > seen + 5)


def test_a_disk_that_takes_nothing_is_one_sentence(accounts, tmp_path, monkeypatch):
    def full(*_: object, **more: object) -> None:
        raise OptionError(f"{tmp_path / FILE}: cannot be written (No space left on device)")

    monkeypatch.setattr(keeping, "replace_whole", full)
    with pytest.raises(OptionError, match="No space left"):
        accounts.log_in(OWNER, "here")
    assert json.loads((tmp_path / FILE).read_text())["sessions"] != {}, "what was there is there"


# In a browser.


@pytest.mark.needs_tool("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_about_access_are_accessible_and_fit_a_small_phone(tmp_path, scheme):
    pytest.importorskip("playwright")
    from tests.helpers.phone_web import MODULES, chromium

    axe = MODULES / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("no node_modules; run `npm ci` in edge/phone/web")
    with page_world(tmp_path, claimed=False) as world, chromium() as browser:
        page = browser.new_page(viewport={"width": 320, "height": 640}, color_scheme=scheme, base_url=world.address)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)

        def look(heading: str) -> None:
            page.wait_for_load_state()  # its colours too
            assert page.get_by_role("heading", level=1).inner_text() == heading
            found = page.evaluate(f"{axe.read_text()}; axe.run()")
            assert [(each["id"], node["html"]) for each in found["violations"] for node in each["nodes"]] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            low = "[...document.querySelectorAll('main button, main .button')].filter(b => b.offsetHeight < 44).length"
            assert page.evaluate(low) == 0

        page.goto("/")
        look("This page has no owner yet")
        page.goto(f"/claim?code={world.accounts.new_claim()}")
        look("Become the owner")
        for words in (OWNER, "Tab", OWNER, "Tab", "Enter"):  # the keyboard alone; the first field has it
            if len(words) > 5:
                page.keyboard.type(words)
            else:
                page.keyboard.press(words)
        page.wait_for_url(f"{world.address}/")
        page.goto("/claim")
        look("Become the owner")
        page.goto("/access")
        page.get_by_label("Name of a new token").fill("a program with a name that is as long as")
        page.get_by_role("button", name="Make a token").click()
        page.get_by_text("It is shown once").wait_for()
        look("Who may get in")
        page.get_by_role("button", name="Log out", exact=True).click()
        page.get_by_label("Passphrase").fill("not this one")
        page.keyboard.press("Enter")
        page.get_by_text("This passphrase is wrong.").wait_for()
        look("Log in")
        page.get_by_label("Passphrase").fill(OWNER)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{world.address}/")
        page.goto("/nothing")
        look("This does not work")
        assert [each for each in complaints if "the server responded with a status" not in each] == []
