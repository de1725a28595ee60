"""Stages over whatever may happen: only a person makes a camera louder, the alarm never sends one into shadow."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.decide.stages import STAGES
from edge.schema import Stage
from edge.settings import Camera
from tests.helpers.rollout_world import RolloutWorld

SOURCES = ("src0", "src1")
sources = st.sampled_from(SOURCES)
stages = st.sampled_from(STAGES)
days = st.sampled_from([0.0, 0.01, 1.0, 8.0, 400.0, -0.01, -1.0, -20_000.0])


class AnyHistory(RuleBasedStateMachine):
    """Two cameras, known by their sources. ``self.person``: the cameras that a person moved in this step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = RolloutWorld(self.folder / "state", [Camera("a", "src0", stage=""), Camera("b", "src1", stage="")])
        self.world.look()
        self.names = 0
        self.away: dict[str, Camera] = {}  # not watched for some time
        self.stage_away: Stage
        self.before = self.now()
        self.said = 0
        self.person: set[str] = set()

    def now(self) -> dict[str, Stage]:
        """Return each camera's stage, by its source."""
        found = {each.source: self.world.stage(each.name) for each in self.world.cameras}
        return {source: stage for source, stage in found.items() if stage}

    def name(self, source: str) -> str | None:
        return next((each.name for each in self.world.cameras if each.source == source), None)

    @rule()
    def restart(self) -> None:
        said = self.world.restart()
        assert said == [] or any("SHADOW" in each for each in said)
        assert self.now() == self.before

    @rule()
    def reload(self) -> None:
        said = self.world.reload()
        assert said == [] or any("SHADOW" in each for each in said)
        assert self.now() == self.before

    @rule(model=st.sampled_from(["bear@1", "bear@2", "bear@3"]), reload=st.booleans())
    def another_model(self, model: str, reload: bool) -> None:
        self.world.model = model
        (self.world.reload if reload else self.world.restart)()

    @rule(source=sources, locked=st.booleans())
    def lock(self, source: str, locked: bool) -> None:
        if name := self.name(source):
            self.world.edit(name, stage_lock=locked)
            self.world.restart()

    @rule(source=sources)
    def moved(self, source: str) -> None:
        if name := self.name(source):
            self.world.moved(name)
            self.world.look()

    @rule(source=sources, verdicts=st.lists(st.sampled_from(["confirmed", "wrong", "unsure", None]), max_size=5))
    def alarms(self, source: str, verdicts: list[str | None]) -> None:
        if name := self.name(source):
            self.world.alarms(*verdicts, name=name)
            self.world.look()

    @rule(source=sources)
    def wrong_alarms(self, source: str) -> None:
        self.alarms(source, ["wrong"] * 3)

    @rule(source=sources, stage=stages, elsewhere=st.booleans())
    def choose(self, source: str, stage: Stage, elsewhere: bool) -> None:
        if name := self.name(source):
            if elsewhere:
                self.world.choose_elsewhere(stage, name)
            else:
                self.world.rollout.choose(name, stage, "anna")
            self.world.look()
            assert self.world.stage(name) == stage
            self.person.add(source)

    @rule(source=sources, stage=st.sampled_from(["", *STAGES]))
    def edit_config(self, source: str, stage: str) -> None:
        if name := self.name(source):
            was = next(each.stage for each in self.world.cameras if each.name == name)
            self.world.edit(name, stage=stage)
            self.world.restart()
            if stage and stage != was:
                assert self.world.stage(name) == stage
                self.person.add(source)

    @rule(source=sources, back=st.booleans(), reload=st.booleans())
    def rename(self, source: str, back: bool, reload: bool) -> None:
        if name := self.name(source):
            self.names += 1
            first = "ab"[SOURCES.index(source)]
            taken = {each.name for each in (*self.world.cameras, *self.away.values())}
            self.world.edit(name, name=first if back and first not in taken else f"name{self.names}")
            (self.world.reload if reload else self.world.restart)()

    @precondition(lambda self: len(self.world.cameras) == 2)
    @rule(reload=st.booleans())
    def exchange_names(self, reload: bool) -> None:
        a, b = self.world.cameras
        self.world.cameras = [replace(a, name=b.name), replace(b, name=a.name)]
        (self.world.reload if reload else self.world.restart)()
        assert self.now() == self.before

    @precondition(lambda self: len(self.world.cameras) == 2)
    @rule()
    def disable(self) -> None:
        camera = self.world.cameras.pop()
        self.away[camera.source] = camera
        self.stage_away = self.before.pop(camera.source)
        self.world.restart()

    @precondition(lambda self: self.away)
    @rule()
    def enable(self) -> None:
        source, camera = self.away.popitem()
        self.world.cameras.append(camera)
        self.before[source] = self.stage_away
        self.world.restart()

    @rule(passed=days)
    def clock(self, passed: float) -> None:
        self.world.pass_days(passed)
        self.world.look()
        assert self.now() == self.before

    @invariant()
    def only_people_make_a_camera_louder_and_none_falls_into_shadow(self) -> None:
        said, self.said = self.world.notices[self.said :], len(self.world.notices)
        for source, stage in self.now().items():
            was = self.before.get(source, stage)
            if source in self.person or stage == was:
                continue
            assert (was, stage) == ("autonomous", "supervised")
            assert any(f"camera {self.name(source)} is supervised now" in each for each in said)
        for each in self.world.cameras:  # what holds is what is kept
            assert self.world.rows(each.name)[-1].stage == self.world.stage(each.name)
        self.before, self.person = self.now(), set()
        self.world.pass_days(1e-5)

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.folder)


AnyHistory.TestCase.settings = settings(stateful_step_count=25)
test_whatever_happens = pytest.mark.slow(AnyHistory.TestCase)
