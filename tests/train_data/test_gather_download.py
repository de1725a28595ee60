"""Fetching: in order, polite, bounded; a busy host is asked again, a missing one is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.helpers.far_side import FarSide

httpx = pytest.importorskip("httpx")
from train.data.gather import download
from train.data.gather.download import Downloader, retry_after, web_client
from train.data.gather.offers import Failed

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.fixture
def far() -> Iterator[FarSide]:
    with FarSide(files={f"/{n}.jpg": f"picture {n}".encode() * 50 for n in range(30)}) as side:
        yield side


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Downloader]:
    monkeypatch.setattr(download, "BACK_OFF_S", 0.001)
    with web_client("someone@example.org") as client:
        yield Downloader(client, pause_s=0)


def test_all_come_in_order_and_no_host_is_asked_more_than_twice_at_once(far: FarSide, fetch: Downloader):
    wanted = [f"{far.base}/{n}.jpg" for n in range(30)]
    got = list(fetch.all(wanted, str))
    assert [url for url, _ in got] == wanted
    assert [data for _, data in got] == [far.files[f"/{n}.jpg"] for n in range(30)]
    assert far.most_at_once <= 2
    assert all("bear-alarm/" in each.agent and "someone@example.org" in each.agent for each in far.asked)


def test_a_pause_is_kept_between_two_questions_to_a_host(far: FarSide, fetch: Downloader):
    fetch.pause_s = 0.05
    list(fetch.all([f"{far.base}/{n}.jpg" for n in range(5)], str))
    started = sorted(each.at for each in far.asked)
    assert started[-1] - started[0] >= 4 * 0.05 * 0.8


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_host_is_asked_again(far: FarSide, fetch: Downloader, status: int):
    far.answers["/1.jpg"] = [(status, {}, b"busy"), (status, {"Retry-After": "0"}, b"busy")]
    assert fetch.fetch(f"{far.base}/1.jpg") == far.files["/1.jpg"]
    assert len(far.asked) == 3


def test_retry_after_is_honoured(far: FarSide, fetch: Downloader):
    far.answers["/1.jpg"] = [(429, {"Retry-After": "1"}, b"")]
    assert fetch.fetch(f"{far.base}/1.jpg") == far.files["/1.jpg"]
    assert far.asked[1].at - far.asked[0].at >= 0.95


def test_who_asks_for_an_hour_is_left_alone(far: FarSide, fetch: Downloader):
    far.answers["/1.jpg"] = [(429, {"Retry-After": "3600"}, b"")]
    got = [answer for _, answer in fetch.all([f"{far.base}/{n}.jpg" for n in (1, 2, 3)], str)]
    assert isinstance(got[0], Failed)
    assert got[0].kind == "host busy"
    assert "60 minutes" in got[0].words
    assert not got[0].for_good
    assert len(far.asked) <= 3  # two may be under way; none after


def test_who_never_answers_well_is_given_up(far: FarSide, fetch: Downloader):
    far.answers["/1.jpg"] = [(503, {}, b"")] * 10
    got = fetch.fetch(f"{far.base}/1.jpg")
    assert isinstance(got, Failed)
    assert (got.kind, len(far.asked)) == ("host busy", download.TRIES)


@pytest.mark.parametrize(("path", "kind", "for_good"), [("/gone.jpg", "gone", True), ("/403.jpg", "refused", False)])
def test_what_is_not_there_or_not_given_is_asked_for_once(
    far: FarSide, fetch: Downloader, path: str, kind: str, for_good: bool
):
    far.answers["/403.jpg"] = [(403, {}, b"")]
    got = fetch.fetch(far.base + path)
    assert isinstance(got, Failed)
    assert (got.kind, got.for_good, len(far.asked)) == (kind, for_good, 1)


@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_big_is_not_taken_in(far: FarSide, fetch: Downloader, told: bool):
    fetch.max_bytes = 1000
    headers = {} if told else {"Content-Length": "", "Connection": "close"}
    far.answers["/1.jpg"] = [(200, headers, b"x" * 5000)]
    got = fetch.fetch(f"{far.base}/1.jpg")
    assert isinstance(got, Failed)
    assert (got.kind, got.for_good) == ("too large", True)


NO_ADDRESSES = [
    "ftp://example.org/a.jpg", "file:///etc/passwd", "a.jpg", "https://",
    "http://photos..example.org/2.jpg", "http://[bad/a.jpg", f"http://{'a' * 70}.org/a.jpg", "http://127.0.0.1:99999/a.jpg",
    "http://127.0.0.1:9/\ud83d.jpg", "http://127.0.0.1:9/a\nb.jpg", "http://127.0.0.1:port/a.jpg",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_only_the_web_is_asked(fetch: Downloader, url: str):
    got = fetch.fetch(url)
    assert isinstance(got, Failed)
    assert (got.kind, got.for_good) == ("no address", True)


@given(st.text(st.characters()))
def test_any_words_as_an_address_is_one_or_none(words: str):
    for url in (words, f"http://{words}", f"https://example.org/{words}"):
        download._host_of(url)


def test_a_place_that_leads_to_no_address_is_none(far: FarSide, fetch: Downloader):
    for place in ("http://photos..example.org/2.jpg", "http://127.0.0.1:99999/"):
        far.answers["/a"] = [(302, {"Location": place}, b"")] * 9
        assert isinstance(fetch.fetch(f"{far.base}/a"), Failed)


def test_a_place_that_leads_elsewhere_is_followed_but_not_for_ever(far: FarSide, fetch: Downloader):
    far.answers["/a"] = [(302, {"Location": "/1.jpg"}, b"")]
    assert fetch.fetch(f"{far.base}/a") == far.files["/1.jpg"]
    far.answers["/b"] = [(302, {"Location": "/b"}, b"")] * 100
    assert isinstance(fetch.fetch(f"{far.base}/b"), Failed)


def test_nobody_there_is_a_failure_that_may_pass(fetch: Downloader):
    with FarSide() as side:
        base = side.base
    got = fetch.fetch(f"{base}/1.jpg")
    assert isinstance(got, Failed)
    assert (got.kind, got.for_good) == ("no answer", False)


def test_what_breaks_off_in_the_middle_is_asked_for_again(far: FarSide, fetch: Downloader):
    whole = far.files["/1.jpg"]
    far.answers["/1.jpg"] = [(200, {"Content-Length": str(len(whole)), "Connection": "close"}, whole[:100])]
    assert fetch.fetch(f"{far.base}/1.jpg") == whole


def test_left_early_it_asks_no_more(far: FarSide, fetch: Downloader):
    some = fetch.all((f"{far.base}/{n}.jpg" for n in range(30)), str)
    next(some)
    some.close()  # type: ignore[attr-defined]
    asked = len(far.asked)
    assert asked < 30
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gather")]
    assert len(far.asked) == asked


def test_retry_after_is_seconds_or_a_date():
    assert retry_after("120") == 120
    assert retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=90))) == pytest.approx(90, abs=3)
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(seconds=90))) == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 +99999999999999") is None
    assert retry_after("Fri, 31 Dec 99999 23:59:59 GMT") is None


@given(st.text() | st.from_regex(r"(Wed, )?[0-9]{1,3} Oct [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{1,20}"))
@example("9" * 400)
def test_any_retry_after_of_a_host_is_seconds_or_nothing(words: str):
    found = retry_after(words)
    assert found is None or found >= 0
