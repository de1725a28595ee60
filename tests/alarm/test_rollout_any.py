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

NAMES = ("a", "b", "c", "d")
names = st.sampled_from(NAMES)
stages = st.sampled_from(STAGES)
days = st.sampled_from([0.0, 0.01, 1.0, 8.0, 400.0, -0.01, -1.0, -20_000.0])


class AnyHistory(RuleBasedStateMachine):
    """Two cameras, known by their names. ``self.person``: the names that a person moved in this step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = RolloutWorld(self.folder / "state", [Camera("a", "src0", stage=""), Camera("b", "src1", stage="")])
        self.world.look()
        self.away: dict[str, Camera] = {}  # not watched for some time
        self.before = self.now()  # also of names that are not in use
        self.config = {each.name: each.stage for each in self.world.cameras}  # what it said last of each name
        self.said = 0
        self.person: set[str] = set()

    def now(self) -> dict[str, Stage]:
        """Return each watched camera's stage."""
        found = {each.name: self.world.stage(each.name) for each in self.world.cameras}
        return {name: stage for name, stage in found.items() if stage}

    def watched(self, name: str) -> bool:
        return name in {each.name for each in self.world.cameras}

    @rule()
    def restart(self) -> None:
        said = self.world.restart()
        assert said == [] or any("SHADOW" in each for each in said)
        self.nothing_changed()

    @rule()
    def reload(self) -> None:
        said = self.world.reload()
        assert said == [] or any("SHADOW" in each for each in said)
        self.nothing_changed()

    def nothing_changed(self) -> None:
        assert self.now().items() <= self.before.items()

    @rule(model=st.sampled_from(["bear@1", "bear@2", "bear@3"]), reload=st.booleans())
    def another_model(self, model: str, reload: bool) -> None:
        self.world.model = model
        (self.world.reload if reload else self.world.restart)()

    @rule(name=names, locked=st.booleans())
    def lock(self, name: str, locked: bool) -> None:
        self.world.edit(name, stage_lock=locked)
        self.world.restart()

    @rule(name=names)
    def moved(self, name: str) -> None:
        self.world.moved(name)
        self.world.look()

    @rule(name=names, verdicts=st.lists(st.sampled_from(["confirmed", "wrong", "unsure", None]), max_size=5))
    def alarms(self, name: str, verdicts: list[str | None]) -> None:
        if self.watched(name):
            self.world.alarms(*verdicts, name=name)
            self.world.look()

    @rule(name=names)
    def wrong_alarms(self, name: str) -> None:
        self.alarms(name, ["wrong"] * 3)

    @rule(name=names, stage=stages, elsewhere=st.booleans())
    def choose(self, name: str, stage: Stage, elsewhere: bool) -> None:
        if self.watched(name):
            if elsewhere:
                self.world.choose_elsewhere(stage, name)
            else:
                self.world.rollout.choose(name, stage, "anna")
            self.world.look()
            assert self.world.stage(name) == stage
            self.person.add(name)

    @rule(name=names, stage=st.sampled_from(["", *STAGES]))
    def edit_config(self, name: str, stage: str) -> None:
        for camera in [each for each in self.world.cameras if each.name == name]:
            self.world.edit(name, stage=stage)
            self.world.restart()
            if stage and stage != camera.stage:
                assert self.world.stage(name) == stage
                self.person.add(name)

    @rule(name=names, new=names, reload=st.booleans())
    def rename(self, name: str, new: str, reload: bool) -> None:
        if not self.watched(name) or self.watched(new) or new in self.away:
            return
        first, stage = new not in self.before, self.before[name]
        self.world.edit(name, name=new)
        (self.world.reload if reload else self.world.restart)()
        (camera,) = (each for each in self.world.cameras if each.name == new)
        if camera.stage and camera.stage != self.config.get(new, camera.stage):  # of a name of before
            assert self.world.stage(new) == camera.stage
            self.person.add(new)
        if first and not self.away:  # whose source may be the same
            assert self.world.stage(new) == stage

    @precondition(lambda self: len(self.world.cameras) == 2)
    @rule(reload=st.booleans())
    def exchange_addresses(self, reload: bool) -> None:
        a, b = self.world.cameras
        if a.source == b.source:
            return
        self.world.cameras = [replace(a, source=b.source), replace(b, source=a.source)]
        (self.world.reload if reload else self.world.restart)()
        locked = {each.name for each in self.world.cameras if each.stage_lock}
        assert "autonomous" not in {stage for name, stage in self.now().items() if name not in locked}

    @rule(name=names, source=st.sampled_from(["src0", "src1", "src2"]), reload=st.booleans())
    def another_address(self, name: str, source: str, reload: bool) -> None:
        for camera in [each for each in self.world.cameras if each.name == name]:
            self.world.edit(name, source=source)
            (self.world.reload if reload else self.world.restart)()
            if source != camera.source and not camera.stage_lock:
                assert self.world.stage(name) != "autonomous"

    @precondition(lambda self: len(self.world.cameras) == 2)
    @rule()
    def disable(self) -> None:
        camera = self.world.cameras.pop()
        self.away[camera.name] = camera
        self.world.restart()

    @precondition(lambda self: self.away)
    @rule()
    def enable(self) -> None:
        _, camera = self.away.popitem()
        self.world.cameras.append(camera)
        self.world.restart()

    @rule(passed=days)
    def clock(self, passed: float) -> None:
        self.world.pass_days(passed)
        self.world.look()
        self.nothing_changed()

    @invariant()
    def only_people_make_a_camera_louder_and_none_falls_into_shadow(self) -> None:
        said, self.said = self.world.notices[self.said :], len(self.world.notices)
        for name, stage in self.now().items():
            was = self.before.get(name, stage)
            if name in self.person or stage == was:
                continue
            assert (was, stage) == ("autonomous", "supervised")
            assert any(f"camera {name} is supervised now" in each for each in said)
        for each in self.world.cameras:  # what holds is what is kept
            assert self.world.rows(each.name)[-1].stage == self.world.stage(each.name)
        self.before |= self.now()
        self.config |= {each.name: each.stage for each in self.world.cameras}
        self.person = set()
        self.world.pass_days(1e-5)

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.folder)


AnyHistory.TestCase.settings = settings(stateful_step_count=25)
test_whatever_happens = pytest.mark.slow(AnyHistory.TestCase)
