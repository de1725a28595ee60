"""The worker before each sink: the loop never waits, and a sink that hangs is left behind."""

import gc
import statistics
import threading
import time
import weakref

import pytest

from edge.background import MAX_HUNG, Worker, in_background
from edge.schema import Event
from tests.helpers.sink_world import event, soon


def slowly(seconds, take):
    """A sink that sleeps first."""

    def sink(item, *_):
        time.sleep(seconds)
        take(item)

    return sink


def threads(name):
    return sum(thread.name == name for thread in threading.enumerate())


class Doors:
    """Work that hangs for each item that has a door, until the door is opened."""

    def __init__(self, *items):
        self.doors = {item: threading.Event() for item in items}
        self.reported = []

    def __call__(self, item, _):
        if item in self.doors:
            self.doors[item].wait(60)
        if str(item).startswith("bad"):
            raise OSError("too late and wrong")
        self.reported.append(item)

    def open(self):
        for door in self.doors.values():
            door.set()


def test_it_hands_on_in_order_and_drains_on_close():
    reported = []
    worker = in_background(slowly(0.005, lambda e: reported.append(e.seq)), "slow")
    for i in range(10):
        worker(event(seq=i))
    assert worker.close(20.0)
    assert reported == list(range(10))
    assert worker.done == 10
    assert soon(lambda: threads("slow") == 0)
    worker(event(seq=11))
    assert worker.dropped == 1


def test_it_never_makes_the_loop_wait_and_counts_what_it_drops(caplog):
    doors = Doors(*range(10))
    worker = Worker(doors, "stuck", depth=3)
    started = time.monotonic()
    for i in range(10):
        worker(i)
    assert time.monotonic() - started < 0.5
    assert worker.done == 0
    assert not worker.close(0.05)
    assert worker.dropped >= 6
    doors.open()
    assert worker.close(20.0)
    assert "stuck is too slow" in caplog.text
    assert doors.reported[-3:] == [7, 8, 9]


def test_a_sink_that_raises_is_logged_and_tried_again(caplog):
    reported = []

    def flaky(e):
        if e.seq == 1:
            raise OSError("no siren")
        if e.seq == 2:
            raise SystemExit
        reported.append(e.seq)

    worker = in_background(flaky, "siren")
    for i in (1, 2, 3):
        worker(event(seq=i))
    assert worker.close(20.0)
    assert (reported, worker.failures, worker.done, worker.last_error) == ([3], 2, 1, "SystemExit")
    assert "siren failed: no siren" in caplog.text
    assert worker.problem() is None
    assert "1 done" in worker.status()
    assert "2 failed" in worker.status()


def test_latency_runs_until_the_sink_is_called():
    put: list[float] = []
    called: list[tuple[float, float]] = []
    both = threading.Event()

    def sink(e):
        called.append((e.latency_ms, time.monotonic()))
        assert both.wait(20.0)
        time.sleep(0.05)  # for which the second one waits

    worker = in_background(sink, "slow")
    for _ in range(2):
        put.append(time.monotonic())
        worker(event())
    both.set()
    assert worker.close(20.0)
    for (latency_ms, at), put_at in zip(called, put, strict=True):
        assert 5.0 <= latency_ms <= 5.0 + (at - put_at) * 1000.0 + 0.01
    assert called[1][0] > 45.0


def test_a_call_that_hangs_is_left_behind_and_the_next_item_goes_on(caplog):
    doors = Doors("hangs")
    worker = Worker(doors, "mail", deadline_s=0.4)
    worker("hangs")
    worker("next")
    assert soon(lambda: worker.done == 1)  # counted a moment after it was called
    assert doors.reported == ["next"]
    assert (worker.hung, worker.hanging, worker.failures) == (1, 1, 0)
    assert worker.last_error == "no answer within 0.4 s"
    assert soon(lambda: "mail hangs: no answer within 0.4 s (1 of 3); going on without it" in caplog.text)
    assert "1 hung (1 of them still)" in worker.status()
    assert worker.problem() == "mail hangs: no answer within 0.4 s (1 of 3)"
    doors.open()
    assert soon(lambda: worker.hanging == 0)
    assert worker.problem() is None
    worker("later")
    assert worker.close(20.0)
    assert doors.reported == ["next", "hangs", "later"]
    assert (worker.done, worker.hung) == (3, 1)
    assert soon(lambda: threads("mail") == 0)


def test_it_is_noticed_though_nothing_further_comes():
    doors = Doors("hangs")
    worker = Worker(doors, "mail", deadline_s=0.2)
    worker("hangs")
    assert soon(lambda: worker.hung == 1)
    doors.open()
    worker.close(20.0)


def test_with_three_left_behind_items_are_dropped_until_one_returns(caplog):
    doors = Doors("bad 1", "bad 2", "bad 3")
    answers: list[tuple] = []
    worker = Worker(doors, "mail", deadline_s=0.4, answered=lambda *answer: answers.append(answer[:2]))
    for item in ("bad 1", "bad 2", "bad 3", "lost"):
        worker(item)
    assert soon(lambda: worker.dropped == 1)
    assert (worker.hung, worker.hanging) == (3, MAX_HUNG)
    assert soon(lambda: "what comes is dropped until one returns" in caplog.text)
    worker("lost too")
    assert soon(lambda: worker.dropped == 2)
    assert threads("mail") == MAX_HUNG + 1  # and the watch
    doors.doors["bad 2"].set()
    assert soon(lambda: worker.hanging == 2)
    worker("next")
    assert soon(lambda: doors.reported == ["next"])
    doors.open()
    assert soon(lambda: worker.hanging == 0)
    worker("last")
    assert worker.close(20.0)
    assert doors.reported == ["next", "last"]
    assert (worker.failures, worker.done, worker.last_error) == (3, 2, "too late and wrong")
    assert soon(lambda: threads("mail") == 0)
    no_answer, dropped = "no answer within 0.4 s", "dropped, for 3 calls before it hang"
    hung = [(item, no_answer) for item in ("bad 1", "bad 2", "bad 3")]
    assert answers == [*hung, ("lost", dropped), ("lost too", dropped), ("next", None), ("last", None)]


def test_closing_does_not_wait_for_what_hangs_and_logs_it(caplog):
    doors = Doors(1, 2, 3)
    worker = Worker(doors, "mail", deadline_s=0.1)
    for item in (1, 2, 3):
        worker(item)
    assert soon(lambda: worker.hanging == 3)
    started = time.monotonic()
    assert not worker.close(30.0)
    assert time.monotonic() - started < 20.0
    assert "mail: 3 left undone" in caplog.text
    assert soon(lambda: threads("mail") == MAX_HUNG)  # the watch has gone
    doors.open()
    assert soon(lambda: threads("mail") == 0)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_sink_has_its_own_end(hangs):
    ended, door = threading.Event(), threading.Event()

    def end():
        ended.set()
        if hangs:
            door.wait(60)

    worker = in_background(lambda event: None, "siren", at_end=end)
    worker(event())
    assert worker.close(20.0)
    assert ended.wait(20.0)
    door.set()


def test_each_item_is_answered_once_with_its_time():
    answers: list[tuple] = []

    def work(e):
        time.sleep(0.05)
        if e.seq == 2:
            raise ValueError

    def answered(*answer):
        answers.append(answer)
        raise RuntimeError("the caller is in trouble")

    worker = in_background(work, "siren", answered=answered)
    for i in (1, 2):
        worker(event(seq=i))
    assert worker.close(20.0)
    assert [(e.seq, problem) for e, problem, _ in answers] == [(1, None), (2, "ValueError")]
    assert all(took_ms >= 45.0 for _, _, took_ms in answers)
    assert worker.last_ms == answers[1][2]


def test_nothing_of_an_item_is_kept_while_waiting_for_the_next():
    class Frame:
        pass

    worker: Worker = Worker(lambda item, _: None, "evidence", deadline_s=30.0)
    frame = Frame()
    gone = weakref.ref(frame)
    worker(frame)
    del frame
    assert soon(lambda: worker.done == 1)
    assert soon(lambda: gc.collect() >= 0 and gone() is None)
    worker.close(20.0)


def test_while_idle_it_uses_no_time():
    worker: Worker = Worker(lambda item, _: None, "idle", deadline_s=0.05)
    worker(1)
    assert soon(lambda: worker.done == 1)
    time.sleep(0.1)  # the deadline of that call passes
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
    worker.close(20.0)


def play_through(bad):
    """The latencies two good sinks saw, among which bad ones were, in their order; and the bad ones' workers."""
    seen: list[float] = []
    door = threading.Event()

    def raises(_):
        raise OSError("no such device")

    made = {
        "hanging": in_background(lambda _: door.wait(60), "hanging", deadline_s=0.2),
        "throwing": in_background(raises, "throwing", depth=100),
        "slow": in_background(slowly(0.3, lambda _: None), "slow", depth=2),
    }
    first, last = (
        in_background(lambda e: seen.append(e.latency_ms or 0.0), name, depth=100) for name in ("first", "last")
    )
    workers = [first, *(made.values() if bad else ()), last]
    for i in range(100):
        handed_over = time.monotonic()
        for worker in workers:
            worker(late(i, handed_over))
        time.sleep(0.01)
    for good in (first, last):
        assert good.close(20.0)
    assert len(seen) == 200
    if bad:
        assert soon(lambda: made["hanging"].hung == MAX_HUNG and made["throwing"].failures == 100)
    door.set()
    for worker in made.values():
        worker.close(20.0)
    return seen, made


def late(seq, since):
    return Event(
        "bear", "new", f"id{seq}", seq, "run", "yard", "2026-01-01T00:00:00.000Z",
        latency_ms=round((time.monotonic() - since) * 1000.0, 2),
    )  # fmt: skip


def test_a_hanging_a_throwing_and_a_slow_sink_do_not_delay_the_others_and_are_shown():
    alone, _ = play_through(bad=False)
    beside, made = play_through(bad=True)
    # The bad ones take 200 ms and more a call: a sink that waited for one of them would see that.
    assert statistics.median(beside) < 3.0 * statistics.median(alone) + 5.0
    assert sorted(beside)[len(beside) * 9 // 10] < 3.0 * sorted(alone)[len(alone) * 9 // 10] + 50.0
    assert made["hanging"].hung == MAX_HUNG
    assert made["hanging"].dropped > 0
    assert "hung" in made["hanging"].status()
    assert made["throwing"].failures == 100
    assert "last error: no such device" in made["throwing"].status()
    assert made["throwing"].problem() == "throwing failed: no such device"
    assert made["slow"].dropped > 50
