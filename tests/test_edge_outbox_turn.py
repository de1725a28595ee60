"""A state disk that hangs keeps nobody from telling, nor from ending; whose turn it is is known again afterwards."""

import os
import threading
from contextlib import contextmanager

from edge.alert import delivery as turns
from edge.alert.delivery import Deliverer, DeliveryLock
from edge.run import EventFactory
from tests.journal_stage import Wants, event, journal
from tests.outbox_world import MemoryQueue, Told, wait_for
from tests.outbox_world import event as bear


@contextmanager
def hanging(monkeypatch, name, folder):
    """Nobody comes back from this call of the system for a file below the folder until the event is set."""
    real, go = getattr(os, name), threading.Event()

    def hang(path, *args, **more):
        if isinstance(path, int) or str(path).startswith(str(folder)):
            assert go.wait(60.0)
        return real(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, hang)
        try:
            yield go
        finally:
            go.set()


def ends(work):
    """Whether it comes back, in a thread of its own: what hangs must not hang the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20.0)
    return not thread.is_alive()


def test_a_disk_that_hangs_from_the_start_keeps_no_channel_from_telling(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.2)
    queue, channel = MemoryQueue(), Told()
    folder, told = tmp_path / "disk", []
    with hanging(monkeypatch, "open", folder):
        deliverer = Deliverer(channel, queue, turn=DeliveryLock(folder, channel.key), run="mine")
        queue.put(bear(1))  # what an earlier run left
        queue.put(bear(2))
        wait_for(lambda: len(channel.messages) == 2)
        assert deliverer.stats.mine
        assert ends(lambda: told.append(deliverer.close(5.0)))
    assert told == [True]
    assert caplog.text.count("the disk does not answer") == 1
    wait_for(lambda: lock_is_free(folder, channel.key))


def lock_is_free(folder, key):
    """Whether nobody has the turn."""
    other = DeliveryLock(folder, key)
    try:
        return other.take() and other.held
    finally:
        other.release()


def test_when_the_disk_answers_it_is_known_again_whose_turn_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.2)
    other, mine = DeliveryLock(tmp_path, "told"), DeliveryLock(tmp_path, "told")
    assert other.take()
    with hanging(monkeypatch, "open", tmp_path):
        assert mine.take()
        assert not mine.held
    monkeypatch.setattr(turns, "PATIENCE_S", 60.0)
    wait_for(lambda: not mine.take())
    other.release()
    assert mine.take()
    assert mine.held
    mine.release()


def test_what_is_locked_after_the_release_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)
    late = DeliveryLock(tmp_path, "told")
    with hanging(monkeypatch, "open", tmp_path):
        assert late.take()
        assert ends(late.release)
    wait_for(late.path.exists)
    wait_for(lambda: lock_is_free(tmp_path, "told"))


def test_a_disk_that_keeps_the_file_from_being_closed_keeps_nobody(tmp_path, monkeypatch):
    turn = DeliveryLock(tmp_path, "told")
    assert turn.take()
    with hanging(monkeypatch, "close", tmp_path):
        assert ends(turn.release)
    wait_for(lambda: lock_is_free(tmp_path, "told"))


def test_a_journal_is_closed_though_the_disk_keeps_the_file_that_says_it_lives(tmp_path, monkeypatch):
    run = EventFactory()
    kept = journal(tmp_path, Wants(), run=run, soon_s=0.1, patience_s=0.2)
    assert kept(event(run)).durable
    (alive,) = (tmp_path / "alive").iterdir()
    with hanging(monkeypatch, "unlink", alive):
        assert ends(kept.close)
    wait_for(lambda: not alive.exists())
