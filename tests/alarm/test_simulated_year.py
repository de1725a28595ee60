"""Two months of one camera with a fast clock: the stages as its person lives through them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from edge.decide.stages import STAGES
from tests.helpers.simulated_year import Habits, Happening, Simulation, Site

DOGS, DIRT, MOVED, MODEL = 24, 26, 44, 64  # days


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    happenings = [
        Happening("dogs", DOGS, "hives", 1),
        Happening("dirt", DIRT, "hives", 8),
        Happening("moved", MOVED, "hives"),
        Happening("dogs", MOVED + 1, "hives", 1),  # of a supervised camera: nothing is taken away
        Happening("model", MODEL),
    ]
    careful = Habits(evenings=1.0, answers=0.6, unsure=0.0, careless=0.0)
    begins = datetime(2025, 6, 1, tzinfo=UTC)
    sites = [Site("hives", bears=3.0, wrong=0.05, found=1.0)]
    return Simulation(tmp_path_factory.mktemp("year"), sites, happenings, begins, habits=careful, seed=3).simulate(66)


def test_a_camera_rises_by_what_people_choose_and_falls_to_supervised_alone(year):
    stages = [stage for _, stage in year.stages["hives"]]
    assert stages == ["shadow", *["supervised", "autonomous"] * 3, "supervised"]
    chosen = [line.words for line in year.lines if line.kind == "chosen"]
    assert chosen == ["supervised", "autonomous", "autonomous", "autonomous"]


def test_each_fall_is_a_notice_that_says_why_on_the_day_it_is_known(year):
    falls = [line for line in year.lines if line.kind == "stage" and "is supervised now, because" in line.words]
    whys = ["3 reviewed alarms in a row were wrong", "the camera was moved", "was not in shadow here"]
    assert len(falls) == len(whys)
    assert all(why in fall.words for why, fall in zip(whys, falls, strict=True))
    began = year.stages["hives"][0][0]
    assert [(fall.at - began).days for fall in falls] == [DOGS, MOVED, MODEL]


def test_a_stage_is_offered_before_it_is_chosen(year):
    for before, line in pairwise(year.lines):
        assert line.kind != "chosen" or f"has earned the stage {line.words}" in before.words


def test_what_each_stage_promises_holds_for_every_alarm(year):
    alarms = year.alarms["hives"]
    by_stage = {stage: [each for each in alarms if each.event.stage == stage] for stage in STAGES}
    assert min(map(len, by_stage.values())) >= 16, "a stage is earned with as many"
    assert not any(each.noisy or each.event.alarms for each in by_stage["shadow"])
    assert all(each.noisy for each in by_stage["autonomous"])
    supervised = by_stage["supervised"]
    assert all(each.event.alarms for each in supervised), "people are notified at once"
    assert all(each.noisy for each in supervised if each.bear), "a yes, or nobody answered in time"
    assert any(not each.noisy for each in supervised if not each.bear), "a no"


def test_a_lens_that_gets_dirty_is_noticed_as_what_it_is_until_somebody_looked(year):
    lines = [line for line in year.lines if line.kind in {"drift", "looked"}]
    *notices, looked = lines
    assert notices
    assert all("is the lens dirty" in line.words for line in notices)
    began = year.stages["hives"][0][0]
    assert DIRT < (lines[0].at - began).days < (looked.at - began).days < MOVED
    assert looked.kind == "looked"
