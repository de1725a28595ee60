"""A channel's thread: it sends what waits, outlives a send that hangs, and ends in time."""

import threading
import time

import pytest

from edge.alert import delivery
from edge.alert.delivery import HUNG_RETRY_S, MAX_HUNG, MAX_HUNG_EVER, Deliverer, close_all
from edge.record.outbox import RefusedError
from tests.helpers.outbox_world import FakeChannel, MemoryQueue, event, wait_for


def test_what_is_put_is_sent_at_once_in_order():
    queue, channel = MemoryQueue(), FakeChannel()
    deliverer = Deliverer(channel, queue)
    for seq in range(1, 21):
        queue.put(event(seq))
    wait_for(lambda: len(channel.messages) == 20)
    assert deliverer.close(5.0)
    assert channel.seqs == [(seq,) for seq in range(1, 21)]
    assert deliverer.stats.failed == 0
    assert channel.closed
    assert (deliverer.stats.delivered, deliverer.stats.waiting) == (20, 0)
    assert deliverer.status().startswith("fake: 20 delivered, the last in ")


def test_what_fails_is_logged_once_without_secrets_and_again_when_it_works_again(caplog):
    caplog.set_level("INFO")
    failing = [True, True]

    def does(message):
        if failing and failing.pop():
            raise OSError("cannot reach mqtt://bob:hunter22@10.0.0.7:1883/yard")

    queue, channel = MemoryQueue(), FakeChannel(does)
    deliverer = Deliverer(channel, queue, chance=lambda: 1.0)
    queue.put(event(1))
    wait_for(lambda: deliverer.stats.last_error)
    assert "10.0.0.7:1883" in (deliverer.problem() or "")
    assert "the last was not" in deliverer.status()
    wait_for(lambda: channel.messages)
    deliverer.close(5.0)
    assert (deliverer.stats.failed, deliverer.stats.delivered, deliverer.stats.last_error) == (2, 1, None)
    assert deliverer.problem() is None
    assert caplog.text.count("not delivered") == 1
    assert "reached again" in caplog.text
    assert "hunter22" not in caplog.text + deliverer.status()


def test_a_refusal_is_logged_and_parked(caplog):
    def does(message):
        raise RefusedError("HTTP 400")

    queue = MemoryQueue()
    deliverer = Deliverer(FakeChannel(does), queue)
    row = queue.put(event(1))
    wait_for(lambda: queue.of("parked") == [row])
    assert deliverer.close(5.0)
    assert "refused for good, and not sent again: HTTP 400" in caplog.text
    assert deliverer.stats.dead_letters == 1


def test_a_word_does_not_wait_for_a_picture_that_is_under_way(tmp_path):
    go = threading.Event()
    queue = MemoryQueue()
    channel = FakeChannel(lambda message: go.wait(20) if message.part == "picture" else None)
    deliverer = Deliverer(channel, queue)
    picture = tmp_path / "seen.jpg"
    picture.write_bytes(b"jpeg")
    queue.put(event(1), "picture", picture)
    queue.put(event(2))
    wait_for(lambda: channel.messages)
    assert channel.messages[0].part == "word"
    go.set()
    wait_for(lambda: len(channel.messages) == 2)
    assert deliverer.close(5.0)
    assert queue.of("waiting") == []


def test_a_send_that_hangs_is_left_behind_and_counts_when_it_arrives_after_all(caplog):
    go, now = threading.Event(), [0.0]
    queue = MemoryQueue()
    hung: list[int] = []

    def does(message):
        if not hung:
            hung.append(1)
            go.wait(20)

    channel = FakeChannel(does)
    deliverer = Deliverer(channel, queue, clock=lambda: now[0])
    first = queue.put(event(1))
    wait_for(lambda: hung)
    now[0] = 60.0
    wait_for(lambda: channel.messages or channel.reached())  # in the second try
    wait_for(lambda: queue.done_order == [first])
    assert (deliverer.stats.hung, deliverer.stats.hanging) == (1, 1)
    assert "no answer within 60 s" in caplog.text
    go.set()
    queue.put(event(2))
    wait_for(lambda: len(channel.messages) == 3 and not deliverer.stats.hanging)
    assert deliverer.close(5.0)
    assert deliverer.stats.hanging == 0


def test_few_sends_are_left_behind_and_then_it_is_tried_seldom(monkeypatch, caplog):
    monkeypatch.setattr(delivery, "DEADLINES_S", {"word": 0.05, "picture": 0.05})
    go = threading.Event()
    queue = MemoryQueue()
    tries: list[float] = []
    ahead = [0.0]

    def clock():
        return time.monotonic() + ahead[0]

    def does(message):
        tries.append(clock())
        go.wait(60)

    deliverer = Deliverer(FakeChannel(does), queue, clock=clock)

    def pass_by(seconds):
        ahead[0] += seconds
        queue.put(event(len(queue.rows)))

    pass_by(0.0)
    for number in range(1, MAX_HUNG + 1):
        wait_for(lambda number=number: deliverer.stats.hung == number)  # type: ignore[misc]
        pass_by(400.0)
    wait_for(lambda: len(tries) == MAX_HUNG)  # a thread may begin late
    time.sleep(0.2)
    assert len(tries) == MAX_HUNG
    for number in range(MAX_HUNG + 1, MAX_HUNG_EVER + 1):
        pass_by(HUNG_RETRY_S)
        wait_for(lambda number=number: deliverer.stats.hung == number)  # type: ignore[misc]
    pass_by(10 * HUNG_RETRY_S)
    wait_for(lambda: len(tries) == MAX_HUNG_EVER)
    time.sleep(0.2)
    assert len(tries) == MAX_HUNG_EVER
    assert f"{MAX_HUNG} sends hang" in caplog.text
    go.set()
    wait_for(lambda: deliverer.stats.hanging == 0 or pass_by(400.0))
    deliverer.close(5.0)


def test_closing_delivers_what_waits_and_ends_in_time_when_it_hangs():
    queue, slow = MemoryQueue(), FakeChannel(lambda message: time.sleep(0.02))
    deliverer = Deliverer(slow, queue)
    for seq in range(1, 11):
        queue.put(event(seq))
    assert deliverer.close(10.0)
    assert len(slow.messages) == 10

    go = threading.Event()
    queues = [MemoryQueue() for _ in range(4)]
    channels = [*(FakeChannel(lambda message: go.wait(30)) for _ in range(3)), FakeChannel(lambda message: 1 / 0)]
    every = [Deliverer(channel, each) for channel, each in zip(channels, queues, strict=True)]
    failing = every[-1]
    for each in queues:
        each.put(event(1))
    wait_for(lambda: failing.stats.failed)
    started = time.monotonic()
    assert not close_all(every, 1.0)
    assert time.monotonic() - started < 3.0
    go.set()


def test_a_channel_that_cannot_be_closed_is_not_waited_for(caplog):
    channel = FakeChannel()
    channel.close = lambda: time.sleep(30)  # type: ignore[method-assign]
    deliverer = Deliverer(channel, MemoryQueue())
    started = time.monotonic()
    assert deliverer.close(0.3)
    assert time.monotonic() - started < 3.0


def test_a_journal_that_cannot_be_read_is_logged_once_and_looked_at_again(caplog):
    queue, channel = MemoryQueue(), FakeChannel()
    queue.broken = {"waiting"}
    deliverer = Deliverer(channel, queue)
    for seq in range(3):
        queue.put(event(seq))
        time.sleep(0.02)
    wait_for(lambda: "cannot be read (No space left on device)" in caplog.text)
    assert caplog.text.count("cannot be read") == 1
    queue.broken = set()
    queue.put(event(9))
    wait_for(lambda: len(channel.messages) == 4)
    deliverer.close(5.0)


@pytest.mark.parametrize("people", [False, True])
def test_a_restart_loses_nothing(people):
    queue = MemoryQueue()
    down = Deliverer(FakeChannel(lambda message: 1 / 0, people=people), queue)
    for seq in range(1, 4):
        queue.put(event(seq))
    wait_for(lambda: down.stats.failed)
    assert not down.close(1.0)
    channel = FakeChannel(people=people)
    up = Deliverer(channel, queue)
    wait_for(lambda: queue.of("waiting") == [])
    up.close(5.0)
    assert channel.seqs == ([(3,), (2,), (1,)] if people else [(1,), (2,), (3,)])


# How it learns that the other side is away, and that it is back.


def test_what_the_channel_knows_without_sending_is_a_problem_too():
    channel = FakeChannel()
    deliverer = Deliverer(channel, MemoryQueue())
    assert deliverer.problem() is None
    channel.problem = "10.0.0.7:1883: nothing listens there"
    assert deliverer.problem() == (
        "fake: not reached (10.0.0.7:1883: nothing listens there); messages wait and are sent later"
    )
    deliverer.close(5.0)


def test_a_channel_that_is_back_is_sent_to_at_once():
    away, ahead = [True], [0.0]
    queue, channel = MemoryQueue(), FakeChannel(lambda message: 1 / 0 if away else None)
    deliverer = Deliverer(channel, queue, chance=lambda: 0.0, clock=lambda: ahead[0])
    queue.put(event(1))
    for failures in range(1, 8):
        wait_for(lambda failures=failures: deliverer.stats.failed == failures)  # type: ignore[misc]
        ahead[0] += 2.0**failures
        if failures < 7:
            channel.reached()
    assert "division by zero" in (deliverer.problem() or "")
    away.clear()
    channel.reached()
    wait_for(lambda: channel.messages)
    deliverer.close(5.0)
    assert deliverer.problem() is None


def test_who_refuses_is_there_and_is_not_well_until_something_is_delivered():
    answers: list[Exception | None] = [OSError("away"), RefusedError("HTTP 401"), RefusedError("HTTP 413"), None]
    seen = threading.Event()

    def does(message):
        if len(answers) == 3:
            seen.wait(20)
        if error := answers.pop(0):
            raise error

    queue, channel = MemoryQueue(), FakeChannel(does)
    deliverer = Deliverer(channel, queue)
    queue.put(event(1))
    wait_for(lambda: "not reached (away)" in (deliverer.problem() or ""))
    seen.set()
    channel.reached()
    wait_for(lambda: queue.of("parked") == [1])
    assert deliverer.problem() == "fake: refuses messages (HTTP 401)"
    channel.problem = "nothing listens there"
    assert deliverer.problem() == ("fake: not reached (nothing listens there); messages wait and are sent later")
    channel.problem = None
    queue.put(event(2))
    wait_for(lambda: queue.of("parked") == [1, 2])
    assert deliverer.problem() == "fake: refuses messages (HTTP 413)"
    queue.put(event(3))
    wait_for(lambda: queue.of("done") == [3])
    assert deliverer.problem() is None
    deliverer.close(5.0)


def test_a_picture_that_is_refused_is_no_problem(tmp_path):
    picture = tmp_path / "seen.jpg"
    picture.write_bytes(b"jpeg")
    queue, channel = MemoryQueue(), FakeChannel(lambda message: refuse() if message.picture else None)
    deliverer = Deliverer(channel, queue)
    queue.put(event(1))
    queue.put(event(1), "picture", picture)
    wait_for(lambda: queue.of("parked") == [2])
    assert deliverer.problem() is None
    deliverer.close(5.0)


def refuse():
    raise RefusedError("HTTP 413")
