"""New models while the alarm runs, in one process: what is said, tried, switched to, asked and taken back."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from dataclasses import replace

import pytest

from edge.alarm import Alarm
from edge.detect.classifier import BUNDLED, file_digest
from edge.detect.frame_scan import FrameScanner
from edge.errors import ModelError, OptionError
from edge.minisign import SecretKey
from edge.model_store import MAX_STARTS, Entry, ModelStore
from edge.record.run import EventFactory
from edge.schema import Event
from edge.settings import Camera, EvidenceSettings, Settings, UpdateSettings
from edge.update import sources as looking
from edge.update.sources import AGAIN_S, DAY_S, FIRST_S, OFFER_S, PEEK_S, RETRY_S, Answer, Sources
from edge.update.trial import TrialCounts
from edge.update.updates import BUSY_S, PROVEN_S, TRIED_S, Start, Updates, begin
from tests.helpers.broker import PATIENCE_S, refusing_port, until
from tests.helpers.fake_camera import LiveYard
from tests.helpers.signed_models import current, offer, put, tiny_entry, trusting, waiting

NOTHING = Answer("nothing", "it is here already")


class Try:
    """A new model that is tried, with counts by the test."""

    how = "beside"

    def __init__(self, entry):
        self.entry = entry
        self.counts = TrialCounts()
        self.why = self.no_room = None
        self.closed = 0

    def problem(self):
        return self.why

    def check(self):
        if self.no_room:
            raise ModelError(self.no_room)

    def close(self, within_s):
        self.closed += 1


class World:
    """The updates of one alarm, by a clock of the test's, with sources that answer as told."""

    def __init__(self, folder, sources=(), before=None, answer=NOTHING, loaded=None, **settings):
        self.store = ModelStore.of(folder)
        self.settings = UpdateSettings(tuple(map(str, sources)), **{"hours": 5.0} | settings)
        self.events: list[Event] = []
        self.tries: list[Try] = []
        self.calls: list[tuple[str, str]] = []
        self.reloads = 0
        self.answer = answer
        self.ill = self.fails = self.bear = False
        self.sources = before.sources if before else Sources(self.settings, folder, self.call)
        self.now = before.now if before else 1000.0
        start = begin(self.store, counts=before is None)
        found = loaded or self.store.read().current
        digest = found.sha256 if found else file_digest(BUNDLED)
        self.updates = Updates(
            self.settings, self.store, self.sources, start=start, digest=digest,
            tries=self.tried, well=lambda: not self.ill, ill=lambda: self.fails, busy=lambda: self.bear,
            run=EventFactory(), publish=self.events.append,
            before=before.updates if before else None,
        )  # fmt: skip
        self.updates._worker.close(1.0)  # the test looks itself
        self.updates._looked = math.inf
        self.updates.reload = self.asked
        self.look()

    def asked(self):
        self.reloads += 1

    def tried(self, entry):
        self.tries.append(Try(entry))
        return self.tries[-1]

    def call(self, source, given):
        self.calls.append((source, given))
        return self.answer

    def look(self, seconds=0.0):
        self.now += seconds
        self.updates.tick(self.now)
        self.updates.look()
        if running := self.sources._running:
            running[1].result(10)
            self.updates.look()

    @property
    def said(self):
        assert all((each.kind, each.label, each.camera) == ("notice", "model", "alarm") for each in self.events)
        return [each.detail for each in self.events]


@pytest.fixture
def store(tmp_path):
    return ModelStore.of(tmp_path)


def test_a_new_model_that_does_the_same_is_switched_to_and_proven_after_ten_minutes(tmp_path, store):
    old, new = current(store), waiting(store)
    world = World(tmp_path, frames=9)
    (trial,) = world.tries
    assert (trial.entry, world.updates.standing.how, world.updates.standing.asks) == (new, "beside", "")
    trial.counts = TrialCounts(frames=8, both=2, hours=5)
    world.look(5)
    assert (store.read().current, world.reloads) == (old, 0)
    trial.counts = TrialCounts(frames=9, both=2, hours=4.9)
    world.look(5)
    assert store.read().current == old, "it has not seen a whole day"
    trial.counts = TrialCounts(frames=9, both=2, hours=5)
    world.look(5)
    held = store.read()
    assert (held.current, held.previous, held.waiting, held.proven) == (replace(new, tested=False), old, None, False)
    assert world.reloads == 1
    (said,) = world.said
    assert said.startswith(f"{new.name} is chosen: in 5 h (9 frames with something to see) ")
    world.look(5)
    assert (trial.closed > 0, world.reloads) == (True, 1)

    after = World(tmp_path, before=world)
    after.look(PROVEN_S - 1)
    assert not store.read().proven
    after.ill = True
    after.look(1)
    assert not store.read().proven, "it is not proven while its answers are wrong"
    after.ill = False
    after.look(5)
    assert store.read().proven
    assert (after.reloads, after.said) == (0, [f"{new.name} is in use now"])


def test_a_trial_of_seven_days_counts_as_shadow(tmp_path, store):
    current(store)
    waiting(store)
    world = World(tmp_path, frames=1)
    world.tries[0].counts = TrialCounts(frames=1, hours=7 * 24)
    world.look()
    found = store.read().current
    assert found
    assert found.tested
    assert not world.updates.tested, "it is not the one in use yet"
    assert World(tmp_path, before=world).updates.tested


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (TrialCounts(frames=3, hours=1, only_new=4), "it would have alarmed 4 times more"),
        (TrialCounts(frames=3, hours=336), "neither would have alarmed; 300 frames in 5 h are needed"),
    ],
)
def test_one_that_differs_or_sees_nothing_asks_once_also_over_restarts(tmp_path, store, counts, words):
    current(store)
    new = waiting(store)
    world = World(tmp_path)
    world.tries[0].counts = counts
    world.look(5)
    world.look(5)
    (said,) = world.said
    assert said.startswith(f"the new model {new.name} waits for a person: ")
    assert words in said
    assert words in world.updates.standing.asks
    assert bool(world.tries[0].closed) == (counts.different > 3), "with nothing to see it goes on: something may come"
    assert (store.read().waiting, world.reloads) == (new, 0)
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, camera, kind, json)")
        db.execute("INSERT INTO events VALUES (1, 'alarm', 'notice', ?)", (world.events[0].to_json(),))
    again = World(tmp_path)
    again.tries[0].counts = replace(counts, hours=counts.hours + 100)
    again.look(5)
    assert again.said == []
    assert words in again.updates.standing.asks


def test_a_person_uses_it_removes_it_or_goes_back(tmp_path, store):
    old, new = current(store), waiting(store)
    world = World(tmp_path)
    world.tries[0].counts = TrialCounts(frames=1)
    world.tries[0].no_room = "the new model needs 90 MB"
    with pytest.raises(OptionError, match="needs 90 MB"):
        world.updates.use_now("Anna", new.sha256)
    assert store.read().waiting == new
    world.look(5)
    assert [each.closed for each in world.tries] == [2, 0], "its memory was for the alarm; it is tried again"
    world.tries[1].counts = TrialCounts(frames=1)
    world.bear = True
    world.updates.use_now("Anna", new.sha256)
    assert store.read().current == replace(new, tested=True)
    assert world.tries[1].closed
    world.look(5)
    assert world.reloads == 1, "a person does not wait for what is in view"
    assert world.said == [f"{new.name} is chosen by Anna"]
    with pytest.raises(OptionError, match="load the page again"):
        world.updates.use_now("Anna", new.sha256)

    after = World(tmp_path, before=world)
    after.bear = True
    with pytest.raises(OptionError, match="load the page again"):
        after.updates.roll_back("Ben", old.sha256)
    after.updates.roll_back("Ben", new.sha256)
    assert store.read().current == old
    after.look()
    assert after.reloads == 1
    store.change(lambda held: replace(held, proven=True))  # it ran well for long
    third = waiting(store, "third")
    last = World(tmp_path, before=after)
    last.updates.remove("Anna", third.sha256)
    assert store.read().waiting is None
    assert last.said == [f"{old.name} is in use now", f"the new model {third.name} is removed, chosen by Anna"]
    last.look()
    assert (last.tries[0].closed, last.updates.standing.asks, last.updates.standing.how) == (1, "", "")


def test_one_that_was_chosen_without_a_trial_is_not_tested(tmp_path, store):
    current(store)
    shown = waiting(store)
    world = World(tmp_path)
    world.tries[0].counts = TrialCounts(frames=9)
    other = waiting(store, "other")
    for act in (world.updates.use_now, world.updates.remove):
        with pytest.raises(OptionError, match="another model is here than the one that was shown"):
            act("Anna", shown.sha256)
    assert store.read().waiting == other
    world.updates.use_now("Anna", other.sha256)
    found = store.read().current
    assert found
    assert not found.tested


def test_a_model_that_another_command_chose_is_used_and_without_a_config_from_the_next_start_on(tmp_path, store):
    current(store)
    world = World(tmp_path)
    other = current(store, "other")
    world.look(5)
    world.look(5)
    assert (world.reloads, world.said) == (1, [])
    assert world.updates.problem() == f"{other.name} is installed and not in use; the log says why"
    plain = World(tmp_path, before=World(tmp_path))
    plain.updates.reload = None
    third = current(store, "third")
    plain.look(5)
    plain.look(5)
    words = f"{third.name} is used from the next start of the alarm on"
    assert plain.said == [words]
    assert plain.updates.problem() is None
    plain.updates.roll_back("Ben", third.sha256)
    plain.look(5)
    assert plain.said == [words, f"{other.name} is used from the next start of the alarm on, chosen by Ben"]


def test_one_that_cannot_be_tried_for_long_is_asked_about_too(tmp_path, store):
    current(store)
    new = waiting(store)
    world = World(tmp_path, ask_h=10.0)
    world.tries[0].why = "the folder of pictures cannot be read"
    world.look(5)
    world.look(10 * 3600 - 1)
    assert (world.said, world.updates.standing.asks) == ([], "")
    world.look(1)
    world.look(5)
    (said,) = world.said
    assert said.startswith(
        f"the new model {new.name} waits for a person: the folder of pictures cannot be read. Use it"
    )
    assert world.updates.standing.asks
    world.tries[0].why = None
    world.look(5)
    assert world.updates.standing.asks == ""


def test_what_looks_like_a_bear_for_hours_holds_a_switch_up_for_one(tmp_path, store):
    current(store)
    world = World(tmp_path)
    world.bear = True
    current(store, "other")
    world.look()
    world.look(BUSY_S - 1)
    assert world.reloads == 0
    world.look(1)
    assert world.reloads == 1
    other = World(tmp_path, before=world)
    other.bear = True
    current(store, "third")
    other.look()
    store.change(lambda held: held.rolled_back())
    other.look()
    other.look(BUSY_S)
    current(store, "fourth")
    other.look()
    assert other.reloads == 0, "the hour is that of another switch"


def test_a_model_that_ends_the_alarm_is_taken_back_after_three_starts(tmp_path, store):
    old = current(store)
    new = tiny_entry("new")[1]
    store.change(lambda held: held.used(new))
    assert begin(store, counts=False) == Start(new)
    assert [begin(store, counts=True) for _ in range(MAX_STARTS)] == [Start(new, counted=True)] * MAX_STARTS
    assert store.read().starts == MAX_STARTS
    world = World(tmp_path)
    assert (store.read().current, store.read().proven) == (old, False)
    (said,) = world.said
    assert said.startswith(f"{new.name} is not used any more, because 3 starts of the alarm with it ended within 10 ")
    assert begin(store, counts=True) == Start(old, counted=True)  # it may be the one that ends the alarm


def test_where_each_model_ends_the_alarm_it_comes_to_rest_with_the_one_that_ships(tmp_path, store):
    old = current(store)
    store.change(lambda held: replace(held.used(tiny_entry("new")[1]), waiting=tiny_entry("later")[1]))
    used = [begin(store, counts=True).current for _ in range(20)]
    assert used[MAX_STARTS : 2 * MAX_STARTS] == [old] * MAX_STARTS
    assert used[2 * MAX_STARTS + 1 :] == [None] * (20 - 2 * MAX_STARTS - 1)
    held = store.read()
    assert (held.proven, held.previous) == (True, old), "a person may try it again"
    assert held.waiting, "it was not the one"


def test_a_model_that_fails_all_the_time_is_taken_back(tmp_path, store):
    old = current(store)
    new = tiny_entry("new")[1]
    store.change(lambda held: held.used(new))
    world = World(tmp_path)
    world.fails = world.ill = world.bear = True
    world.look(PROVEN_S - 1)
    assert store.read().current == new
    world.look(1)
    assert (store.read().current, store.read().proven) == (old, False)
    world.look(5)
    assert world.reloads == 1
    assert world.said == [f"{new.name} is not used any more, because the alarm fails with it: {old.name} is used again"]


def test_a_choice_that_cannot_be_written_leaves_the_trial_going(tmp_path, store, monkeypatch):
    current(store)
    new = waiting(store)
    world = World(tmp_path)

    def full(change):
        raise OptionError("the disk is full")

    monkeypatch.setattr(world.store, "change", full)
    with pytest.raises(OptionError, match="full"):
        world.updates.use_now("Anna", new.sha256)
    monkeypatch.undo()
    world.look(5)
    assert [each.entry for each in world.tries] == [new, new]


def test_an_end_in_good_order_is_no_crash(tmp_path, store):
    current(store)
    store.change(lambda held: held.used(tiny_entry("new")[1]))
    world = World(tmp_path)
    assert store.read().starts == 1
    world.updates.close(1.0, keep=True)  # a reload: this process goes on
    assert store.read().starts == 1
    World(tmp_path, before=world).updates.close(1.0)
    assert store.read().starts == 0


def test_a_start_that_never_watches_counts_for_nothing(tmp_path, store):
    current(store)
    store.change(lambda held: held.used(tiny_entry("new")[1]))
    data, entry = tiny_entry("new")
    put(store, data, lambda held: held, entry)
    settings = Settings((Camera("yard", "demo"),), evidence=EvidenceSettings(keep=False), state=tmp_path, waits=True)
    one = Alarm(settings)
    store.change(lambda held: replace(held, starts=MAX_STARTS))
    with pytest.raises(OptionError, match="another alarm uses this state folder"):
        Alarm(settings)
    assert (store.read().proven, store.read().starts) == (False, MAX_STARTS), "the alarm that runs is well"
    store.change(lambda held: replace(held, starts=1))
    one.close(1.0)
    assert store.read().starts == 0
    with pytest.raises(OptionError, match="cannot keep evidence there"):
        Alarm(replace(settings, evidence=EvidenceSettings(keep=True, folder=store.folder / "installed.json")))
    assert store.read().starts == 0


def test_a_new_model_that_ends_the_alarm_while_it_is_tried_is_removed(tmp_path, store):
    old, new = current(store), waiting(store)
    for number in range(MAX_STARTS):
        assert [each.entry for each in World(tmp_path).tries] == [new]
        assert store.read().starts == number + 1
    world = World(tmp_path)
    assert world.tries == []
    why = "because 3 starts of the alarm ended while it was tried"
    assert world.said == [f"the new model {new.name} is removed, {why}"]
    assert (store.read().waiting, store.read().current, store.read().starts) == (None, old, 0)


def test_how_long_the_alarm_ran_with_a_model_that_is_tried(tmp_path, store):
    current(store)
    world = World(tmp_path)
    world.look(TRIED_S)
    waiting(store)
    world.look(PROVEN_S)
    world.look(TRIED_S - 1)
    assert store.read().starts == 1, "it may end the alarm ten minutes after each start"
    world.look(1)
    assert store.read().starts == 0, "an end at night is none of its doing"


def test_a_model_that_is_damaged_gives_way_in_the_list_too_and_the_next_one_is_tried(tmp_path, store):
    old, bad = current(store), current(store, "bad")
    store.slot(bad).write_bytes(b"half")
    repair = waiting(store, "repair")
    world = World(tmp_path, loaded=old)
    held = store.read()
    assert (held.current, held.previous, held.proven) == (old, bad, False)
    assert world.said == [f"{bad.name} cannot be used here, as the log says: {old.name} is used in its place"]
    assert (world.reloads, world.updates.problem()) == (0, None)
    world.look(PROVEN_S)
    world.look(5)
    assert [each.entry for each in world.tries] == [repair]


@pytest.mark.parametrize("loads", [True, False])
def test_a_file_that_could_not_be_read_once_is_loaded_again_once(tmp_path, store, loads):
    old, new = current(store), current(store, "new")
    world = World(tmp_path, loaded=old)
    world.look(5)
    assert (store.read().current, world.reloads) == (new, 1)
    after = World(tmp_path, before=world, loaded=new if loads else old)
    assert after.reloads == 0
    assert store.read().current == (new if loads else old)


def test_a_model_that_a_reload_refuses_is_taken_back(tmp_path, store):
    old = current(store)
    world = World(tmp_path)
    new = current(store, "new")
    world.look(5)
    world.updates.not_loaded = True
    world.look(5)
    assert (store.read().current, store.read().previous, world.reloads) == (old, new, 1)


def test_a_model_that_cannot_look_is_taken_back(tmp_path, store, monkeypatch):
    old = current(store)
    data, entry = tiny_entry("new")
    put(store, data, lambda held: held.used(entry), entry)

    def fails(*_):
        raise RuntimeError("a shape that it cannot do")

    monkeypatch.setattr(FrameScanner, "__call__", fails)
    with LiveYard() as yard:
        cameras = (Camera("yard", yard.url),)
        alarm = Alarm(Settings(cameras, evidence=EvidenceSettings(keep=False), state=tmp_path, waits=True))
        assert alarm.updates
        try:
            alarm.start()
            alarm.tick(time.monotonic() - PROVEN_S)
            assert until(lambda: alarm.threads[0].watcher.troubles.now)
            alarm.tick(time.monotonic())
            alarm.updates.look()
            assert (store.read().current, store.read().previous) == (old, None)
        finally:
            alarm.stop_cameras()
            alarm.close(1.0)


def test_nothing_is_tried_after_the_end(tmp_path, store):
    current(store)
    world = World(tmp_path)
    waiting(store)
    tries = world.updates._tries

    def slow(entry):
        world.updates.close(0.0)
        return tries(entry)

    world.updates._tries = slow
    world.look(5)
    assert [each.closed for each in world.tries] == [1]


def test_nothing_is_tried_before_the_model_in_use_is_proven(tmp_path, store):
    old = current(store)
    new = waiting(store)
    store.change(lambda held: replace(held, current=old, proven=False))
    world = World(tmp_path)
    assert world.tries == []
    world.look(PROVEN_S)
    world.look()
    assert [each.entry for each in world.tries] == [new]


def test_a_damaged_list_is_a_problem_and_nothing_is_lost(tmp_path, store):
    current(store)
    world = World(tmp_path)
    (store.folder / "installed.json").write_text("{")
    world.look(5)
    assert "is damaged" in (world.updates.problem() or "")
    assert begin(store, counts=True) == Start()


# The sources.


def test_a_folder_is_asked_when_something_new_is_in_it(tmp_path, store):
    stick = tmp_path / "stick"
    world = World(tmp_path, [stick])
    assert (world.calls, world.updates.problem()) == ([], None), "a stick that is not plugged in is no problem"
    stick.mkdir()
    (stick / "photo.jpg").touch()
    world.look(PEEK_S)
    assert world.calls == []
    (stick / "new.onnx.minisig").write_text("signature")
    world.look(1)
    assert world.calls == []
    world.answer = Answer("waiting", "new@1 is here; it is tried beside the model in use")
    for seconds in (PEEK_S, AGAIN_S, PEEK_S):
        world.look(seconds)
    assert world.calls == [(str(stick), "")]
    assert world.said == ["new@1 is here; it is tried beside the model in use"]
    (stick / "new.onnx.minisig").write_text("another signature")
    world.answer = Answer("nothing", "new@1 is here already")
    world.look(PEEK_S)
    world.look(AGAIN_S)
    assert len(world.calls) == 2
    assert len(world.said) == 1


def test_a_folder_is_asked_once_nothing_is_copied_into_it_any_more(tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "new.onnx.minisig").write_text("signature")
    world = World(tmp_path, [stick], answer=Answer("refused", "it is not whole"))
    for _ in range(9):
        with (stick / "new.onnx").open("ab") as file:
            file.write(b"more")
        world.look(AGAIN_S)
    assert world.calls == []
    world.look(AGAIN_S)
    assert len(world.calls) == 1


def test_a_refusal_is_notified_of_once_and_tried_again_every_hour(tmp_path, store):
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "new.onnx.minisig").write_text("signature")
    world = World(tmp_path, [stick], answer=Answer("refused", f"{stick}: signed by a key that nobody trusts"))
    world.look(PEEK_S)
    for _ in range(3):
        world.look(RETRY_S)
    assert len(world.calls) == 4
    (said,) = world.said
    assert said == (
        f"no new model was taken: {stick}: signed by a key that nobody trusts. It is looked at again in an hour, or "
        "when the files there change"
    )
    assert world.updates.standing.problem == f"{stick}: signed by a key that nobody trusts"
    assert world.updates.problem() is None, "the alarm itself is well"


def test_after_a_refusal_a_corrected_stick_is_looked_at_at_once_and_another_one_is_notified_of(tmp_path, store):
    stick = tmp_path / "stick"
    stick.mkdir()
    for name in ("new.onnx", "new.onnx.minisig"):
        (stick / name).write_text("half")
    world = World(tmp_path, [stick], answer=Answer("refused", "it is not whole"))
    (stick / "photo.jpg").write_text("it changes nothing")
    world.look(AGAIN_S)
    assert (len(world.calls), len(world.said)) == (1, 1)
    (stick / "new.onnx").write_text("whole")
    world.look(AGAIN_S)
    world.look(AGAIN_S)
    assert (len(world.calls), len(world.said)) == (2, 2)
    trusting(store, SecretKey.new())
    world.look(AGAIN_S)
    assert len(world.calls) == 3, "with another key it may be taken"
    stick.rename(tmp_path / "drawer")
    world.look(AGAIN_S)
    assert world.updates.standing.problem is None, "there is nothing that could be refused"
    (tmp_path / "drawer").rename(stick)
    world.look(PEEK_S)
    world.look(AGAIN_S)
    assert (len(world.calls), len(world.said)) == (4, 2), "the same words are said again once a day at most"
    world.look(DAY_S)
    (stick / "new.onnx").write_text("another one")
    world.look(AGAIN_S)
    world.look(AGAIN_S)
    assert len(world.said) == 3


def test_a_server_that_fails_now_and_then_is_notified_of_once(tmp_path):
    world = World(tmp_path, ["https://example.org/new.onnx"], answer=Answer("refused", "no such host"), every_h=1)
    world.look(FIRST_S)
    for kind in ("refused", "nothing", "refused", "refused"):
        world.answer = Answer(kind, "no such host")
        world.look(RETRY_S)
    assert world.said == ["no new model was taken: no such host. It is looked at again in an hour"]


def test_a_url_is_asked_every_so_often_and_sooner_after_a_refusal(tmp_path):
    url = "https://example.org/new.onnx?token=x"
    world = World(tmp_path, [url], every_h=24)
    world.look(FIRST_S - 1)
    assert world.calls == []
    world.look(1)
    assert world.calls == [("-", '{"url": "https://example.org/new.onnx?token=x"}')]
    world.look(24 * 3600 - 1)
    assert len(world.calls) == 1
    world.answer = Answer("refused", "no such host")
    world.look(1)
    world.look(RETRY_S)
    assert len(world.calls) == 3


def test_a_stick_does_not_wait_for_a_slow_server(tmp_path):
    stick, taken = tmp_path / "stick", Answer("waiting", "new@1 is here")
    stick.mkdir()
    sources = Sources(UpdateSettings(("https://example.org/new.onnx", str(stick))), tmp_path)
    calls: list[str] = []

    def run(source, given):
        calls.append(source)
        if source == "-":
            sources._stop.wait(30)
            return Answer("refused", "it was stopped")
        return taken

    sources._run = run
    sources.look(1.0)
    sources.look(1.0 + FIRST_S)
    (stick / "new.onnx.minisig").write_text("signature")
    sources.look(1.0 + 2 * FIRST_S)
    sources.look(1.0 + 2 * FIRST_S + AGAIN_S)
    answer: Answer | None = None
    end = time.monotonic() + PATIENCE_S
    while answer is None and time.monotonic() < end:  # nobody is notified of what was stopped
        answer = sources.look(2.0 + 2 * FIRST_S + AGAIN_S)
        time.sleep(0.05)
    assert (calls, answer) == (["-", str(stick)], taken)
    sources._stop.clear()
    sources.look(3.0 + 3 * FIRST_S + AGAIN_S)
    assert until(lambda: calls[2:] == ["-"]), "the server is asked again"
    sources.close()


@pytest.mark.parametrize("said", ["", "\n", "not JSON", "[]", '{"kind": "waiting"}'])
def test_a_child_without_an_answer_is_a_refusal(tmp_path, monkeypatch, said):
    monkeypatch.setattr(looking, "run_child", lambda *_: said)
    answer = Sources(UpdateSettings(), tmp_path)._update("stick", "")
    assert (answer.kind, "no answer" in answer.words) == ("refused", True)


def test_an_offer_of_the_broker_is_looked_at_once_in_ten_minutes(tmp_path):
    world = World(tmp_path, ["mqtt"])
    world.sources.offers.append(b'{"url": "one"}')
    world.look()
    world.sources.offers.append(b'{"url": "two"}')
    world.look(OFFER_S - 1)
    assert world.calls == [("-", '{"url": "one"}')]
    world.look(1)
    world.look(OFFER_S)
    world.sources.offers.append(b'{"url": "two"}')  # it connected again
    world.look()
    assert world.calls == [("-", '{"url": "one"}'), ("-", '{"url": "two"}')]


def test_a_stick_that_hangs_is_a_problem_and_holds_up_no_other_source(tmp_path, monkeypatch):
    answers = threading.Event()
    scandir = os.scandir

    def slow(folder):
        if folder == tmp_path / "stick":
            answers.wait(30)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", slow)
    monkeypatch.setattr(looking, "PEEK_WITHIN_S", 0.2)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.pub.minisig").touch()
    threads = set(threading.enumerate())
    world = World(tmp_path, [tmp_path / "stick", other])
    assert "it does not answer" in (world.updates.problem() or "")
    assert until(lambda: world.look(PEEK_S) or world.calls == [(str(other), "")])
    for _ in range(5):
        world.look(PEEK_S)
    assert world.calls == [(str(other), "")]
    assert len(set(threading.enumerate()) - threads) <= 3, "a thread is left behind for each look"
    answers.set()
    assert until(lambda: world.look(PEEK_S) or world.updates.problem() is None)


def test_a_reload_hands_on_the_sources_and_what_was_said(tmp_path, store):
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "new.onnx.minisig").touch()
    world = World(tmp_path, [stick], answer=Answer("refused", "no"))
    world.look(AGAIN_S)
    (said,) = world.said
    assert said.startswith("no new model was taken: no. ")
    after = World(tmp_path, before=world)
    after.look(PEEK_S)
    assert len(world.calls) == 1
    after.look(RETRY_S)
    assert (len(world.calls), after.said) == (2, [])
    assert after.updates.standing.problem == "no"


def test_the_same_model_repairs_the_one_that_was_damaged_whatever_the_config_is_by_now(tmp_path, store, monkeypatch):
    key = SecretKey.new()
    trusting(store, key)
    name = offer(tmp_path / "stick", key)
    (tmp_path / "config.yml").write_text("{")
    monkeypatch.setenv("BEAR_ALARM_CONFIG", str(tmp_path / "config.yml"))
    sources = Sources(UpdateSettings(), tmp_path)
    assert sources._update(str(tmp_path / "stick"), "").kind == "waiting"
    store.change(lambda held: replace(held.switched(tested=False), proven=True))
    assert sources._update(str(tmp_path / "stick"), "").kind == "nothing"
    bad = store.read().current
    assert bad
    store.slot(bad).write_bytes(b"half")
    World(tmp_path, loaded=Entry(file_digest(BUNDLED), "bear"))
    assert (store.read().current, store.read().previous) == (None, bad)
    assert sources._update(str(tmp_path / "stick"), "").kind == "waiting"
    found = store.read().waiting
    assert found
    assert (found.name, file_digest(store.slot(found))) == (name, bad.sha256)


def test_the_child_gets_an_address_by_its_standard_input_and_its_refusal_is_one_sentence(tmp_path):
    with refusing_port() as port:
        sources = Sources(UpdateSettings((f"https://127.0.0.1:{port}/new.onnx?token=hunter2",)), tmp_path)
        sources.close()  # an alarm that could not be made: the one before goes on with them
        assert sources.look(0.0) is None
        assert sources.look(FIRST_S) is None
        answer: Answer | None = None
        end = time.monotonic() + PATIENCE_S
        while answer is None and time.monotonic() < end:
            answer = sources.look(FIRST_S)
            time.sleep(0.05)
    assert answer
    assert answer.kind == "refused"
    assert "127.0.0.1" in answer.words
    assert "hunter2" not in answer.words
    assert "\n" not in answer.words
