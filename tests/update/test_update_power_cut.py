"""The power is cut at each write of each change of the models: what is installed and trusted is as before, or new."""

import random
import shutil
import sys
from dataclasses import replace

import pytest

from edge.minisign import ENDING
from edge.model_store import LIST, Installed, ModelStore
from edge.update.install import update
from edge.update.keys import trust
from tests.helpers.command import bear_alarm
from tests.helpers.power_cut import Disk, record
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.helpers.update_stage import Maker, check_device

SWITCH = """
import sys
from pathlib import Path
from edge.model_store import ModelStore
ModelStore.of(Path(sys.argv[1])).change(lambda held: held.switched(tested=True))
"""
CUTS = 4  # after each act; of what was not synced all, nothing, a part, or torn sectors are there

pytestmark = [pytest.mark.slow, pytest.mark.needs_tool("strace")]


@pytest.fixture
def maker(tmp_path, monkeypatch):
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    return Maker(tmp_path / "stick")


@pytest.fixture
def device(maker, tmp_path):
    """A state folder in which two models were used, and a third waits."""
    store = ModelStore.of(tmp_path / "device")
    (tmp_path / "k.pub").write_text(maker.key.public.text)
    store.change(lambda held: trust(tmp_path / "k.pub", held))
    for now in (True, True, False):
        maker.model()
        update(str(maker.stick), store, unattended=False, now=now)
    return tmp_path / "device"


def takes(maker, device):
    maker.model()
    return "update", maker.stick, "--now"


def takes_a_key(maker, device):
    maker.next_key()
    return "update", maker.stick


def takes_both(maker, device):
    maker.model_and_next_key()
    return "update", maker.stick, "--now"


def uses(maker, device):
    return "use", write_tiny_model(device.with_name("by hand.onnx"), tiny_card())


def goes_back(maker, device):
    ModelStore.of(device).change(Installed.rolled_back)  # nothing waits any more
    return ("rollback",)


def switches(maker, device):
    return ()


def program(words, state):
    """Return the words of a process that does it."""
    return [sys.executable, *(["-m", "edge", "model", *words, "--state"] if words else ["-c", SWITCH]), state]


@pytest.mark.parametrize("does", [takes, takes_a_key, takes_both, uses, goes_back, switches])
def test_a_cut_leaves_the_list_before_or_after_and_it_can_be_done_again(does, maker, device, tmp_path):
    words = does(maker, device)
    before, disk = check_device(device, [maker.key.public]), Disk(device)
    acts = record(program(words, device), device)
    after = check_device(device, [maker.key.public])
    assert after != before
    between = replace(before, keys=after.keys, key_serial=after.key_serial)  # a key comes before a model
    random_, said, found = random.Random(20), False, set()
    for number, act in enumerate(acts):
        if act.call == "said":
            said = True
        else:
            disk.play(act)
        for cut in range(CUTS):
            place = tmp_path / "cut"
            disk.cut(random_, place)
            left = check_device(place, [maker.key.public])
            assert left == after or (left in (before, between) and not said), (
                f"cut {cut} after act {number} ({act.call})"
            )
            found.add(left == after)
            again(words, place, left == after)
            assert check_device(place, [maker.key.public]) == after
            named = {
                f"{each.sha256}.onnx{end}" for each in after.entries for end in ("", *([ENDING] if each.key else ()))
            }
            assert {path.name for path in (place / "models").glob("*.*")} == {LIST, *named}
            shutil.rmtree(place)
    assert found == {False, True}


def again(words, state, done):
    """Do it in this process where it is not done yet; else only what each change begins with."""
    store = ModelStore.of(state)
    if done:
        with store.updating():
            store.change(lambda held: held)
    elif words:
        assert bear_alarm("model", *words, "--state", state).returncode == 0
    else:
        store.change(lambda held: held.switched(tested=True))
