"""A broker that is away for a day: a short slice of tests/prove_broker_away.py."""

import pytest

from tests.prove_broker_away import live_through


@pytest.mark.needs_tool("mosquitto")
def test_after_a_day_without_broker_and_internet_everything_is_told(tmp_path):
    outcome = live_through(tmp_path, 40)
    assert outcome.arrived == list(range(40))
    assert outcome.phones == [(39,), tuple(range(39))]
