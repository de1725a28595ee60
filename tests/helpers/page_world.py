"""The page of a running alarm, for tests: a camera over HTTP, the tiny model, and a client that is logged in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from edge.alarm import Alarm
from edge.alert.alerting import EVENT_S
from edge.background import start_thread
from edge.page.accounts import Accounts
from edge.page.guard import COOKIE
from edge.page.serving import PAGE, Serving
from edge.settings import AlertSettings, Camera, EvidenceSettings, PageSettings, Settings
from tests.helpers.fake_camera import LiveYard
from tests.helpers.tiny import tiny_card, write_tiny_model

OWNER = "four words in a row"
VIEWER = "eight eyes that look"
FORM = {"Accept": "text/html"}


def wait_for(true: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Wait until it is true; return what it returned."""
    until = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
    return found


class Client(httpx.Client):
    """A browser without a window: it keeps its cookie, and sends Origin and the CSRF token with each change."""

    def __init__(self, address: str, cookie: str | None = None, **more: Any) -> None:
        super().__init__(base_url=address, headers=FORM, timeout=30.0, trust_env=False, **more)
        self.csrf = ""
        if cookie:
            self.cookies.set(COOKIE, cookie)

    def change(self, path: str, form: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Send a form as the page would."""
        headers = {"Origin": str(self.base_url).rstrip("/"), "X-CSRF-Token": self.csrf}
        return self.post(path, data=form or {}, headers=headers | more.pop("headers", {}), **more)


@dataclass
class World:
    """A page that is served, and what is behind it."""

    alarm: Alarm
    serving: Serving
    accounts: Accounts
    address: str
    state: Path
    evidence: Path
    yard: LiveYard
    reloads: list[float]

    def client(self, role: str = "owner") -> Client:
        """Return a client that is logged in as "owner" or "viewer", or as nobody ("")."""
        if not role:
            return Client(self.address)
        cookie = self.accounts.log_in({"owner": OWNER, "viewer": VIEWER}[role], "test")
        client = Client(self.address, cookie)
        access = self.accounts.of_session(cookie)
        assert access
        client.csrf = access.csrf
        return client

    def bear(self) -> str:
        """Have a bear walk before the camera until it is an alarm with its pictures; return the event's id."""
        from edge.record.history import JournalReader

        def done() -> str | None:
            with JournalReader(self.state / "journal.db") as journal:
                found = [each for each in journal.incidents(kind="bear") if each.state == "over"]
            return found[-1].id if found else None

        before = done() if (self.state / "journal.db").exists() else None
        self.yard.bear = True
        writer = self.alarm.writer
        assert writer
        wait_for(lambda: self.alarm.status().alarms > self._alarms)
        self._alarms = self.alarm.status().alarms
        time.sleep(1.0)
        self.yard.bear = False
        return str(wait_for(lambda: (found := done()) != before and found, 60.0))

    _alarms: int = 0


@contextmanager
def page_world(folder: Path, *, claimed: bool = True, config: Path | None = None, **changes: Any) -> Iterator[World]:
    """Serve the page of an alarm that watches one camera, ``yard``; ``changes``: of its settings.

    A camera without a source is the yard's.
    """
    state, evidence, reloads = folder / "state", folder / "evidence", list[float]()

    def reload() -> Callable[[], str | None]:
        reloads.append(time.monotonic())
        return lambda: None

    with LiveYard() as yard:
        settings = Settings(
            cameras=(Camera("yard", yard.url),),
            alerts=AlertSettings(bell=False),
            evidence=EvidenceSettings(folder=evidence),
            page=PageSettings(listen="127.0.0.1:0"),
            model=str(write_tiny_model(folder / "tiny.onnx", tiny_card())),
            state=state,
            waits=True,
        )
        changed = replace(settings, **changes)
        cameras = tuple(replace(each, source=each.source or yard.url) for each in changed.cameras)
        alarm = Alarm(replace(changed, cameras=cameras))
        serving = Serving(lambda: alarm, config, reload, lambda: "bear-alarm page claim")
        over = False

        def tick() -> None:
            while not over:
                alarm.tick(time.monotonic())
                time.sleep(0.1)

        try:
            serving.follow()
            alarm.start()
            ticking = start_thread(tick, "tick")
            server = serving.server(PAGE)
            assert server
            wait_for(lambda: server.port)
            accounts = Accounts(state)
            if claimed:
                accounts.claim(accounts.new_claim(), OWNER)
                accounts.set_viewer(VIEWER)
            wait_for(lambda: alarm.threads[0].watcher.seen)
            yield World(alarm, serving, accounts, server.address, state, evidence, yard, reloads)
        finally:
            over = True
            ticking.join(5.0)
            serving.close()
            alarm.stop_cameras()
            alarm.close(
                EVENT_S + 5.0
            )  # an answer waits so long for its event: its fault is this world's, no later one's
