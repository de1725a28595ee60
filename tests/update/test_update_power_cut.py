"""The power is cut at each write of `bear-alarm model update`: what is installed and trusted is as before, or new."""

import random
import shutil
import sys

import pytest

from edge.model_store import ModelStore
from edge.update.install import update
from edge.update.keys import trust
from tests.helpers.power_cut import Disk, record
from tests.helpers.update_stage import Maker, check_device

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


@pytest.mark.parametrize("new", [Maker.model, Maker.next_key])
def test_a_cut_leaves_the_list_before_or_after_and_the_stick_is_taken_again(new, maker, device, tmp_path):
    before, disk = check_device(device, [maker.key.public]), Disk(device)
    new(maker)
    command = [sys.executable, "-m", "edge", "model", "update", maker.stick, "--now", "--state", device]
    acts = record(command, device)
    after = check_device(device, [maker.key.public])
    assert after != before
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
            assert left == after or (left == before and not said), f"cut {cut} after act {number} ({act.call})"
            found.add(left == after)
            update(str(maker.stick), ModelStore.of(place), unattended=False, now=True)
            assert check_device(place, [maker.key.public]) == after
            assert {path.suffix for path in (place / "models").iterdir()} == {"", ".json", ".minisig", ".onnx"}
            shutil.rmtree(place)
    assert said
    assert found == {False, True}
