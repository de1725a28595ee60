"""Health: how each part is, the test of one sink or channel, and the doctor."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.page.guard import COOKIE
from edge.settings import AlertSettings
from tests.helpers.page_world import OWNER, World, page_world, wait_for
from tests.helpers.phone_web import chromium
from tests.helpers.webhook_server import PostBox
from tests.page.test_live import AXE, FAULTS


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which the command writes what it gets."""
    return tmp_path_factory.mktemp("noted") / "events"


@pytest.fixture(scope="module")
def box() -> Iterator[PostBox]:
    with PostBox() as made:
        yield made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, noted: Path, box: PostBox) -> Iterator[World]:
    alerts = AlertSettings(
        bell=False, on_alarm=f"cat >> {noted}", on_trouble="exit 3", webhook=f"http://127.0.0.1:{box.port}/bears"
    )
    with page_world(tmp_path_factory.mktemp("health"), alerts=alerts) as made:
        yield made


def name_of_webhook(world: World) -> str:
    assert world.alarm.alerting
    return next(each.key for each in world.alarm.alerting.deliverers)


def test_viewers_see_how_it_is_and_can_change_nothing(world: World) -> None:
    with world.client("viewer") as viewer, world.client() as owner:
        seen, own = viewer.get("/health").text, owner.get("/health").text
        for words in ("All is well", "Watching", "--on-alarm", "the journal", "webhook 127.0.0.1", "For tests only"):
            assert words in seen
        assert "/health/try" in own
        assert "Examine this device" in own
        assert "/health/" not in seen
        for place in ("/health/try", "/health/examine"):
            assert viewer.change(place, {"name": "--on-alarm"}).status_code == 403


def test_a_test_goes_to_one_sink_alone_and_its_answer_is_shown(world: World, noted: Path, box: PostBox) -> None:
    with world.client() as owner:
        assert owner.change("/health/try", {"name": "--on-alarm"}).headers["Location"] == "/health#alerts"
        (line,) = noted.read_text().splitlines()
        assert (json.loads(line)["kind"], json.loads(line)["detail"]) == (
            "test",
            "a test of the alarm: there is no bear",
        )
        assert not box.posted
        assert owner.get("/health").text.count("it took the test") == 1
        owner.change("/health/try", {"name": name_of_webhook(world)})
        assert [json.loads(each.body)["kind"] for each in box.posted] == ["test"]
        owner.change("/health/try", {"name": "--on-trouble"})
        page = owner.get("/health").text
        assert page.count("it took the test") == 2
        assert "ended with exit code 3" in page
        for name in ("the journal", "nothing"):
            assert owner.change("/health/try", {"name": name}).status_code == 404
    assert len(noted.read_text().splitlines()) == 1
    assert world.alarm.alerting
    assert world.alarm.alerting.journal
    assert not world.alarm.alerting.journal.waiting(name_of_webhook(world))


def test_a_test_that_succeeds_clears_the_fault_and_one_that_fails_is_one(tmp_path: Path) -> None:
    (tmp_path / "siren.sh").write_text("exit 1")
    with page_world(tmp_path, alerts=AlertSettings(bell=False, on_alarm=f"sh {tmp_path / 'siren.sh'}")) as world:
        alerting = world.alarm.alerting
        assert alerting

        def fault() -> str | None:
            return next(each.problem for each in world.alarm.status().sinks if each.name == "--on-alarm")

        assert "exit code 1" in (alerting.try_out("--on-alarm") or "")
        assert fault()
        (tmp_path / "siren.sh").write_text("exit 0")
        assert alerting.try_out("--on-alarm") is None
        assert fault() is None


def test_a_channel_that_is_not_reached_says_so_at_once(world: World, box: PostBox) -> None:
    box.answers.append(500)
    with world.client() as owner:
        owner.change("/health/try", {"name": name_of_webhook(world)})
        assert "500" in owner.get("/health").text
    assert not box.answers  # and it is not tried again


def test_nothing_is_tried_while_a_bear_is_there(world: World) -> None:
    watcher = world.alarm.threads[0].watcher
    with world.client() as owner:
        world.yard.bear = True
        try:
            wait_for(lambda: watcher.decider.open_incidents)
            refused = owner.change("/health/try", {"name": "--on-alarm"})
        finally:
            world.yard.bear = False
        assert refused.headers["Location"] == "/health#alerts"
        assert "Not tried: there is a bear now" in owner.get("/health").text
        wait_for(lambda: not watcher.decider.open_incidents)


@pytest.mark.alone
def test_noises_of_a_test_end_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    players, programs = list[int](), tmp_path / "bin"
    programs.mkdir()
    player = programs / "aplay"
    player.write_text("#!/bin/sh\nexec sleep 60\n")
    player.chmod(0o755)
    begin = subprocess.Popen.__init__

    def noted(process: Any, command: Any, **more: Any) -> None:
        begin(process, command, **more)
        if str(player) in command:
            players.append(process.pid)  # a busy machine may end it before it has written a word itself

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for place in ("sound", "alerting"):
        monkeypatch.setattr(f"edge.alert.{place}.TEST_S", 0.5)
    monkeypatch.setattr("edge.alert.sound.Sound.check", lambda _: None)

    def silent() -> bool:
        return not any(Path(f"/proc/{each}").exists() for each in players)

    alerts = AlertSettings(bell=False, sounds=("siren",), deterrent="on")
    with page_world(tmp_path, alerts=alerts) as world:
        assert world.alarm.alerting
        for name in ("sound siren", "deterrent"):
            players.clear()
            assert world.alarm.alerting.try_out(name) is None
            assert players
            wait_for(silent, 10.0)
        world.yard.bear = True
        wait_for(lambda: any(each.name == "the deterrent" for each in threading.enumerate()))


def test_a_bear_does_not_wait_for_a_test(tmp_path: Path) -> None:
    began = tmp_path / "began"
    command = f"echo $BEAR_KIND >> {began}; [ $BEAR_KIND = bear ] || exec sleep 15"
    with page_world(tmp_path, alerts=AlertSettings(bell=False, on_alarm=command)) as world, world.client() as owner:
        trying = threading.Thread(target=owner.change, args=("/health/try", {"name": "--on-alarm"}))
        trying.start()
        wait_for(lambda: began.exists() and began.read_text())
        world.yard.bear = True
        wait_for(lambda: "bear" in began.read_text())
        assert trying.is_alive()
        world.yard.bear = False
        trying.join()


def test_the_doctor_is_asked_once_at_a_time_and_says_what_to_do(world: World) -> None:
    with world.client() as owner, world.client() as other:
        asked = threading.Thread(target=owner.change, args=("/health/examine",), kwargs={"timeout": 120.0})
        asked.start()
        wait_for(lambda: "This device is being examined" in other.get("/health").text)
        assert other.change("/health/examine").status_code == 409
        asked.join(120.0)
        page = other.get("/health").text
        assert "onnxruntime" in page
        assert "→ " in page
    with world.client("viewer") as viewer:
        assert "onnxruntime" not in viewer.get("/health").text


def test_where_nobody_is_notified_it_is_not_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.alarm, "settings", replace(world.alarm.settings, alerts=AlertSettings(bell=False)))
    with world.client() as owner:
        page = owner.get("/health").text
    assert "Nobody is notified: only the terminal" in page
    assert "All is well" not in page


@pytest.mark.needs_tool("chromium")
@pytest.mark.alone
@pytest.mark.skipif(not AXE.is_file(), reason="run `npm ci` in edge/phone/web first")
def test_axe_core_finds_no_fault(world: World) -> None:
    pytest.importorskip("playwright")
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 320, "height": 800})
        cookie = {"name": COOKIE, "value": world.accounts.log_in(OWNER, "test"), "url": world.address}
        context.add_cookies([cookie])
        page = context.new_page()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{world.address}/health")
            page.evaluate(AXE.read_text())
            assert page.evaluate(FAULTS) == []
            assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{world.address}/health#main")
