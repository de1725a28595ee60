"""How a channel's thread learns that the other side is away, and that it is back."""

from edge.alert.delivery import Deliverer
from edge.record.outbox import RefusedError
from tests.helpers.outbox_world import FakeChannel, MemoryQueue, event, wait_for


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

    def does(message):
        if error := answers.pop(0):
            raise error

    queue, channel = MemoryQueue(), FakeChannel(does)
    deliverer = Deliverer(channel, queue)
    queue.put(event(1))
    wait_for(lambda: "not reached (away)" in (deliverer.problem() or ""))
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
