"""Killed brokers and subscribers: a short slice of tests/proofs/prove_fleet.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.prove_fleet import live_through


@pytest.mark.slow
@pytest.mark.needs_tool("mosquitto")
def test_each_event_is_there_once_though_broker_and_subscriber_are_killed(tmp_path: Path) -> None:
    """Events that the broker had lost come from the devices' journals."""
    outcome = live_through(tmp_path, devices=50, events=2000, kills=2, rate=400, probes=1)

    assert outcome.kills["broker"] >= 1
    assert outcome.kills["subscriber"] >= 1
    assert (outcome.missing, outcome.copies, outcome.unknown) == (0, 0, 0)
    assert outcome.first > 0
