"""Stages of a running alarm: kept over restarts and broken disks, moved by people, taken away with a notice."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge import rollout as rollout_module
from edge.errors import OptionError
from edge.record import database
from edge.record.database import NAME
from edge.record.journal import Journal
from edge.record.misses import Miss, write_miss
from edge.record.run import EventFactory
from edge.record.stage_log import count_frames, newest_rows, read_stages, write_stage
from edge.schema import utc_text
from edge.settings import Camera
from tests.helpers.rollout_world import RolloutWorld
from tests.helpers.sink_world import soon


@pytest.fixture
def world(tmp_path: Path) -> Any:
    world = RolloutWorld(tmp_path / "state")
    yield world
    world.close()


def of(folder: Path, stage: str, **more: Any) -> RolloutWorld:
    return RolloutWorld(folder, [Camera("yard", "src0", stage=stage, **more)])


# The start


def test_a_camera_without_a_stage_is_autonomous_and_starts_are_told_to_nobody(world: RolloutWorld) -> None:
    assert world.look() == []
    assert world.stage() == "autonomous"
    assert [world.restart() for _ in range(3)] == [[], [], []]
    assert len(world.rows()) == 1


@pytest.mark.parametrize(("tested", "stage"), [(True, "autonomous"), (False, "supervised")])
def test_a_new_model_ends_autonomous_unless_it_was_tried_for_long_beside_the_one_before(
    world: RolloutWorld, tested: bool, stage: str
) -> None:
    world.model, world.tested = "bear@2", tested
    notices = world.restart()
    assert (world.stage(), bool(notices)) == (stage, not tested)
    assert world.rows()[-1].model == "bear@2"


def test_cameras_of_the_command_line_have_no_stages(tmp_path: Path) -> None:
    world = RolloutWorld(tmp_path / "state", [Camera("0", "0")])
    assert (world.look(), world.stage("0"), world.rollout.cameras) == ([], None, [])
    with pytest.raises(OptionError, match="camera '0' has no stages"):
        world.rollout.choose("0", "shadow", "anna")
    world.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_from_before_stages_goes_on_as_autonomous_with_one_notice(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    event = EventFactory().event("bear", "new", "a" * 32, "yard")
    with closing(database.connect(folder / NAME)) as db:
        for statement in ";".join(database.MIGRATIONS[:version]).split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute(
            "INSERT INTO events(event_id, kind, type, camera, boot_id, seq, captured_at, json)"
            " VALUES(?, 'bear', 'new', 'yard', ?, 1, ?, ?)",
            (event.id, event.boot_id, event.captured_at, event.to_json()),
        )  # fmt: skip
    world = RolloutWorld(folder)
    (said,) = world.look()
    assert "stages are new: camera yard goes on as before (autonomous)" in said
    assert world.stage() == "autonomous"
    assert world.rows()[0].after >= 1  # what was before does not count
    assert world.restart() == []
    with closing(database.connect(folder / f"{NAME}.version-{version}")) as db:  # the copy of before
        assert database.version(db) == version
    world.close()


def test_a_camera_that_begins_in_shadow_says_so_also_where_the_journal_was_lost(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "shadow")
    assert world.look() == [
        "camera yard begins in SHADOW: no bear alarm will reach anyone; you are reminded on 11 May 2026"
    ]
    assert world.restart() == []
    world.rollout.choose("yard", "autonomous", "anna")
    world.look()
    world.rollout.close(5.0)
    world.journal.close()
    for end in database.ENDS:
        (world.folder / (NAME + end)).unlink(missing_ok=True)
    world.journal = Journal(world.folder, run=world.run)
    world.start()
    (said,) = world.look()
    assert "begins in SHADOW" in said
    world.close()


def test_cameras_whose_addresses_are_exchanged_are_supervised_or_stay_in_shadow(tmp_path: Path) -> None:
    hives, test = Camera("hives", "src0", stage=""), Camera("test", "src1", stage="")
    world = RolloutWorld(tmp_path / "state", [hives, test])
    world.rollout.choose("test", "shadow", "anna")
    world.look()
    world.cameras = [replace(hives, source="src1"), replace(test, source="src0")]
    (said,) = world.restart()
    assert "camera hives is supervised now, because its source is another one" in said
    assert (world.stage("hives"), world.stage("test")) == ("supervised", "shadow")
    world.close()


# What people choose


def test_a_choice_holds_at_once_and_outlives_the_process(world: RolloutWorld) -> None:
    world.rollout.choose("yard", "shadow", "anna")
    assert world.stage() == "shadow"
    assert any("yard is shadow now, chosen by anna: no bear alarm" in said for said in world.look())
    assert world.restart() == []
    assert world.stage() == "shadow"
    entry = world.rollout.standing("yard").entry
    assert (entry.stage, entry.by, entry.why) == ("shadow", "anna", "chosen by anna")
    world.rollout.choose("yard", "shadow", "ben")  # nothing changes
    assert world.look() == []
    with pytest.raises(OptionError, match="stage 'loud' is none of shadow, supervised, autonomous"):
        world.rollout.choose("yard", "loud", "anna")


def test_a_choice_of_another_process_is_taken_over_with_a_notice(world: RolloutWorld) -> None:
    world.look()
    world.choose_elsewhere("supervised")
    assert any("yard is supervised now, chosen by anna" in said for said in world.look())
    assert world.stage() == "supervised"
    assert world.look() == []
    assert len(world.rows()) == 2


def test_a_choice_elsewhere_counts_more_than_what_the_alarm_took_itself_meanwhile(world: RolloutWorld) -> None:
    world.look()
    with world.rollout._looking:  # the disk is slow
        world.moved()
        world.choose_elsewhere("shadow")
    world.look()
    assert world.stage() == "shadow"
    assert [row.stage for row in world.rows()][-1] == "shadow"
    assert world.restart() == []
    assert world.stage() == "shadow"


def test_of_two_choices_the_later_row_holds(world: RolloutWorld) -> None:
    world.look()
    with world.rollout._looking:
        world.choose_elsewhere("shadow")
        world.rollout.choose("yard", "supervised", "ben")
    world.look()
    world.look()
    assert world.stage() == "supervised"
    assert [(row.stage, row.by) for row in world.rows()[1:]] == [("shadow", "anna"), ("supervised", "ben")]


# What the alarm takes away


def test_a_moved_camera_is_supervised_from_that_event_on(world: RolloutWorld) -> None:
    world.look()
    world.moved()
    assert world.stage() == "supervised"
    (said,) = world.look()
    assert "yard is supervised now, because the camera was moved: people are notified" in said
    assert world.restart() == []
    assert world.stage() == "supervised"
    world.moved()
    assert world.look() == []


def test_wrong_reviews_in_a_row_end_autonomous_and_count_from_there(world: RolloutWorld) -> None:
    world.look()
    world.alarms("wrong", "wrong", "unsure", None, "confirmed", "wrong", "wrong")
    assert world.look() == []
    assert world.rollout.standing("yard").tally.wrong_in_a_row == 2
    world.alarms("wrong")
    (said,) = world.look()
    assert "because 3 reviewed alarms in a row were wrong" in said
    assert world.stage() == "supervised"
    assert len(world.rows()) == 2  # in the same look
    world.rollout.choose("yard", "autonomous", "anna")
    world.look()
    assert world.look() == []
    assert world.stage() == "autonomous"


def test_a_locked_camera_stays_and_people_are_notified_once(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "autonomous", stage_lock=True)
    world.look()
    said = []
    for _ in range(10):
        world.moved()
        said += world.look()
        world.pass_days(1)
        said += world.restart()
    assert world.stage() == "autonomous"
    assert len(said) == 1
    assert "stays autonomous (stage_lock), though the camera was moved: look at it" in said[0]
    world.alarms("wrong", "wrong", "wrong")
    (wrong,) = world.look()
    assert "stays autonomous (stage_lock), though 3 reviewed alarms in a row were wrong" in wrong
    world.close()


# What is offered


def test_the_next_stage_is_offered_once_for_each_count_and_never_taken(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "supervised")
    world.goal = replace(world.goal, precision=0.5)
    world.restart()
    world.alarms(*["confirmed"] * 4)
    world.evidence = tmp_path / "evidence"
    assert world.restart() == []
    way = world.rollout.standing("yard").progress
    assert way.needs == ("35 more random frames reviewed, if none shows a bear",)
    world.rollout._goal = replace(world.goal)
    for minute in range(35):
        frame = tmp_path / f"evidence/negatives/2026-05-04/04{minute:02}00-yard-0000.jpg"
        frame.parent.mkdir(parents=True, exist_ok=True)
        frame.touch()
        frame.with_suffix(".review.json").write_text(
            '{"schema_version": 1, "verdict": "wrong", "at": "2026-05-04T09:00:00Z", "label": null}'
        )
    (said,) = world.restart()
    assert "yard has earned the stage autonomous" in said
    assert world.stage() == "supervised"
    assert [world.restart(), world.reload(), world.look()] == [[], [], []]
    world.moved()
    world.look()
    assert not world.rollout.standing("yard").progress.ready
    world.alarms(*["confirmed"] * 4)
    assert [world.look(), world.restart(), world.reload()] == [[said], [], []]  # earned again
    write_miss(world.evidence, Miss("yard", utc_text(world.now), utc_text(world.now)))
    world.restart()
    assert not world.rollout.standing("yard").progress.ready
    world.close()


def test_people_are_reminded_of_shadow_after_one_and_two_weeks_also_where_the_device_is_off_by_day(
    tmp_path: Path,
) -> None:
    world = of(tmp_path / "state", "shadow")
    world.look()
    said: list[list[str]] = []
    for _ in range(30):
        world.pass_days(0.9)
        said.append(world.restart())
        said.append(world.look())
    told = [words for each in said for words in each]
    assert len(told) == 2
    assert "still in SHADOW: no bear alarm will reach anyone; you are reminded on 18 May 2026" in told[0]
    world.close()


# Clocks


def test_a_clock_that_jumps_reminds_of_each_date_once(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "shadow")
    world.look()
    began, said = world.now, list[str]()
    for _ in range(5):
        world.now = datetime(1970, 1, 1, tzinfo=UTC)
        said += world.restart()
        world.now = began + timedelta(days=8)
        said += world.look()
    assert len(said) == 1
    assert world.rollout.standing("yard").since == began
    assert world.stage() == "shadow"
    world.close()


def test_a_clock_that_is_known_to_be_wrong_reminds_only_of_a_date_that_may_be_right(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "shadow")
    world.look()
    world.run.clock_synced = lambda: False
    began = world.now
    world.pass_days(4000)
    assert world.look() == []
    world.now = began + timedelta(days=8)
    (said,) = world.look()
    assert "still in SHADOW" in said
    world.close()


def test_an_entry_from_a_clock_that_was_ahead_begins_again_once_the_clock_is_right(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "shadow")
    world.pass_days(4000)
    world.rollout.choose("yard", "supervised", "anna")
    world.look()
    world.rollout.choose("yard", "shadow", "anna")
    world.look()
    world.pass_days(-4000)
    world.run.clock_synced = lambda: False
    world.look()
    assert world.rollout.standing("yard").since > world.now
    world.run.clock_synced = lambda: True
    assert world.look() == []
    assert world.rollout.standing("yard").since == world.now
    world.close()


# The disk


def test_while_the_journal_cannot_be_read_the_config_holds_and_then_what_people_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = of(tmp_path / "state", "")
    world.look()
    world.rollout.choose("yard", "shadow", "anna")
    world.look()
    rows = world.rows()

    def refuses(folder: Path) -> Any:
        raise database.DiskError("it cannot be read", "broken")

    monkeypatch.setattr(rollout_module, "read_stages", refuses)
    world.rollout.close(5.0)
    world.start()
    assert world.look() == []
    assert world.stage() == "autonomous"
    assert "cannot be kept: it cannot be read" in str(world.rollout.problem())
    world.moved()  # would be up from shadow
    world.look()
    monkeypatch.setattr(rollout_module, "read_stages", read_stages)
    world.look()
    assert world.rollout.problem() is None
    assert (world.stage(), world.rows()) == ("shadow", rows)
    world.close()


def test_a_camera_in_shadow_by_its_config_alone_is_a_problem_until_the_journal_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = of(tmp_path / "state", "shadow")
    world.rollout.choose("yard", "autonomous", "anna")
    world.look()
    world.rollout.close(5.0)

    def refuses(folder: Path) -> Any:
        raise database.DiskError("it cannot be read", "broken")

    with monkeypatch.context() as broken:
        broken.setattr(rollout_module, "read_stages", refuses)
        world.start()
        world.look()
        problem = str(world.rollout.problem())
        assert problem.startswith("SHADOW: no bear alarm will reach anyone from yard until the journal can be read; ")
    world.look()
    assert (world.rollout.problem(), world.stage()) == (None, "autonomous")
    world.close()


def test_a_choice_during_a_reload_is_refused_or_holds(world: RolloutWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.look()
    before = world.rollout

    def slow(folder: Path) -> Any:
        if before.standing("yard").entry.stage == "autonomous":  # the disk is still asked
            before.choose("yard", "shadow", "anna")
        return read_stages(folder)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(rollout_module, "read_stages", slow)
        world.start(before)
    assert world.stage() == "shadow"
    with pytest.raises(OptionError, match="the alarm starts again; try once more"):
        before.choose("yard", "supervised", "anna")
    world.look()
    assert world.rows()[-1].stage == "shadow"


def test_a_choice_while_the_journal_cannot_be_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = of(tmp_path / "state", "")
    world.look()
    world.rollout.close(5.0)

    def refuses(folder: Path) -> Any:
        raise database.DiskError("it cannot be read", "broken")

    with monkeypatch.context() as broken:
        broken.setattr(rollout_module, "read_stages", refuses)
        world.start()
        world.rollout.choose("yard", "shadow", "anna")
        assert any("shadow now" in said for said in world.look())
        world.rollout.close(5.0)
        world.start(world.rollout)
        assert world.stage() == "shadow"
    world.look()
    assert [row.stage for row in world.rows()] == ["autonomous", "shadow"]
    world.close()


def test_where_nothing_can_be_written_a_notice_goes_out_and_a_reload_keeps_the_stage(
    world: RolloutWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.look()

    def full(folder: Path, entry: Any) -> Any:
        raise database.DiskError("the disk is full", "full")

    with monkeypatch.context() as broken:
        broken.setattr(rollout_module, "write_stage", full)
        world.moved()
        assert any("because the camera was moved" in said for said in world.look())
        assert "the disk is full" in str(world.rollout.problem())
        assert world.reload() == []
        assert (world.stage(), len(world.rows())) == ("supervised", 1)
    world.look()
    assert world.rollout.problem() is None
    assert [row.stage for row in world.rows()] == ["autonomous", "supervised"]


def test_a_write_that_hangs_holds_up_nobody_and_is_in_the_journal_once(
    world: RolloutWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.look()
    answers, hangs = threading.Event(), threading.Event()

    def slow(folder: Path, entry: Any) -> Any:
        hangs.set()
        answers.wait(30.0)
        return write_stage(folder, entry)

    monkeypatch.setattr(rollout_module, "write_stage", slow)
    world.rollout.choose("yard", "shadow", "anna")
    assert hangs.wait(30.0)
    assert world.rollout.problem() is None
    monkeypatch.setattr(rollout_module, "WRITE_S", 0.0)
    assert world.rollout.problem() == "the disk does not take the stage of camera yard (shadow) into the journal"
    assert soon(lambda: any("shadow now" in said for said in world.notices))
    world.rollout.choose("yard", "supervised", "anna")
    assert world.stage() == "supervised"
    world.rollout.tick(1e9)
    assert soon(lambda: any("supervised now" in said for said in world.notices))
    before = world.rollout
    before.close(0.1)
    world.start(before)
    assert world.stage() == "supervised"
    answers.set()
    assert soon(lambda: not before._unwritten)
    world.look()
    assert world.rollout.problem() is None
    assert [row.stage for row in world.rows()] == ["autonomous", "shadow", "supervised"]
    assert sum("shadow now" in said for said in world.notices) == 1


def test_evidence_that_hangs_holds_up_no_choice_and_wrong_alarms_count_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def hangs(*given: Any) -> Any:
        answers.wait(30.0)
        return count_frames(*given)

    world = RolloutWorld(tmp_path / "state", [Camera(name, name, stage="") for name in ("gate", "hives", "yard")])
    world.evidence = tmp_path
    world.restart()
    monkeypatch.setattr(rollout_module, "COUNT_WITHIN_S", 0.05)
    monkeypatch.setattr(rollout_module, "count_frames", hangs)
    for stage in ("shadow", "supervised"):
        world.rollout.choose("gate", stage, "anna")
        world.look()
        assert world.rows("gate")[-1].stage == stage
    assert world.rollout.problem() == "random frames cannot be counted: the evidence: no answer within 0.05 s"
    for name in ("hives", "yard"):
        world.alarms("wrong", "wrong", "wrong", name=name)
    said = world.look()
    assert [words for words in said if "3 reviewed alarms in a row were wrong" in words] == said
    assert (world.stage("hives"), world.stage("yard")) == ("supervised", "supervised")
    world.alarms("confirmed", name="gate")
    world.look()
    assert world.rollout.standing("gate").tally.right == 1
    answers.set()
    assert soon(lambda: (world.look(), world.rollout.problem())[1] is None)
    world.close()


def test_a_journal_that_is_replaced_while_the_alarm_runs_gets_its_stages_again(world: RolloutWorld) -> None:
    world.alarms("confirmed", "confirmed")
    world.rollout.choose("yard", "shadow", "anna")
    world.look()
    before = world.rows()[-1]
    assert before.after > 0
    for end in database.ENDS:
        world.folder.joinpath(NAME + end).unlink(missing_ok=True)
    world.journal.beat()  # makes a new one
    assert world.look() == []
    assert world.rows() == [replace(before, after=0)]
    world.alarms("confirmed")
    world.look()
    assert world.rollout.standing("yard").tally.right == 1
    assert world.restart() == []
    assert world.stage() == "shadow"


def test_a_new_journal_under_the_number_of_the_file_before_gets_its_stages_too(
    world: RolloutWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_module, "newest_rows", lambda folder: (7, *newest_rows(folder)[1:]))
    monkeypatch.setattr(world.rollout, "_ask_to_look", lambda: None)
    world.rollout.choose("yard", "shadow", "anna")
    world.look()
    for end in database.ENDS:
        world.folder.joinpath(NAME + end).unlink(missing_ok=True)
    world.journal.beat()  # makes a new one
    world.look()
    assert world.rows()[-1].stage == "shadow"


def test_closing_publishes_and_writes_what_waits(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "autonomous")
    world.rollout.choose("yard", "shadow", "anna")
    world.rollout.close(5.0)
    assert any("shadow now" in said for said in world.notices)
    assert world.rows()[-1].stage == "shadow"
    world.journal.close()


def test_one_without_a_journal_file_says_so(tmp_path: Path) -> None:
    world = of(tmp_path / "state", "shadow")
    world.look()
    world.journal.close()
    for path in world.folder.iterdir():
        path.unlink()
    world.look()
    assert "there is no journal yet" in str(world.rollout.problem())
    world.journal = Journal(world.folder, run=world.run)
    world.look()
    assert world.rollout.problem() is None
    with closing(sqlite3.connect(world.folder / NAME)) as db:
        assert db.execute("SELECT stage FROM stages").fetchall() == [("shadow",)]
    world.close()
