"""Whatever happens to the network, the program and the answers: nothing is lost, and everything goes in its order."""

import pytest

from tests.helpers.outbox_world import Life, Net, event

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["fine", "fine", "refused"])),
        st.tuples(st.just("net"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 20.0, 400.0, 4000.0])),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("lost answer"), st.none()),
    ),
    max_size=40,
)


def play(steps, *, people):
    """A life of faults, then a week of good network; the life and what was put in order, refused ones apart."""
    net = Net()
    life = Life(people=people)
    lost: list[bool] = []

    def does(message):
        net(message)
        if lost:  # it arrived, and nobody knows
            lost.pop()
            life.channel.messages.append(message)
            raise OSError("connection reset")

    life.channel.does = does
    fine: list[int] = []
    refused: list[int] = []
    for what, how in steps:
        if what == "put":
            seq = len(fine) + len(refused) + 1
            (fine if how == "fine" else refused).append(seq)
            net.refuses |= {seq} if how == "refused" else set()
            life.queue.put(event(seq))
        elif what == "net":
            net.up = how
        elif what == "wait":
            life.live(how)
        elif what == "restart":
            life.restart()
        elif net.up:
            lost.append(True)
    net.up = True
    lost.clear()
    life.live(7 * 86400.0)
    return life, fine, refused


@given(STEPS)
def test_machines_get_everything_in_order_once_after_deduplication(steps):
    life, fine, refused = play(steps, people=False)
    once = list(dict.fromkeys(seq for (seq,) in life.channel.seqs))
    assert once == fine
    assert [life.queue.rows[row]["event"].seq for row in life.queue.of("parked")] == refused
    assert life.queue.of("waiting") == []


@given(STEPS)
def test_people_get_everything_the_newest_first_and_the_old_in_one(steps):
    steps = [step for step in steps if step != ("put", "refused")]
    life, fine, _ = play(steps, people=True)
    assert {seq for message in life.channel.seqs for seq in message} == set(fine)
    assert life.queue.of("waiting") == []
    for message in life.channel.messages:
        seqs = [each.seq for each in message.events]
        assert seqs == sorted(seqs)
        assert message.digest or message.late_s < 3600.0 or len(seqs) == 1


@given(st.lists(st.floats(0.0, 8000.0), min_size=1, max_size=40))
def test_after_an_outage_people_get_at_most_six_messages_the_newest_first(gaps):
    net = Net()
    net.up = False
    life = Life(people=True, does=net)
    for seq, gap in enumerate(gaps):
        life.now += gap
        life.queue.put(event(seq))
    net.up = True
    life.live(400.0)
    singles = [seqs[0] for seqs in life.channel.seqs if len(seqs) == 1]
    assert len(life.channel.seqs) <= 6
    assert life.channel.seqs[0][-1] == len(gaps) - 1
    assert singles == sorted(singles, reverse=True)
    assert sum(message.digest for message in life.channel.messages) <= 1
    assert sorted(seq for seqs in life.channel.seqs for seq in seqs) == list(range(len(gaps)))
