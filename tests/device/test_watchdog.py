"""Whether the watchdog is fed: loops that go on, a model that answers; a camera that is dead is no reason to end."""

import pytest

from edge.device.watchdog import ALIVE_S, INFERENCE_S, Notifier, Watchdog, summary
from tests.helpers.service_manager import Manager, camera, gone, status
from tests.helpers.sink_world import soon

WELL = status(camera())


class Kept(Notifier):
    """A notifier that keeps what it should send."""

    def __init__(self, watchdog_s=60.0, *, deaf=0):
        super().__init__("/nowhere", watchdog_s=watchdog_s)
        self.fed, self.texts, self.deaf = 0, [], deaf

    def feed(self):
        self.deaf -= 1
        self.fed += self.deaf < 0
        return self.deaf < 0

    def status(self, text):
        if text not in self.texts[-1:]:
            self.texts.append(text)
        return True


def test_it_is_fed_so_often_that_the_main_loop_may_be_away_for_most_of_its_time():
    watchdog = Watchdog(notifier := Kept(60.0))
    fed = [now / 10 for now in range(0, 600) if watchdog(WELL, now / 10)]
    assert fed == pytest.approx([5.0 * each for each in range(12)])
    assert notifier.fed == 12
    assert watchdog.problem() is None


def test_a_feeding_that_did_not_arrive_is_tried_again_with_the_next_call():
    watchdog = Watchdog(Kept(deaf=2))
    assert [watchdog(WELL, float(now)) for now in range(4)] == [False, False, True, False]


@pytest.mark.parametrize(
    ("ill", "words"),
    [
        (status(camera("bin"), camera("yard", alive_age_s=ALIVE_S + 11)), "yard: its loop has not gone on for 60 s"),
        (status(gone("yard", alive_age_s=ALIVE_S + 11)), "yard: its loop has not gone on"),
        (status(camera(alive_age_s=300.0), crop_ms=9999.0), "yard: its loop has not gone on"),
        (status(camera(alive_age_s=300.0), crop_ms=None), "yard: its loop has not gone on"),
        (status(camera(), inference_age_s=INFERENCE_S + 1), "the model has not answered for 60 s"),
    ],
)
def test_what_hangs_is_reported_once_and_no_longer_fed(ill, words, caplog):
    watchdog = Watchdog(notifier := Kept())
    assert watchdog(WELL, 0.0)
    assert not any(watchdog(ill, 100.0 + now) for now in range(100))
    assert words in (watchdog.problem() or "")
    assert words in notifier.texts[-1]
    assert caplog.text.count(words) == 1
    assert "the watchdog is not fed" in caplog.text
    assert watchdog(WELL, 300.0)
    assert watchdog.problem() is None
    assert notifier.texts[-1] == "watching yard"
    assert "no longer" in caplog.text


@pytest.mark.parametrize(
    "fine",
    [
        status(gone()),
        status(gone("yard"), gone("bin", frame_age_s=None)),
        status(camera(alive_age_s=31.0)),  # after a fault of ours it rests for half a minute
        status(camera(alive_age_s=48.0), inference_age_s=40.0),  # a slow board with four cameras
        status(camera(alive_age_s=150.0), crop_ms=1000.0),  # and 100 crops of a picture that arrived in a folder
        status(camera(alive_age_s=200.0), crop_ms=None),  # its first one
        status(camera("clip", live=False, fresh=False, alive_age_s=9999.0), inference_age_s=None),
        status(inference_age_s=None),
    ],
)
def test_a_camera_that_is_away_a_slow_board_and_a_clip_go_on_being_fed(fine, caplog):
    watchdog = Watchdog(Kept(60.0))
    assert sum(watchdog(fine, float(now)) for now in range(7200)) == 1440
    assert not caplog.text


def test_a_model_that_never_answered_is_waited_for_only_so_long():
    watchdog = Watchdog(Kept())
    young = status(camera(), inference_age_s=None)
    fed = [now for now in range(200) if watchdog(young, float(now))]
    assert fed == list(range(0, 61, 5))
    assert "the model has not answered" in (watchdog.problem() or "")


def test_without_a_service_manager_it_judges_all_the_same(caplog):
    watchdog = Watchdog(Notifier())
    assert not watchdog(WELL, 0.0)
    assert watchdog.problem() is None
    assert not watchdog(status(camera(alive_age_s=99.0)), 1.0)
    assert "yard: its loop" in (watchdog.problem() or "")
    assert "not fed" not in caplog.text


def test_what_the_service_manager_shows_people():
    assert summary(status(camera("yard"), camera("bin"))) == "watching yard, bin"
    assert summary(status(camera(), alarms=3)) == "watching yard; bears reported since the start: 3"
    assert summary(status()) == "watching nothing"
    assert summary(status(gone())) == "yard: no frame for 5 s"
    ill = status(gone(), problems={"disk": "full", "hot": "82 °C"})
    assert summary(ill) == "yard: no frame for 5 s (and 2 more)"
    assert summary(status(camera(), problems={"mqtt east": "mqtt east: not reached"})) == "mqtt east: not reached"


def test_a_status_that_counts_seconds_is_not_reported_each_second():
    with Manager() as manager:
        watchdog = Watchdog(Notifier.from_environment(manager.environment(watchdog_s=240.0)))
        for now in range(600):
            watchdog(status(gone(trouble=f"no frame for {now} s")), now / 10)
        assert soon(lambda: manager.count("WATCHDOG") == 3)
        assert soon(lambda: manager.count("STATUS") == 5)
