"""Delivering from the real journal: nothing lost when the process is killed, in order, whatever the disk does."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.alert import delivery
from edge.alert.delivery import Deliverer
from edge.alert.webhook import Webhook
from edge.record.outbox import WITHDRAWN
from edge.record.run import EventFactory
from tests.helpers.journal_stage import Times, ask, event, journal
from tests.helpers.outbox_world import FakeChannel, wait_for
from tests.helpers.webhook_server import PostBox

ROOT = Path(__file__).parents[2]

CHILD = """
import os, sys, time
from pathlib import Path
from edge.record import journal as journal_module
from edge.record.journal import Journal
from edge.alert.delivery import Deliverer
from edge.record.run import EventFactory
from edge.alert.webhook import Webhook

journal_module.SOON_S = 30.0  # a busy disk
folder, port, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run, channel = EventFactory(), Webhook(f"http://127.0.0.1:{port}/")
journal = Journal(folder, [channel], run=run)
deliverer = Deliverer(channel, journal)
for number in range(last):
    kept_event = journal(run.event("bear", "new", f"id{number}", "yard"))
    assert kept_event.durable
    os.write(1, f"{run.id} {kept_event.seq}\\n".encode())  # whole: a kill in the middle of a line promises nothing
    time.sleep(0.005)
sys.exit(not deliverer.close(30.0))
"""


@pytest.mark.slow
def test_killed_again_and_again_every_event_arrives_in_order_and_twice_only_with_the_same_key(tmp_path):
    promised: list[str] = []

    def lives():
        yield from ((10_000, 0.25), (10_000, 0.4), (10_000, 0.6))
        while len(promised) <= 20:  # on a slow disk each promises little
            yield 10_000, 0.6
        yield 3, None

    with PostBox() as box:
        for last, life_s in lives():
            words = [sys.executable, "-c", CHILD, str(tmp_path), str(box.port), str(last)]
            child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
            assert child.stdout
            first_lines = [child.stdout.readline()]
            if life_s is not None:
                time.sleep(life_s)
                child.kill()
            rest, errors = child.communicate(timeout=60)
            assert life_s is not None or child.returncode == 0, errors
            promised += ["".join(first_lines).strip(), *(line for line in rest.splitlines() if line)]
    found = [json.loads(each.body) for each in box.posted]
    arrived = [f"{each['boot_id']} {each['seq']}" for each in found]
    keys = [each.headers["Idempotency-Key"] for each in box.posted]
    assert set(promised) <= set(arrived)
    assert len(set(zip(arrived, keys, strict=True))) == len(set(arrived))
    once = [each for each in dict.fromkeys(arrived) if each in set(promised)]
    for run in dict.fromkeys(each.split()[0] for each in promised):
        assert [each for each in once if each.startswith(run)] == [each for each in promised if each.startswith(run)]


def test_words_and_pictures_and_refusals_are_written_down(tmp_path):
    picture = tmp_path / "alarm.jpg"
    run = EventFactory("run")
    with PostBox(200, 400) as box:
        channel = Webhook(f"http://127.0.0.1:{box.port}/")
        kept = journal(tmp_path, channel, run=run)
        deliverer = Deliverer(channel, kept)
        kept(event(run, "a", evidence=str(picture)))
        wait_for(lambda: len(box.posted) == 1)
        kept(event(run, "b"))
        wait_for(lambda: len(box.posted) == 2)
        picture.write_bytes(b"jpeg")  # it was still being written
        wait_for(lambda: len(box.posted) == 3)
        assert deliverer.close(5.0)
        kept.close()
    assert [each.headers["X-Bear-Alarm-Part"] for each in box.posted] == ["word", "word", "picture"]
    assert (deliverer.stats.delivered, deliverer.stats.dead_letters) == (2, 1)
    again = journal(tmp_path, channel, run=EventFactory("next"))
    assert again.waiting(channel.key) == []
    again.close()


def test_after_a_restart_a_picture_that_is_there_is_sent_and_one_that_did_not_come_is_withdrawn(tmp_path, monkeypatch):
    run, channel, times = EventFactory("run"), FakeChannel(), Times()
    kept = journal(tmp_path, channel, run=run, clock=times.clock)
    for name in ("came", "lost"):
        (tmp_path / name).mkdir()
        kept(event(run, name, evidence=str(tmp_path / name / "alarm.jpg")))
    kept.close()
    (tmp_path / "came" / "alarm.jpg").write_bytes(b"jpeg")
    kept = journal(tmp_path, channel, run=EventFactory("next"), clock=times.clock)
    deliverer = Deliverer(channel, kept)
    wait_for(lambda: len(channel.messages) == 3)
    wait_for(lambda: [each.part for each in kept.waiting(channel.key)] == ["picture"])
    monkeypatch.setattr(delivery, "APPEARS_S", 0.0)
    wait_for(lambda: kept.waiting(channel.key) == [])
    assert deliverer.close(5.0)
    kept.close()
    assert [each.part for each in channel.messages] == ["word", "word", "picture"]
    assert channel.messages[-1].events[0].id == "came"
    assert (deliverer.stats.passed_over, deliverer.stats.dead_letters) == (1, 0)
    states = "SELECT part, state, error FROM outbox ORDER BY id"
    sent, lost = ("done", None), ("parked", WITHDRAWN)
    assert ask(tmp_path, states) == [("word", *sent), ("picture", *sent), ("word", *sent), ("picture", *lost)]


def test_what_is_in_memory_only_is_delivered_all_the_same(tmp_path):
    run, channel = EventFactory("run"), FakeChannel()
    (tmp_path / "file").write_text("")
    kept = journal(tmp_path / "file" / "no folder", channel, run=run)
    deliverer = Deliverer(channel, kept)
    for number in range(5):
        assert not kept(event(run, f"id{number}")).durable
    wait_for(lambda: len(channel.messages) == 5)
    assert deliverer.close(5.0)
    kept.close()
    assert [message.events[0].id for message in channel.messages] == [f"id{number}" for number in range(5)]


def test_what_comes_from_memory_to_the_disk_while_it_is_sent_goes_once(tmp_path):
    run, state = EventFactory("run"), tmp_path / "file" / "state"
    (tmp_path / "file").write_text("")

    def mend(message):
        (tmp_path / "file").unlink()
        kept.beat()

    channel = FakeChannel(mend)
    kept = journal(state, channel, run=run)
    deliverer = Deliverer(channel, kept)
    assert not kept(event(run)).durable
    wait_for(lambda: channel.messages)
    assert kept.durable
    assert deliverer.close(5.0)
    kept.close()
    assert len(channel.messages) == 1
    assert ask(state, "SELECT state FROM outbox") == [("done",)]
