"""Any life a device may lead: never a second restart in one outage, never two reboots within a day."""

import errno
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

from edge.device import watchdog as room
from edge.device.watchdog import DAY_S, FILE, RETRY_S, STEADY_S, Escalation, read_note, write_note
from tests.helpers.service_manager import camera, gone, status

AFTER_S = 600.0
BOOT_S = 40.0  # from power to the first look


class AtOnce:
    """A disk that is asked without a thread of its own: thousands of lives pass."""

    def __call__(self, work, *_):
        return work()


class Device:
    """A board in the forest: true time, its uptime, a clock that jumps, a disk, and the alarm on it."""

    def __init__(self, folder, *, forgetful, obeys, patch):
        self.folder, self.forgetful, self.obeys = folder, forgetful, obeys
        self.time, self.boots, self.skew, self.disk = 0.0, 0, timedelta(), "well"
        self.restarted = False  # in this outage
        self.flows_since = None  # frames come
        self.lied = False  # the disk once failed, so an end of an outage may have been lost
        self.rebooted_at, self.orders = None, []
        patch.setattr("edge.background.DeadlineExecutor", AtOnce)
        patch.setattr(room, "read_note", lambda path: self.asked(read_note, path, reading=True))
        patch.setattr(room, "write_note", lambda path, note: self.asked(write_note, path, note))
        self.boot()

    def asked(self, work, *words, reading=False):
        """The disk's answer: full and read-only can be read, one that is away holds nothing, a broken one fails."""
        if self.disk == "broken" or (self.disk != "well" and not reading):
            raise OSError(errno.EIO, "made up")
        return work(self.folder / "away" / FILE if self.disk == "away" else words[0], *words[1:])

    def boot(self):
        """The machine is started, after the power was cut or by our own order."""
        self.boots += 1
        self.booted_at = self.time
        self.time += BOOT_S
        if self.forgetful:
            (self.folder / FILE).unlink(missing_ok=True)
            self.restarted = False  # as far as it can know
        self.process()

    def process(self):
        """The alarm is started."""
        self.frames = 0
        self.last_at = None
        self.escalation = Escalation(
            self.folder, AFTER_S, True, present=True, boot=lambda: f"boot {self.boots}",
            uptime=lambda: self.time - self.booted_at, forgetful=lambda _: self.forgetful,
            wall=lambda: datetime(2024, 1, 1, tzinfo=UTC) + self.skew,
        )  # fmt: skip

    def look(self, flows):
        """One look of the main loop."""
        if flows:
            self.frames, self.last_at = self.frames + 1, self.time
        age = None if self.last_at is None else self.time - self.last_at
        yard = camera("yard", frames=self.frames, frame_age_s=age)
        yard = yard if flows else gone("yard", frames=self.frames, frame_age_s=age)
        order = self.escalation(status(yard, gone("bin", frames=0, frame_age_s=None)), self.time - self.booted_at)
        self.flows_since = (self.time if self.flows_since is None else self.flows_since) if flows else None
        self.restarted &= self.flows_since is None or self.time - self.flows_since < STEADY_S
        if order == "restart":
            assert not self.restarted, "a second restart in one outage"
            self.restarted = True
            self.orders.append(order)
            self.process()
        elif order == "reboot":
            assert self.rebooted_at is None or self.time - self.rebooted_at >= DAY_S, "two reboots within a day"
            assert self.restarted or self.forgetful or self.lied, "no restart was tried"
            self.orders.append(order)
            if self.obeys:
                self.rebooted_at = self.time
                self.boot()
            else:  # its unit does not reboot
                self.process()

    def run_for(self, seconds, flows):
        """Time passes: looked at each half a minute at first, then each half an hour."""
        until = self.time + seconds
        while self.time < until:
            self.look(flows)
            self.time += 30.0 if until - self.time > seconds - 3000.0 else 1800.0


SPANS = st.sampled_from([30.0, 300.0, 700.0, 1500.0, 8000.0, 0.6 * DAY_S, DAY_S, 2.5 * DAY_S])
ACTS = st.one_of(
    st.tuples(st.just("dead"), SPANS),
    st.tuples(st.just("dead"), SPANS),  # the more of them
    st.tuples(st.just("flows"), SPANS),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("power"), st.none()),
    st.tuples(st.just("clock"), st.integers(-400, 20_000)),  # days: no battery, and then the network's time
    st.tuples(st.just("disk"), st.sampled_from(["well", "well", "full", "away", "broken"])),
    st.tuples(st.just("damage"), st.binary(max_size=40)),
)


@given(acts=st.lists(ACTS, max_size=30), forgetful=st.booleans(), obeys=st.booleans())
def test_any_life(acts, forgetful, obeys):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        device = Device(Path(folder), forgetful=forgetful, obeys=obeys, patch=patch)
        for act, what in acts:
            if act in {"dead", "flows"}:
                device.run_for(what, act == "flows")
            elif act == "crash":
                device.process()
            elif act == "power":
                device.boot()
            elif act == "clock":
                device.skew = timedelta(days=what)
            elif act == "disk":
                device.disk, device.lied = what, device.lied or what != "well"
            elif (device.folder / FILE).exists():  # what is not there cannot be damaged
                device.lied = True
                (device.folder / FILE).write_bytes(what)


@given(before=st.lists(st.tuples(st.booleans(), SPANS), max_size=6), crashes=st.integers(0, 3))
def test_each_new_outage_on_a_good_disk_is_restarted_for(before, crashes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        device = Device(Path(folder), forgetful=False, obeys=True, patch=patch)
        for flows, seconds in before:
            device.run_for(seconds, flows)
        for _ in range(crashes):
            device.process()
        device.run_for(STEADY_S + 60.0, True)
        reported = len(device.orders)
        device.run_for(AFTER_S + RETRY_S + 60.0, False)
        assert device.orders[reported:] == ["restart"]
