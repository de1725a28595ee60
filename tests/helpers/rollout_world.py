"""Stages over a real journal, for tests: cameras of a config that can be edited, a clock set by hand, people."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.alert.events import EventPublisher
from edge.decide.stages import NOT_YET, Goal, StageEntry, chosen
from edge.record.journal import Journal
from edge.record.review import Review, pass_on
from edge.record.run import EventFactory
from edge.record.stage_log import read_stages, write_stage
from edge.rollout import Rollout
from edge.schema import Event, Stage, utc_text
from edge.settings import Camera

LABELS = {"brown_bear"}
NAMES = itertools.count()


@dataclass
class RolloutWorld:
    """One device: what its config says (``cameras``, ``model``), and the alarm's part that keeps stages."""

    folder: Path
    cameras: list[Camera] = field(default_factory=lambda: [Camera("yard", "src0", stage="")])
    model: str = "bear@1"
    tested: bool = False
    now: datetime = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
    evidence: Path | None = None
    notices: list[str] = field(default_factory=list)
    returned: int = 0  # so many of them
    goal: Goal = field(default_factory=Goal)

    def __post_init__(self) -> None:
        self.run = EventFactory()
        self.journal = Journal(self.folder, run=self.run)
        self.rollout = self.start()

    def start(self, before: Rollout | None = None) -> Rollout:
        """Start the stages of the config as it is now; ``before``: by a reload."""
        self.publishers = {each.name: EventPublisher() for each in self.cameras}
        self.rollout = Rollout(
            self.cameras,
            self.publishers,
            model=self.model,
            tested=self.tested,
            folder=self.folder,
            evidence=self.evidence,
            goal=self.goal,
            alarm_labels=LABELS,
            run=self.run,
            publish=self.publish,
            wall=lambda: self.now,
            before=before,
        )
        return self.rollout

    def publish(self, event: Event) -> None:
        """Take a notice as the alarm does."""
        self.notices.append(event.detail or "")
        self.journal(event)

    def restart(self) -> list[str]:
        """End the alarm and start it again; return the notices since the last look."""
        self.rollout.close(5.0)
        self.start()
        return self.look()

    def reload(self) -> list[str]:
        """End the alarm and start the next one in the same process; return the notices since the last look."""
        self.rollout.close(5.0)
        self.start(self.rollout)
        return self.look()

    def look(self) -> list[str]:
        """Look once; return the notices since the last look: the alarm's own thread may have looked before."""
        self.rollout.tick(-1e9)  # publishes
        self.rollout.look()
        before, self.returned = self.returned, len(self.notices)
        return self.notices[before : self.returned]

    def edit(self, name: str, /, **changes: Any) -> None:
        """Change a camera in the config; it holds from the next start on."""
        self.cameras = [replace(each, **changes) if each.name == name else each for each in self.cameras]

    def stage(self, name: str = "yard") -> Stage | None:
        """Return the stage that the camera's alarms have now."""
        return self.publishers[name].stage

    def rows(self, name: str = "yard") -> list[StageEntry]:
        """Return the camera's rows in the journal."""
        return read_stages(self.folder).get(name, [])

    def alarms(self, *verdicts: Any, name: str = "yard") -> None:
        """Have the camera raise alarms, and a person review them (None: not)."""
        for verdict in verdicts:
            id_ = f"{next(NAMES):032x}"
            self.journal(self.run.event("bear", "new", id_, name, self.now, model=self.model, stage=self.stage(name)))
            if verdict:
                assert pass_on(self.folder, [id_], Review(verdict, utc_text(self.now))) is None

    def moved(self, name: str = "yard") -> None:
        """Have the camera show another view."""
        self.rollout.take_event(self.run.event("camera", "new", f"{next(NAMES):032x}", name, label="moved"))

    def choose_elsewhere(self, stage: Stage, name: str = "yard", by: str = "anna") -> None:
        """Choose a stage as a command does, in a process of its own."""
        last = self.rows(name)[-1]
        write_stage(self.folder, chosen(last, stage, by, self.now, NOT_YET).entry)

    def pass_days(self, days: float) -> None:
        """Let time pass, or set the clock back."""
        self.now += timedelta(days=days)

    def close(self) -> None:
        """End all of it."""
        self.rollout.close(5.0)
        self.journal.close()
