"""Messages about an alarm that waits for an answer: buttons where nobody else reads, else words; through Apprise."""

from __future__ import annotations

import json

import pytest

from edge.alert.confirmation import Confirmations
from edge.alert.notify import Notify
from edge.record.outbox import Message
from tests.helpers.outbox_world import event
from tests.helpers.webhook_server import PostBox

BEAR = event(label="brown_bear", score=0.976, stage="supervised")
PAGE = "https://bees.example.org:8470"
TOPIC = "bears-0123456789abcdef"


class Asked:
    """An open question about ``BEAR``, and what a channel has sent about it."""

    def __init__(self, *, answer_s: float = 30.0, sound: bool = True) -> None:
        self.questions = Confirmations(lambda event: None)
        self.questions.answer_s, self.questions.sound = answer_s, sound
        self.questions(BEAR)
        (self.question,) = self.questions.open

    def send(
        self, url: str, *events: object, page: str | None = PAGE, part: str = "word"
    ) -> tuple[str, dict[str, str]]:
        """Send a message through a real server; return its text and headers. ``{port}`` in ``url`` is the server's."""
        with PostBox() as box:
            channel = Notify(url.format(port=box.port), confirmations=self.questions, page=lambda: page)
            channel.send(Message(events or (BEAR,), part))  # type: ignore[arg-type]
        (posted,) = box.posted
        return str(json.loads(posted.body)["message"]), posted.headers


@pytest.fixture
def asked():
    return Asked()


PRIVATE = "ntfy://bob:hunter22@127.0.0.1:{port}/" + TOPIC
ACCESS = "ntfy://tk_abcdefabcdefabcdef@127.0.0.1:{port}/" + TOPIC
PUBLIC = "ntfy://127.0.0.1:{port}/" + TOPIC


@pytest.mark.parametrize("url", [PRIVATE, ACCESS], ids=["password", "access token"])
def test_a_topic_with_a_login_gets_three_buttons_that_lead_to_the_page(asked, url):
    message, headers = asked.send(url)
    yes, no, look = json.loads(headers["X-Actions"])
    link = f"{PAGE}/answer/{asked.question.token}"
    form = {"method": "POST", "headers": {"Content-Type": "application/x-www-form-urlencoded"}, "clear": True}
    assert yes == {"action": "http", "label": "Yes", "url": link, "body": "answer=yes"} | form
    assert no == {"action": "http", "label": "No", "url": link, "body": "answer=no"} | form
    assert look == {"action": "view", "label": "Look", "url": link}
    assert headers["X-Priority"] == "max"
    assert message.splitlines()[-1].startswith("Is it a bear? Without an answer it sounds in ")
    assert asked.question.token not in message


@pytest.mark.parametrize(
    "url", [PUBLIC, "json://bob:hunter22@127.0.0.1:{port}/"], ids=["public topic", "other service"]
)
def test_where_others_read_there_is_no_token_and_the_words_say_that_the_page_answers(asked, url):
    message, headers = asked.send(url)
    assert "X-Actions" not in headers
    assert message.splitlines()[-1].startswith("Is it a bear? Answer on the alarm's page. Without an answer")
    assert asked.question.token not in f"{message} {headers}"


@pytest.mark.parametrize("path", ["bears", f"{TOPIC}/bears", "?to=bears", TOPIC])
def test_at_ntfy_sh_a_login_lets_nobody_else_in_only_where_the_topic_cannot_be_guessed(path):
    with_buttons = Notify(f"ntfys://bob:hunter22@ntfy.sh/{path}")._with_buttons
    assert (with_buttons is not None) == (path == TOPIC)


def test_without_a_page_that_others_reach_there_are_no_buttons(asked):
    message, headers = asked.send(PRIVATE, page=None)
    assert "X-Actions" not in headers
    assert message.splitlines()[-1].startswith("Without an answer it sounds in ")


def test_the_words_say_what_happens_without_an_answer():
    message, _ = Asked(sound=False).send(PRIVATE)
    assert "\nIs it a bear? It stays silent until somebody says yes (until " in message
    late = Asked(answer_s=0.0)
    late.questions.tick()
    assert late.send(PRIVATE)[0].endswith("\nIs it a bear? Nobody answered within 0 s, so the alarm sounds.")


def test_only_a_message_about_an_open_question_asks(asked):
    other = event(2, label="brown_bear", stage="supervised")
    sent = [asked.send(PRIVATE, other), asked.send(PRIVATE, BEAR, other), asked.send(PRIVATE, part="picture")]
    asked.questions.answer(asked.question.token, "no", "anna")
    sent.append(asked.send(PRIVATE))
    for message, headers in sent:
        assert "X-Actions" not in headers
        assert "answer" not in message


def test_a_failure_names_no_token(asked):
    with PostBox(500) as box:
        channel = Notify(PRIVATE.format(port=box.port), confirmations=asked.questions, page=lambda: PAGE)
        with pytest.raises(RuntimeError) as raised:
            channel.send(Message((BEAR,), "word"))
    assert asked.question.token not in str(raised.value)
