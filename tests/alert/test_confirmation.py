"""The gate before what makes a noise: nothing passes before a yes or the time-out, and nothing goes on for ever."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from edge.alert.confirmation import ANSWER_WITHIN_S, GONE_S, SHOWN_S, Confirmations
from edge.errors import OptionError
from edge.schema import Event
from tests.helpers.sink_world import event, soon

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

ANSWER_S = 30.0


class Gate:
    """Questions with a clock and stages of the test's own; ``done`` is what may have made a noise."""

    def __init__(self, *, sound: bool = True) -> None:
        self.now = 0.0
        self.stages: dict[str, str] = {}
        self.done: list[Event] = []
        self.told: list[tuple[str, str | None]] = []
        self.questions = Confirmations(self.done.append, clock=lambda: self.now)
        self.questions.sound = sound
        self.questions.stage = lambda camera: self.stages.get(camera, "supervised")  # type: ignore[assignment,return-value]
        self.questions.changed = lambda question: self.told.append((question.event.id, question.answer))

    def bear(self, id_: str = "a", type_: str = "new", camera: str = "yard", **more: object) -> Event:
        """Have a bear come, change or go."""
        found = event(type_, id_=id_, stage=self.stages.get(camera, "supervised"), **more)
        found = replace(found, camera=camera)
        self.questions(found)
        return found

    def token(self, id_: str = "a") -> str:
        """Return the token of the question about a bear."""
        question = self.questions.of_event(id_)
        assert question
        return question.token

    def wait(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += seconds
        self.questions.tick()

    @property
    def types(self) -> list[tuple[str, str]]:
        """Return what passed, as ids and types."""
        return [(each.id, each.type) for each in self.done]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["new", "update", "louder", "end", "yes", "no"]), st.sampled_from("ab")),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 5.0, 31.0, 700.0])),
        st.tuples(st.sampled_from(["shadow", "supervised", "autonomous"]), st.sampled_from("ab")),
        st.tuples(st.just("pause"), st.booleans()),
    ),
    max_size=30,
)


@given(STEPS, st.booleans())
def test_whatever_happens_in_whatever_order_no_noise_comes_before_a_yes_or_the_time_out(steps, sound):
    gate = Gate(sound=sound)
    number = {"a": 0, "b": 0}  # of the bear, by camera
    asked: dict[str, float] = {}  # since when its question waits
    allowed: set[str] = set()  # bears that may make a noise
    for what, which in steps:
        seen = len(gate.done)
        if what == "wait":
            gate.wait(which)
        elif what == "pause":
            gate.questions.pause() if which else gate.questions.resume()
        elif what in {"shadow", "supervised", "autonomous"}:
            gate.stages[which] = what
            gate.wait(0.0)
        else:
            id_ = f"{which}{number[which]}"
            if what in {"yes", "no"}:
                question = gate.questions.of_event(id_)
                try:
                    gate.questions.answer(question.token if question else "guess", what, "anna")
                except OptionError:
                    pass
                else:
                    allowed.add(id_) if what == "yes" else allowed.discard(id_)
            else:
                type_, more = ("update", {"escalated": "zone hives"}) if what == "louder" else (what, {})
                gate.bear(id_, type_, which, **more)
                number[which] += what == "end"
        for each in gate.done[seen:]:
            if each.alarms and each.stage == "supervised":
                in_time = sound and each.id in asked and gate.now - asked[each.id] >= ANSWER_S
                freed = gate.stages.get(each.camera) == "autonomous"
                assert each.id in allowed or in_time or freed
                allowed.add(each.id)
        for id_ in [f"{camera}{n}" for camera in "ab" for n in range(number[camera] + 1)]:
            question = gate.questions.of_event(id_)
            if question is None:
                asked.pop(id_, None)
            elif asked.get(id_) != question.asked_at:
                asked[id_] = question.asked_at
                allowed.discard(id_)
    gate.questions.resume()
    gate.wait(ANSWER_S)
    gate.wait(GONE_S)
    for id_ in {each.id for each in gate.done if each.alarms and each.id != f"{each.camera}{number[each.camera]}"}:
        assert [each.type for each in gate.done if each.id == id_][-1] == "end", "what began goes on for ever"


def test_a_yes_sounds_at_once_and_what_follows_passes():
    gate = Gate()
    new = gate.bear()
    gate.bear(type_="update")
    assert gate.done == []
    gate.questions.answer(gate.token(), "yes", "anna")
    assert gate.done == [new]
    gate.bear(type_="update", escalated="zone hives")
    gate.bear(type_="end")
    assert gate.types == [("a", "new"), ("a", "update"), ("a", "end")]


def test_after_a_no_it_stays_silent():
    gate = Gate()
    gate.bear()
    gate.questions.answer(gate.token(), "no", "anna")
    gate.bear(type_="update", escalated="zone hives")
    gate.wait(ANSWER_S)
    assert not any(each.alarms for each in gate.done)


@pytest.mark.parametrize(("sound", "told"), [(True, [("a", None)]), (False, [])])
def test_without_an_answer_it_sounds_or_stays_silent_as_its_owner_chose(sound, told):
    gate = Gate(sound=sound)
    new = gate.bear()
    gate.wait(ANSWER_S - 0.1)
    assert gate.done == []
    gate.wait(0.1)
    assert gate.done == ([new] if sound else [])
    assert gate.told == told


def test_silence_without_an_answer_is_said_once_when_the_question_is_over():
    gate = Gate(sound=False)
    gate.questions.answer_s = 3600.0  # means nothing here
    gate.bear()
    question = gate.questions.of_event("a")
    assert question
    assert question.words(0.0).startswith("it stays silent until somebody says yes (until ")
    gate.wait(ANSWER_WITHIN_S - 0.1)
    assert gate.told == []
    gate.wait(0.1)
    gate.wait(1.0)
    assert gate.told == [("a", None)]
    assert question.words(gate.now) == "nobody answered within 10 minutes; it stayed silent"
    assert gate.questions.held == 0


@pytest.mark.parametrize("answer", ["no", None])
def test_a_question_is_shown_until_it_is_settled_its_bear_is_gone_and_a_minute_is_over(answer):
    gate = Gate()
    gate.bear()
    gate.bear(type_="end")
    gate.wait(ANSWER_S - 0.1)
    (question,) = gate.questions.shown
    if answer:
        gate.questions.answer(question.token, answer, "anna")
    gate.wait(0.1)
    gate.wait(SHOWN_S - 0.2)
    assert gate.questions.shown == [question]
    gate.wait(0.2)
    assert gate.questions.shown == []


def test_what_is_shown_of_a_bear_that_is_still_there_stays():
    gate = Gate()
    gate.bear()
    gate.questions.answer(gate.token(), "no", "anna")
    gate.wait(2 * SHOWN_S)
    assert [each.said for each in gate.questions.shown] == ["anna said no bear"]


def test_the_newest_alarm_is_held_and_sounds_once():
    gate = Gate()
    gate.bear()
    newest = gate.bear(type_="update", escalated="zone hives", zones=("hives",))
    gate.wait(ANSWER_S)
    assert gate.done == [newest]


@pytest.mark.parametrize("by_answer", [True, False])
def test_a_bear_that_left_before_the_answer_is_driven_off_for_a_while_and_no_longer(by_answer):
    gate = Gate()
    gate.bear()
    gate.bear(type_="end")
    if by_answer:
        gate.questions.answer(gate.token(), "yes", "anna")
    else:
        gate.wait(ANSWER_S)
    gate.wait(GONE_S - 0.1)
    assert gate.types == [("a", "end"), ("a", "new")]
    gate.wait(0.2)
    assert gate.types == [("a", "end"), ("a", "new"), ("a", "end")]


def test_a_no_after_the_time_out_ends_what_goes_on_until_the_bear_is_gone():
    gate = Gate()
    gate.bear()
    gate.wait(ANSWER_S)
    gate.questions.answer(gate.token(), "no", "anna")
    assert gate.types == [("a", "new"), ("a", "end")]
    gate.bear(type_="update", escalated="zone hives")
    assert gate.types == [("a", "new"), ("a", "end")]


def test_a_token_is_good_for_one_answer_about_one_bear():
    gate = Gate()
    gate.bear("a")
    gate.bear("b", camera="hives")
    token = gate.token("a")
    gate.questions.answer(token, "yes", "anna")
    assert gate.types == [("a", "new")], "the bear at the other camera still waits"
    with pytest.raises(OptionError, match="this was answered already: yes; the noise ends by itself"):
        gate.questions.answer(token, "no", "eve")
    for foreign in ("", "guess", token[:-1], "ä€", "\ud800"):
        with pytest.raises(OptionError, match="belongs to no question"):
            gate.questions.answer(foreign, "yes", "eve")
    assert gate.types == [("a", "new")]


def test_an_answer_that_comes_too_late_is_refused_and_later_its_token_is_unknown():
    gate = Gate(sound=False)
    gate.bear()
    token = gate.token()
    gate.wait(ANSWER_WITHIN_S)
    assert gate.questions.open == []
    with pytest.raises(OptionError, match="too late"):
        gate.questions.answer(token, "yes", "anna")
    gate.wait(ANSWER_WITHIN_S)
    with pytest.raises(OptionError, match="belongs to no question"):
        gate.questions.answer(token, "yes", "anna")
    assert gate.done == []


def test_a_bear_that_becomes_more_serious_after_its_question_is_over_is_asked_about_again():
    gate = Gate(sound=False)
    gate.bear()
    before = gate.token()
    gate.wait(ANSWER_WITHIN_S)
    newest = gate.bear(type_="update", escalated="zone hives")
    assert gate.token() != before
    gate.questions.answer(gate.token(), "yes", "anna")
    assert gate.done == [newest]


def test_what_a_bear_began_before_its_camera_was_supervised_ends_with_the_bear():
    gate = Gate(sound=False)
    gate.stages["yard"] = "autonomous"
    gate.bear()
    gate.stages["yard"] = "supervised"
    gate.bear(type_="update", escalated="zone hives")
    gate.bear(type_="end")
    assert gate.types == [("a", "new"), ("a", "end")]


def test_a_camera_that_becomes_autonomous_sounds_at_once():
    gate = Gate()
    new = gate.bear()
    gate.stages["yard"] = "autonomous"
    gate.wait(0.1)
    assert gate.done == [new]
    assert gate.told == [("a", None)]
    question = gate.questions.of_event("a")
    assert question
    assert question.words(gate.now) == "the camera is autonomous now, so the alarm sounds"
    gate.bear(type_="end")
    assert gate.types == [("a", "new"), ("a", "end")]


def test_an_answer_in_a_pause_is_heard_of_afterwards():
    gate = Gate()
    gate.bear()
    gate.questions.pause()
    gate.questions.answer(gate.token(), "yes", "anna")
    assert (gate.told, gate.types) == ([], [])
    gate.questions.resume()
    gate.wait(0.0)
    assert (gate.told, gate.types) == ([("a", "yes")], [("a", "new")])


def test_a_camera_that_goes_to_shadow_drops_its_question():
    gate = Gate()
    gate.bear()
    token = gate.token()
    gate.stages["yard"] = "shadow"
    gate.wait(0.1)
    gate.wait(ANSWER_S)
    assert gate.questions.open == []
    assert gate.told == [("a", None)]
    with pytest.raises(OptionError, match="belongs to no question"):
        gate.questions.answer(token, "yes", "anna")
    gate.bear(type_="end")
    assert not any(each.alarms for each in gate.done)


def test_while_the_alarm_is_exchanged_an_answer_is_kept_for_the_next_one():
    gate, after = Gate(), list[Event]()
    new = gate.bear()
    gate.questions.pause()
    gate.questions.answer(gate.token(), "yes", "anna")
    gate.bear(type_="end")
    assert gate.questions.held == 1
    gate.questions.act = after.append
    gate.questions.resume()
    gate.wait(0.1)
    assert (gate.types, after) == ([("a", "end")], [new])


def test_of_many_answers_at_once_one_counts_and_no_noise_goes_on_after_the_end():
    gate = Gate()
    for number in range(200):
        gate.bear(str(number))
        taken: list[str] = []
        begin = threading.Barrier(4)

        def answer(word: str, token: str = gate.token(str(number)), taken=taken, begin=begin) -> None:
            begin.wait()
            try:
                gate.questions.answer(token, word, "anna")  # type: ignore[arg-type]
                taken.append(word)
            except OptionError:
                pass

        threads = [threading.Thread(target=answer, args=(word,)) for word in ("yes", "no", "yes")]
        for thread in threads:
            thread.start()
        begin.wait()
        gate.bear(str(number), "end")
        for thread in threads:
            thread.join()
        assert len(taken) == 1
        gate.wait(GONE_S)
        types = [type_ for id_, type_ in gate.types if id_ == str(number)]
        assert types in ([["new", "end"], ["end", "new", "end"]] if taken == ["yes"] else [["end"]])


def test_its_own_thread_sounds_in_time_also_after_a_pause_or_an_error_and_ends_with_the_questions():
    done: list[Event] = []
    errors = [RuntimeError("once")]

    def act(found: Event) -> None:
        if errors:
            raise errors.pop()
        done.append(found)

    questions = Confirmations(act)
    questions.answer_s = 0.5
    found = event(id_="a", stage="supervised")
    questions(found)
    questions.pause()
    assert soon(lambda: not questions._ticking)
    assert done == []
    questions.resume()
    assert soon(lambda: done == [found])
    assert questions._ticking  # an answer may still come
    questions.stage = lambda camera: "shadow"
    assert soon(lambda: not questions._ticking)
    assert questions.of_event("a") is None


def test_nothing_shows_a_token():
    gate = Gate()
    gate.bear()
    question = gate.questions.of_event("a")
    assert question
    assert question.token not in f"{question!r} {question.event.to_json()} {question.words(0.0)}"
