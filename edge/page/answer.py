"""Answer: is it a bear? For the holder of a question's token, such as the button of a phone message; without a log-in.

    POST /answer/TOKEN
    Content-Type: application/x-www-form-urlencoded

    answer=yes

It shows no picture, and no names but the camera's and the label's. Looking at it answers nothing.
"""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge.errors import OptionError
from edge.page.common import back_to, page_of, render
from edge.page.guard import ANSWER, Refused, own_place

if TYPE_CHECKING:
    from edge.alert.confirmation import Confirmations, Question

UNKNOWN = "there is no such question, or it is long over; the events on the page say what happened"


def show(request: Request) -> Response:
    """Show one question, with its two buttons while it is open."""
    _, question = _asked(request)
    now = time.monotonic()
    left_s = question.left_s(now)
    sounds_at = None if left_s is None else datetime.now().astimezone() + timedelta(seconds=left_s)
    return render(
        request,
        "answer.html",
        event=question.event,
        said=question.said,
        seen=question.seen,
        open=question.open and now < question.until,
        words=question.words(now),
        left_s=None if left_s is None else math.ceil(left_s),
        sounds_at=sounds_at,
    )


def answer(request: Request) -> Response:
    """Take an answer."""
    confirmations, question = _asked(request)
    form, access = request.state.form, request.state.access
    given = form.get("answer")
    if given not in ("yes", "no"):
        what = "no answer was sent" if given is None else f"the answer {given!r} is neither yes nor no"
        raise Refused(HTTPStatus.BAD_REQUEST, f"{what}; send answer=yes or answer=no")
    try:
        confirmations.answer(question.token, given, access.name if access else "a phone")
    except OptionError as error:
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None
    if "text/html" not in request.headers.get("Accept", ""):
        return PlainTextResponse(f"{question.words(time.monotonic())}\n")
    return back_to(own_place(form.get("back") or request.url.path))


def _asked(request: Request) -> tuple[Confirmations, Question]:
    """Return the questions, and the one whose token is in the address. Raises Refused."""
    alerting = page_of(request).alarm().alerting
    question = alerting.confirmations.find(request.path_params["token"]) if alerting else None
    if alerting is None or question is None:
        raise Refused(HTTPStatus.NOT_FOUND, UNKNOWN)
    return alerting.confirmations, question


ROUTES = [
    Route(f"{ANSWER}/{{token}}", show, methods=["GET"]),
    Route(f"{ANSWER}/{{token}}", answer, methods=["POST"]),
]
