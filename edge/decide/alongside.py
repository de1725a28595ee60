"""Scored once, decided several times: what other rules would have made of the same tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from edge.decide.alarms import Decider, Verdict
from edge.decide.evidence import Rule
from edge.decide.repeat_alarms import Look, Offenders
from edge.detect.tracker import Track
from edge.detect.zones import Zone

K = TypeVar("K")


class Alongside(Decider, Generic[K]):
    """A decider with others beside it: they see the same tracks, and what they would tell is kept, not told."""

    def __init__(
        self,
        rule: Rule,
        others: Mapping[K, Decider],
        *,
        zones: Sequence[Zone] = (),
        offenders: Offenders | None = None,
    ) -> None:
        super().__init__(rule, zones=zones, offenders=offenders)
        self.others = others
        self.news: dict[K, list[float]] = {name: [] for name in others}  # when each would have raised an alarm

    def __call__(
        self,
        tracks: Sequence[Track],
        time: float,
        *,
        wall: datetime | None = None,
        night: bool = False,
        look: Look | None = None,
        seeing: bool = True,
    ) -> list[Verdict]:
        """What this decider tells after a frame, after the others had their say."""
        for name, other in self.others.items():
            told = other(tracks, time, wall=wall, night=night, look=look, seeing=seeing)
            self.news[name] += [time for verdict in told if verdict.alarms]
        return super().__call__(tracks, time, wall=wall, night=night, look=look, seeing=seeing)
