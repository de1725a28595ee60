"""The disk's own thread: one call at a time, and nobody waits for one that hangs."""

import threading
import time
from functools import partial

import pytest

from edge.background import DeadlineError, DeadlineExecutor, call_in_thread, call_with_deadline
from tests.helpers.outbox_world import wait_for


def test_it_gives_what_the_work_gives_and_raises_what_it_raises():
    gate = DeadlineExecutor()
    assert gate(lambda: 7, 10.0) == 7
    with pytest.raises(ZeroDivisionError):
        gate(lambda: 1 / 0, 10.0)
    assert gate(threading.get_ident, 10.0) != threading.get_ident()
    gate.close()
    assert gate(lambda: 8, 10.0) == 8
    wait_for(lambda: not gate._serving)


def test_one_call_has_a_thread_of_its_own_and_is_left_behind_when_it_hangs():
    go = threading.Event()
    assert call_with_deadline(lambda: threading.current_thread().name, 10.0, "one call") == "one call"
    with pytest.raises(ZeroDivisionError):
        call_with_deadline(lambda: 1 / 0, 10.0, "one call")
    with pytest.raises(DeadlineError, match=r"one call: no answer within 0\.05 s"):
        call_with_deadline(lambda: go.wait(30), 0.05, "one call")
    late = call_in_thread(lambda: go.wait(30), "another")
    assert not late.done()
    go.set()
    assert late.result(10.0)


def test_after_a_call_that_hangs_nobody_waits_and_what_has_a_name_is_done_once_in_the_end():
    gate, go = DeadlineExecutor(), threading.Event()
    done: list[str | None] = []
    with pytest.raises(DeadlineError):
        gate(lambda: done.append("first") if go.wait(30) else None, 0.1, "first")
    assert gate.busy_s >= 0.1
    started = time.monotonic()
    for _ in range(100):
        for name in ("write", None):
            with pytest.raises(DeadlineError):
                gate(partial(done.append, name), 0.1, name)
    assert time.monotonic() - started < 10.0  # 20 s if each waited
    go.set()
    wait_for(lambda: gate.busy_s == 0.0 and not gate._calls)
    assert done == ["first", "write"]
    gate.close()


def test_many_who_ask_for_the_same_share_it():
    asked = []

    class Gate(DeadlineExecutor):
        def _await(self, call, within_s):
            asked.append(call.name)
            super()._await(call, within_s)

    gate, go, done = Gate(), threading.Event(), []
    first = threading.Thread(target=lambda: gate(lambda: go.wait(30), 30.0))
    first.start()
    wait_for(lambda: gate.busy_s > 0.0)
    others = [threading.Thread(target=lambda: gate(lambda: done.append(1), 30.0, "write")) for _ in range(5)]
    for each in others:
        each.start()
    wait_for(lambda: asked.count("write") == 5)
    go.set()
    for each in (first, *others):
        each.join(30)
    assert 1 <= len(done) < 5
    gate.close()


def test_where_no_thread_is_to_be_had_it_is_done_by_who_asks(monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    assert DeadlineExecutor()(threading.get_ident, 10.0) == threading.get_ident()
