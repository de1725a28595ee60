"""Questions and answers over a real broker: who may ask and answer, and what hostile messages do."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.alert.confirmation import Confirmations
from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url
from tests.helpers.broker import Broker, Listener, until
from tests.helpers.sink_world import event

QUESTION, ANSWER, ANSWERED = "bear-alarm/question", "bear-alarm/answer", "bear-alarm/answered"
GUIDE = Path(__file__).parents[2] / "docs" / "home-assistant.md"
pytestmark = pytest.mark.needs_tool("mosquitto")


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """A broker that knows one user."""
    with Broker(tmp_path_factory.mktemp("private"), user="bee", password="hunter22") as broker:
        yield broker


class Asking:
    """An alarm with questions, connected to a broker."""

    def __init__(self, broker: Broker, listener: Listener, *, sound: bool = True, answer_s: float = 500.0) -> None:
        self.done: list[str] = []
        self.questions = Confirmations(lambda event: self.done.append(event.id))
        self.questions.answer_s, self.questions.sound = answer_s, sound
        self.mqtt = Mqtt(settings_from_url(broker.url), ["yard"], confirmations=self.questions)
        self.questions.asked = self.questions.changed = self.mqtt.ask
        self.listener = listener
        # By then it has published, for this connection, what waited: a bear of now is not asked of twice.
        assert until(lambda: self.mqtt._announced == self.mqtt._connection.connects > 0)

    def bear(self, id_: str, *, asked: bool = True) -> str:
        """Have a bear come; return the token of its question, which is published by then where it is ``asked``."""
        self.questions(event(id_=id_, stage="supervised", label="brown_bear", score=0.976))
        found = self.questions.of_event(id_)
        assert found
        assert not asked or until(lambda: said(self.listener, QUESTION, id_))
        return found.token


@contextmanager
def asking(broker: Broker, name: str, **more: object):
    with Listener(broker, name=name) as listener:
        found = Asking(broker, listener, **more)  # type: ignore[arg-type]
        try:
            yield found, listener
        finally:
            found.mqtt.close()


def said(listener: Listener, topic: str, id_: str) -> list[dict[str, Any]]:
    return [each for each in map(json.loads, listener.of(topic)) if each["id"] == id_]


def test_a_question_is_published_and_a_persons_yes_is_taken(private):
    with asking(private, "yes") as (alarm, listener):
        token = alarm.bear("bear")
        (question,) = said(listener, QUESTION, "bear")
        assert 490 <= question.pop("seconds") <= 500
        about = {"id": "bear", "camera": "yard"}
        assert question == about | {"label": "brown_bear", "score": 0.976, "token": token}
        assert alarm.done == []
        listener.say(ANSWER, json.dumps({"token": token, "answer": "yes", "by": "Anna"}))
        assert until(lambda: said(listener, ANSWERED, "bear"))
        expected = about | {"answer": "yes", "by": "Anna (MQTT)", "words": "Anna (MQTT) said yes, a bear: it sounds"}
        assert said(listener, ANSWERED, "bear") == [expected]
        assert alarm.done == ["bear"]
        assert not any(retained for topic, _, retained in listener.got if topic in (QUESTION, ANSWERED))
        topics = {topic for topic, payload, _ in listener.got if token.encode() in payload}
        assert topics == {QUESTION, ANSWER}


def test_what_sounds_without_an_answer_is_published_and_a_no_after_it_too(private):
    with asking(private, "nobody", answer_s=0.5) as (alarm, listener):
        token = alarm.bear("late", asked=False)  # it may be over before it is published
        assert until(lambda: said(listener, ANSWERED, "late"))
        listener.say(ANSWER, json.dumps({"token": token, "answer": "no"}))
        assert until(lambda: len(said(listener, ANSWERED, "late")) == 2)
        assert [(each["answer"], each["by"], each["words"]) for each in said(listener, ANSWERED, "late")] == [
            (None, "", "nobody answered within 0 s, so the alarm sounds"),
            ("no", "MQTT", "MQTT said no bear: it had sounded already"),
        ]


def test_a_question_that_stays_silent_says_so(private):
    with asking(private, "silent", sound=False) as (alarm, listener):
        alarm.bear("silent")
        assert said(listener, QUESTION, "silent")[0]["seconds"] is None


def hostile(token: str) -> list[bytes]:
    """Return payloads that are no answer, though each names the right token."""
    whole = {"token": token, "answer": "yes"}
    objects: list[object] = [
        [whole], whole | {"answer": "YES"}, whole | {"answer": True}, whole | {"answer": ["yes"]},
        {"answer": "yes"}, {"token": token}, whole | {"token": [token]}, whole | {"token": {"token": token}},
        whole | {"by": 7}, whole | {"by": "a\nline"}, whole | {"by": "\ud800"}, whole | {"by": "a" * 100},
        token, None, 7,
        whole | {"token": "\ud800"}, whole | {"token": "ä€"}, whole | {"token": token[:-1]},
        whole | {"more": "x" * 1000},
    ]  # fmt: skip
    rest = [b"", b"{", b"\xff\xfe", b"[" * 900, b'{"a":' * 190, b"9" * 900]
    big = json.dumps(whole | {"more": "x" * 10_000_000}).encode()
    return [*(json.dumps(each).encode() for each in objects), *rest, big, json.dumps(whole).encode() + b" " * 1000]


def test_hostile_messages_answer_nothing_make_one_line_and_hold_up_nothing(private, caplog):
    caplog.set_level(logging.DEBUG)
    with asking(private, "hostile") as (alarm, listener):
        token = alarm.bear("hostile")
        for payload in hostile(token):
            listener.say(ANSWER, payload)
        last = alarm.bear("last")
        listener.say(ANSWER, json.dumps({"token": last, "answer": "yes"}))
        assert until(lambda: alarm.done == ["last"])
        found = alarm.questions.of_event("hostile")
        assert found
        assert found.open
        assert alarm.mqtt.problem is None
    ignored = [each.getMessage() for each in caplog.records if "is ignored" in each.getMessage()]
    assert ignored == [f"MQTT: a message on {ANSWER} is ignored: it is no answer of this form"]
    assert token not in caplog.text


def test_a_used_token_does_nothing_and_is_one_line(private, caplog):
    with asking(private, "used") as (alarm, listener):
        token = alarm.bear("used")
        for answer in ("no", "yes"):
            listener.say(ANSWER, json.dumps({"token": token, "answer": answer}))
        assert until(lambda: "this was answered already: no" in caplog.text)
        assert alarm.done == []
    assert token not in caplog.text


def test_a_question_that_was_answered_while_the_broker_was_away_is_not_asked_again(private):
    with asking(private, "away") as (alarm, listener):
        private.stop()
        assert until(lambda: not alarm.mqtt._connection.up)
        answered, open_ = alarm.bear("answered", asked=False), alarm.bear("open", asked=False)
        alarm.questions.answer(answered, "no", "anna")
        private.start()
        assert until(lambda: said(listener, QUESTION, "open"))
        assert said(listener, QUESTION, "open")[0]["token"] == open_
        assert said(listener, QUESTION, "answered") == []
        assert until(lambda: said(listener, ANSWERED, "answered"))


def test_an_open_question_is_published_again_when_home_assistant_or_the_broker_comes_back(private):
    with asking(private, "again") as (alarm, listener):
        answered, open_ = alarm.bear("heard"), alarm.bear("unheard")
        alarm.questions.answer(answered, "no", "anna")
        listener.say("homeassistant/status", "online")
        assert until(lambda: len(said(listener, QUESTION, "unheard")) == 2)
        private.stop()
        assert until(lambda: not alarm.mqtt._connection.up)
        private.start()
        assert until(lambda: len(said(listener, QUESTION, "unheard")) == 3)
        assert {each["token"] for each in said(listener, QUESTION, "unheard")} == {open_}
        assert len(said(listener, QUESTION, "heard")) == 1


def test_where_everyone_is_let_in_nothing_is_asked_and_no_answer_is_taken(tmp_path):
    with Broker(tmp_path) as broker, asking(broker, "public") as (alarm, listener):
        token = alarm.bear("public", asked=False)
        listener.say(ANSWER, json.dumps({"token": token, "answer": "yes"}))
        alarm.mqtt(event(id_="seen", seq=2))  # a sign that all before it was published
        assert until(lambda: "ON" in listener.of("bear-alarm/yard/bear"))
        assert listener.of(QUESTION) == []
        assert alarm.done == []


def test_the_guides_automation_asks_on_a_phone_and_passes_the_answer_on(private):
    """Home Assistant's part is played here: the triggers, the templates and the tap; the broker is real."""
    jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed")
    found = re.findall(r"```yaml\n(automation:.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (asks,) = [each for block in found for each in yaml.safe_load(block)["automation"] if "answer" in each["alias"]]

    def render(value, **known):
        if isinstance(value, dict):
            return {key: render(each, **known) for key, each in value.items()}
        if isinstance(value, list):
            return [render(each, **known) for each in value]
        return jinja2.Environment().from_string(value).render(**known) if isinstance(value, str) else value

    (trigger,), (variables, notify, wait, publish) = asks["triggers"], asks["actions"]
    assert (trigger["trigger"], trigger["topic"]) == ("mqtt", QUESTION)
    with asking(private, "home") as (alarm, listener):
        for tap, title in enumerate(("Yes", "No")):
            id_ = f"home-{title}"
            token = alarm.bear(id_)
            (question,) = said(listener, QUESTION, id_)
            assert 490 <= question["seconds"] <= 500
            known = {"trigger": {"payload_json": question}}
            known |= render(variables["variables"], **known)
            shown = render(notify["data"], **known)
            sounds = f"In {question['seconds']} s it sounds without an answer."
            assert shown["message"] == f"brown bear, 98 % sure. {sounds}"
            assert [each["title"] for each in shown["data"]["actions"]] == ["Yes", "No"]
            assert token not in json.dumps(shown), "the phone's push service reads along"
            tapped = shown["data"]["actions"][tap]["action"]
            waited = [render(each["event_data"]["action"], **known) for each in wait["wait_for_trigger"]]
            assert tapped in waited
            known |= {"wait": {"trigger": {"event": {"data": {"action": tapped}}}}}
            sent = render(publish["data"], **known)
            listener.say(sent["topic"], sent["payload"])
            assert until(lambda id_=id_: said(listener, ANSWERED, id_))
            assert said(listener, ANSWERED, id_)[0]["answer"] == title.lower()
