"""An alarm goes to people before everything else, whatever cameras and the alarm itself have published; and at once."""

import threading

import pytest

from edge.alert.delivery import Deliverer
from tests.helpers.outbox_world import FakeChannel, Life, MemoryQueue, Net, event, wait_for


def chatter(seq, type_="new"):
    """A camera that goes, or comes back."""
    return event(seq, type_, "camera", label="gone")


def sent_at(life, seq):
    """When the first message with this event went."""
    return next(at for at, message in life.tried if any(each.seq == seq for each in message.events))


@pytest.mark.parametrize("apart_s", [0.0, 1.0, 3.0, 20.0])
def test_an_alarm_waits_for_no_chatter_of_cameras(apart_s):
    life = Life(people=True)
    for seq in range(1, 200):
        life.queue.put(chatter(seq))
        life.live(apart_s)
    for alarm in range(1000, 1003):  # the fourth of them may go in a digest
        life.queue.put(event(alarm))
        life.look()
        assert sent_at(life, alarm) == life.now
        life.queue.put(chatter(alarm + 1000))
        life.live(1.0)
    life.live(300.0)
    assert life.queue.of("waiting") == []
    assert len(life.tried) <= 10 + life.now / 30.0 + 1  # and all the same nobody gets hundreds


def test_after_an_outage_the_alarm_goes_before_what_was_said_since():
    net = Net()
    net.up = False
    life = Life(people=True, does=net)
    life.queue.put(event(1))
    for seq in (2, 3, 4):
        life.queue.put(chatter(seq))
        life.live(30.0)
    net.up = True
    life.live(300.0)
    assert life.channel.seqs == [(1,), (4,), (3,), (2,)]


def test_an_old_alarm_leads_the_digest_and_takes_newer_words_along():
    net = Net()
    net.up = False
    life = Life(people=True, does=net)
    life.queue.put(event(1))
    life.live(4000.0)
    life.queue.put(chatter(2))
    net.up = True
    life.live(300.0)
    assert life.channel.seqs == [(1, 2)]


@pytest.mark.parametrize("before", range(10))
def test_an_alarm_that_failed_in_an_outage_waits_for_no_chatter_afterwards(before):
    net = Net()
    life = Life(people=True, does=net)
    for seq in range(1, before + 1):
        life.queue.put(event(seq))
        life.live(2.0)
    net.up = False
    life.queue.put(chatter(50))
    life.live(1.0)
    life.queue.put(event(99))
    life.live(10.0)
    net.up, back = True, life.now
    life.live(60.0)
    at = next(at for at, message in life.tried if at >= back and any(each.seq == 99 for each in message.events))
    assert at - back <= 8.0  # the longest step of the back-off by then


def test_an_alarm_that_failed_just_before_the_network_was_back_is_tried_again_at_once():
    fails = iter([True] * 4)

    def does(message):
        if message.events[0].alarms and message.events[0].seq == 99 and next(fails, False):
            raise OSError("network is unreachable")

    life = Life(people=True)
    for seq in range(1, 9):
        life.queue.put(event(seq))
        life.live(0.1)
    life.channel.does = does
    life.queue.put(chatter(50))
    life.queue.put(event(99))
    for seq in range(100, 112):
        life.live(5.0)
        life.queue.put(chatter(seq))
    at = [at for at, message in life.tried if any(each.seq == 99 for each in message.events)]
    assert len(at) == 5
    assert at[-1] - at[-2] <= 30.0  # one message more to people may be due


def test_who_is_back_is_tried_at_once_and_failing_again_goes_on_with_longer_waits():
    net = Net()
    net.up = False
    life = Life(does=net)
    life.queue.put(event(1))
    life.live(700.0)
    tries = len(life.tried)
    assert life.look() > 100.0
    life.feed.reached()
    assert life.look() > 200.0
    assert len(life.tried) == tries + 1
    net.up = True
    life.feed.reached()
    life.look()
    assert life.channel.seqs == [(1,)]


@pytest.mark.parametrize("people", [True, False])
def test_an_alarm_waits_for_no_other_word_that_is_under_way_for_people(people):
    """A slow server has another word in hand: an alarm goes beside it; machines get all in order."""
    answers, begun = threading.Event(), threading.Event()

    def slow(message):
        if message.events[0].kind == "camera":
            begun.set()
            answers.wait(20.0)

    queue, channel = MemoryQueue(), FakeChannel(slow, people=people)
    deliverer = Deliverer(channel, queue)
    queue.put(chatter(1))
    assert begun.wait(20.0)
    for seq in (2, 3):
        queue.put(event(seq))
    if people:
        wait_for(lambda: len(channel.seqs) == 2)
    answers.set()
    wait_for(lambda: not queue.of("waiting"))
    deliverer.close(5.0)
    assert sorted(channel.seqs) == [(1,), (2,), (3,)]
    assert channel.seqs[0] != (1,) if people else channel.seqs == [(1,), (2,), (3,)]


def test_an_alarm_that_fails_for_itself_still_lets_the_others_go():
    net = Net()
    net.poison = {1}
    life = Life(people=True, does=net)
    life.queue.put(event(1))
    life.queue.put(chatter(2))
    life.live(120.0)
    assert life.channel.seqs == [(2,)]
