"""A broker that is away: for a moment, and for a day (a short slice of tests/proofs/prove_broker_away.py)."""

import pytest

from edge.alert.delivery import Deliverer
from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url
from tests.helpers.broker import Broker, Listener, until
from tests.helpers.outbox_world import MemoryQueue, event
from tests.proofs.prove_broker_away import live_through


@pytest.mark.needs_tool("mosquitto")
def test_after_a_day_without_broker_and_internet_everything_is_delivered(tmp_path):
    outcome = live_through(tmp_path, 40)
    assert outcome.arrived == list(range(40))
    assert outcome.phones == [(39,), tuple(range(39))]


@pytest.mark.needs_tool("mosquitto")
def test_after_an_outage_what_waits_goes_as_soon_as_the_broker_is_back(tmp_path, caplog):
    with Broker(tmp_path) as broker, Listener(broker, "bear-alarm/events") as listener:
        live_through_an_outage(broker, listener)
    assert "the connection was lost (the broker or the network went away)" in caplog.text


def live_through_an_outage(broker, listener):
    mqtt = Mqtt(settings_from_url(broker.url), ["yard"])
    assert until(lambda: mqtt._connection.up)
    queue, ahead = MemoryQueue(), [0.0]
    deliverer = Deliverer(mqtt, queue, clock=lambda: ahead[0], chance=lambda: 0.0)
    broker.stop()
    # Before anything is to be sent; the reason changes with each try to connect.
    assert until(lambda: mqtt.problem and mqtt.problem in (deliverer.problem() or ""))
    queue.put(event(1))
    for failures in range(1, 6):  # by the deliverer's clock, which then does not move, the next try is 16 s away
        assert until(lambda failures=failures: deliverer.stats.failed == failures)
        ahead[0] += 0.0 if failures == 5 else 300.0
        deliverer._wake.set()
    broker.start()
    assert until(lambda: listener.got)
    assert until(lambda: deliverer.problem() is None)
    deliverer.close(5.0)
