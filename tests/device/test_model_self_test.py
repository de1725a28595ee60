"""The heartbeat of the model: the real one answers the same again and again; one that does not is reported."""

import math
import threading
import time

import pytest

from edge.detect.classifier import BUNDLED, load
from edge.device import health
from edge.device.health import TOLERANCE, ModelSelfTest, drawn_bear
from edge.schema import Region, Score
from tests.helpers.sink_world import soon


class Model:
    """Answers as the test sets it; a clock goes on by what an answer takes."""

    def __init__(self, bear=0.2, ood=-8.0):
        self.bear, self.ood, self.now, self.asked, self.error = bear, ood, 100.0, 0, None

    def clock(self):
        return self.now

    def score(self, image, regions):
        self.asked += 1
        self.now += 0.25
        if self.error:
            raise self.error
        return [Score(region, (self.bear, 1.0 - self.bear), self.bear, "brown_bear", self.ood) for region in regions]


@pytest.fixture(scope="module")
def bundled():
    return load(str(BUNDLED))


def test_the_bundled_model_answers_the_same_for_hours_and_is_neither_sure_nor_silent(bundled):
    pulse = ModelSelfTest(lambda: bundled)
    for _ in range(50):
        pulse.beat()
        assert pulse.problem() is None
    (score,) = bundled.score(drawn_bear(), [Region((0.0, 0.0, 1.0, 1.0), "scan")])
    assert 0.05 < score.bear < 0.95  # where a small change in the network shows most


def test_it_beats_in_a_thread_of_its_own_and_takes_the_new_model_after_a_reload(bundled, monkeypatch):
    monkeypatch.setattr(health, "EVERY_S", 0.01)
    # The same picture is another answer for another model, and that is no fault.
    models = [bundled, Model()]
    pulse = ModelSelfTest(lambda: models[0])
    assert pulse.age_s(0.0) is None
    pulse.start()
    assert soon(lambda: pulse.age_s(math.inf) is not None)
    del models[0]
    assert soon(lambda: models[0].asked > 3)
    pulse.close()
    assert pulse.problem() is None
    asked = models[0].asked
    assert not any(thread.name == "model self-test" for thread in threading.enumerate())
    assert models[0].asked == asked


def test_it_reports_how_long_ago_an_answer_came(monkeypatch):
    model = Model()
    monkeypatch.setattr("time.monotonic", model.clock)
    pulse = ModelSelfTest(lambda: model)
    pulse.beat()
    assert pulse.age_s(model.now + 7.0) == pytest.approx(7.0)


@pytest.mark.parametrize(
    "change", [{"bear": 0.2 + 2 * TOLERANCE}, {"bear": math.nan}, {"ood": -7.0}, {"ood": math.inf}]
)
def test_an_answer_that_is_no_number_or_another_is_wrong_until_it_is_right_again(change, caplog):
    model = Model()
    pulse = ModelSelfTest(lambda: model)
    pulse.beat()
    vars(model).update(change)
    pulse.beat()
    pulse.beat()
    assert "this machine computes wrongly" in (pulse.problem() or "")
    assert caplog.text.count("computes wrongly") == 1
    model.bear, model.ood = 0.2 + TOLERANCE / 2, -8.0
    pulse.beat()
    assert pulse.problem() is None
    assert "as it should again" in caplog.text


def test_a_first_answer_that_is_no_number_is_nothing_to_go_by():
    model = Model(bear=math.nan)
    pulse = ModelSelfTest(lambda: model)
    pulse.beat()
    assert "no number" in (pulse.problem() or "")
    model.bear = 0.4
    pulse.beat()
    assert pulse.problem() is None


def test_a_model_that_fails_has_not_answered(monkeypatch):
    model = Model()
    monkeypatch.setattr("time.monotonic", model.clock)
    pulse = ModelSelfTest(lambda: model)
    pulse.beat()
    finished, model.error = model.now, MemoryError("no more")
    pulse.beat()
    assert pulse.age_s(finished + 60.0) == pytest.approx(60.0)
    assert "MemoryError: no more" in (pulse.problem() or "")


def test_one_that_hangs_grows_old_and_is_left_behind_at_the_end(monkeypatch):
    monkeypatch.setattr(health, "EVERY_S", 0.0)
    never, began = threading.Event(), threading.Event()

    class Hangs(Model):
        def score(self, image, regions):
            if self.asked:
                began.set()
                never.wait(60)
            return super().score(image, regions)

    model = Hangs()
    pulse = ModelSelfTest(lambda: model)
    pulse.start()
    assert began.wait(60)
    assert (pulse.age_s(time.monotonic() + 90.0) or 0.0) >= 90.0
    assert pulse.problem() is None  # its age shows it
    pulse.close()
    never.set()
