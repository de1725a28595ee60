"""What goes next over a network: in order for machines, the newest first for people, nothing lost on the way."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from edge.alert.delivery import APPEARS_S, Batch
from edge.record.outbox import WITHDRAWN, NotYetError
from tests.helpers.outbox_world import Life, Net, event


def photograph(folder: Path) -> Path:
    path = folder / "seen.jpg"
    path.write_bytes(b"jpeg")
    return path


def test_tries_are_1_2_4_and_at_most_300_seconds_apart_and_something_new_comes_sooner():
    net = Net()
    life = Life(does=net)
    net.up = False
    life.queue.put(event(1))
    life.live(1500.0)
    times = [at for at, _ in life.tried]
    assert [round(b - a) for a, b in pairwise(times)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    began = life.now
    life.queue.put(event(2))
    life.look()
    assert life.tried[-1][0] == began  # at once, for the last try was long ago
    for seq in range(3, 13):
        life.queue.put(event(seq))
        life.live(1.0)
    assert sum(at > began for at, _ in life.tried) <= 4  # in ten seconds
    net.up = True
    life.live(300.0)
    assert life.channel.seqs == [(seq,) for seq in range(1, 13)]


def test_jitter_takes_up_to_a_quarter_off():
    net = Net()
    net.up = False
    life = Life(does=net, chance=lambda: 1.0)
    life.queue.put(event(1))
    life.live(10.0)
    assert [at for at, _ in life.tried] == pytest.approx([0.0, 0.75, 2.25, 5.25])


def test_a_server_that_asks_to_be_left_alone_is():
    answers = [NotYetError("HTTP 429", 40.0), None]
    life = Life(does=lambda message: raise_(answers.pop(0)))
    life.queue.put(event(1))
    life.live(5.0)
    life.queue.put(event(2))
    life.live(34.9)
    assert len(life.tried) == 1
    answers += [None]
    life.live(0.2)
    assert life.channel.seqs == [(1,), (2,)]


def raise_(error):
    if error:
        raise error


def test_what_is_refused_is_parked_and_the_next_one_goes():
    net = Net()
    net.refuses = {1}
    life = Life(does=net)
    first, second = life.queue.put(event(1)), life.queue.put(event(2))
    life.look()
    assert (life.queue.of("parked"), life.queue.of("done")) == ([first], [second])
    assert life.queue.rows[first]["why"] == "HTTP 400"
    assert life.feed.stats.dead_letters == 1


@pytest.mark.parametrize("people", [False, True])
def test_words_go_before_pictures_and_a_picture_that_is_gone_is_passed_over(tmp_path, people):
    life = Life(people=people)
    picture = photograph(tmp_path)
    life.queue.put(event(1))
    life.queue.put(event(1), "picture", picture)
    gone = life.queue.put(event(2), "picture", tmp_path / "gone.jpg")
    life.queue.put(event(3))
    life.look()
    assert [message.part for message in life.channel.messages] == ["word", "word", "picture"]
    assert life.channel.messages[-1].picture == picture
    assert life.queue.of("waiting") == [gone]  # perhaps it is being written
    life.live(APPEARS_S)
    life.look()
    assert life.queue.of("waiting") == []
    assert (life.feed.stats.passed_over, life.feed.stats.delivered) == (1, 3)


@pytest.mark.parametrize("people", [False, True])
def test_a_picture_is_sent_soon_after_it_comes_and_one_that_does_not_come_holds_up_no_other(tmp_path, people):
    life = Life(people=people)
    lost = life.queue.put(event(1), "picture", tmp_path / "lost.jpg")
    life.queue.put(event(2), "picture", tmp_path / "seen.jpg")
    life.live(10.0)
    photograph(tmp_path)
    life.live(1.0)
    assert life.channel.seqs == [(2,)]
    life.live(APPEARS_S - 11.0)
    assert (life.queue.of("waiting"), life.queue.of("parked")) == ([], [lost])
    assert life.queue.rows[lost]["why"] == WITHDRAWN
    assert life.look() == math.inf  # it is looked for no more


def test_a_picture_that_fails_holds_up_no_word(tmp_path):
    life = Life(does=lambda message: raise_(OSError("too big") if message.part == "picture" else None))
    for seq in range(1, 4):
        life.queue.put(event(seq), "picture", photograph(tmp_path))
    life.live(20.0)
    life.queue.put(event(9))
    life.look()
    assert life.channel.seqs == [(9,)]


def test_a_word_behind_a_thousand_pictures_is_found(tmp_path):
    life, picture = Life(), photograph(tmp_path)
    for seq in range(1000):
        life.queue.put(event(seq), "picture", picture)
    life.queue.put(event(5000))
    parcel = life.feed.next(life.now)
    assert isinstance(parcel, Batch)
    assert parcel.message.events[0].seq == 5000


def test_people_get_the_newest_first_and_what_is_older_than_an_hour_in_one_digest():
    net = Net()
    net.up = False
    life = Life(people=True, does=net)
    for seq in range(1, 25):
        life.queue.put(event(seq))
        life.live(1200.0)
    net.up = True
    life.live(300.0)
    assert life.channel.seqs == [(24,), (23,), tuple(range(1, 23))]
    assert life.channel.messages[-1].digest
    assert life.channel.messages[-1].late_s == pytest.approx(24 * 1200.0, abs=400.0)
    assert life.queue.of("waiting") == []


def test_after_an_hour_with_many_events_people_get_the_newest_and_one_digest():
    net = Net()
    net.up = False
    life = Life(people=True, does=net)
    for seq in range(1, 101):
        life.queue.put(event(seq))
        life.live(30.0)
    net.up = True
    life.live(300.0)
    assert life.channel.seqs == [(100,), tuple(range(1, 100))]


def test_a_flood_goes_in_few_messages_and_none_waits_for_long():
    life = Life(people=True)
    put: dict[int, float] = {}
    sent: dict[int, float] = {}
    life.channel.does = lambda message: sent.update({each.seq: life.now for each in message.events})
    for seq in range(1, 601):
        put[seq] = life.now
        life.queue.put(event(seq))
        life.live(1.0)
    life.live(60.0)
    assert len(life.channel.messages) <= 10 + 600 / 30 + 2
    assert set(sent) == set(put)
    assert max(sent[seq] - put[seq] for seq in put) <= 31.0


def test_old_pictures_for_people_are_few(tmp_path):
    life = Life(people=True)
    for seq in range(1, 31):
        life.queue.put(event(seq), "picture", photograph(tmp_path))
    life.now += 4000.0
    for seq in range(31, 51):
        life.queue.put(event(seq), "picture", photograph(tmp_path))
    life.live(600.0)
    assert life.channel.seqs == [(50,), (49,), (48,), (47,), (46,)]
    assert life.queue.of("waiting") == []
    assert life.feed.stats.passed_over == 45


def test_one_message_that_people_never_get_does_not_keep_the_others_from_them():
    net = Net()
    net.poison = {20}
    life = Life(people=True, does=net)
    for seq in range(1, 21):
        life.queue.put(event(seq))
    life.live(60.0)
    assert life.channel.seqs == [(19,), (18,), tuple(range(1, 18))]
    life.queue.put(event(21))
    life.live(600.0)
    assert life.channel.seqs[3:] == [(21,)]
    net.poison = set()
    life.live(300.0)
    assert life.channel.seqs[4:] == [(20,)]
