"""How a channel's thread learns that the other side is away, and that it is back."""

from edge.outbox import RefusedError
from edge.outbox.deliver import Deliverer
from tests.outbox_world import MemoryQueue, Told, event, wait_for


def test_what_the_channel_knows_without_sending_is_a_problem_too():
    channel = Told()
    deliverer = Deliverer(channel, MemoryQueue())
    assert deliverer.problem() is None
    channel.problem = "10.0.0.7:1883: nothing listens there"
    assert deliverer.problem() == (
        "told: not reached (10.0.0.7:1883: nothing listens there); what is to be told is kept, and told later"
    )
    deliverer.close(5.0)


def test_a_channel_that_is_back_is_sent_to_at_once():
    away, ahead = [True], [0.0]
    queue, channel = MemoryQueue(), Told(lambda message: 1 / 0 if away else None)
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


def test_a_refusal_shows_that_somebody_is_there():
    answers: list[Exception] = [OSError("away"), RefusedError("HTTP 400")]

    def does(message):
        raise answers.pop(0)

    queue, channel = MemoryQueue(), Told(does)
    deliverer = Deliverer(channel, queue)
    queue.put(event(1))
    wait_for(deliverer.problem)
    channel.reached()
    wait_for(lambda: queue.of("parked"))
    wait_for(lambda: deliverer.problem() is None)
    deliverer.close(5.0)
