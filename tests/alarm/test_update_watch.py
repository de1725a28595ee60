"""`watch` takes a new model from a folder: it is tried, switched to, and taken back where it ends the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml

from edge.minisign import SecretKey
from edge.model_store import MAX_STARTS, ModelStore
from tests.alarm.test_watch import ROOT
from tests.helpers.broker import Broker, Listener, refusing_port
from tests.helpers.fake_camera import LONG_S, LiveYard, soon, watching
from tests.helpers.signed_models import current, offer, tiny_entry, trusting

pytestmark = pytest.mark.slow


class Place:
    """A folder with a config, an installed tiny model, a trusted key, and a stick."""

    def __init__(self, folder, url):
        self.folder, self.stick, self.events = folder, folder / "stick", folder / "events.jsonl"
        self.state = folder / "state"
        self.store = ModelStore.of(self.state)
        self.key = SecretKey.new()
        self.old = current(self.store).name
        trusting(self.store, self.key)
        self.config = {"state": "state", "bell": "no", "record": "off", "events": "events.jsonl"}
        self.configure(cameras={"yard": url}, updates={"sources": ["stick"], "frames": 1, "hours": 0})

    def configure(self, **more):
        """Write the config, with other settings."""
        self.config |= more
        (self.folder / "bear-alarm.yml").write_text(yaml.safe_dump(self.config))

    def of(self, kind):
        """Return the events of a kind so far."""
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        return [each for each in map(json.loads, lines) if each["kind"] == kind]

    def said(self, words):
        return any(words in each["detail"] for each in self.of("notice"))

    def models(self):
        """Return the model of each alarm."""
        return [each["model"] for each in self.of("bear") if each["type"] == "new"]


@pytest.fixture
def yard():
    with LiveYard() as server:
        yield server


@pytest.fixture
def place(tmp_path, yard):
    return Place(tmp_path, yard.url)


@pytest.mark.alone
def test_a_signed_model_on_a_stick_is_tried_beside_the_one_in_use_and_switched_to(place, yard):
    new = offer(place.stick, place.key)
    with watching(cwd=place.folder) as alarm:
        alarm.until("Watching yard")
        assert soon(lambda: place.said(f"the model {new} (serial 1, from {place.stick / 'new.onnx'}) is here"))
        yard.bear = True
        assert soon(lambda: place.models() == [place.old])
        yard.bear = False
        assert soon(lambda: place.said(f"{new} is chosen: "))
        alarm.until(f"the model {new} is in use now")
        assert soon(lambda: place.said(f"{new} is in use now"))
        held = place.store.read()
        assert held.current
        assert held.previous
        assert (held.current.name, held.previous.name, held.waiting, held.proven) == (new, place.old, None, False)
        yard.bear = True
        assert soon(lambda: place.models() == [place.old, new])
        assert alarm.process.poll() is None, "it went on in the same process"
        alarm.process.send_signal(signal.SIGKILL)
    with watching(cwd=place.folder) as alarm:
        alarm.until("Watching yard")
        assert soon(lambda: place.models() == [place.old, new, new])
        assert place.store.read().starts == 1
    assert place.store.read().starts == 0, "it ended in good order"


def test_an_unknown_key_is_refused_and_people_are_notified(place):
    offer(place.stick, SecretKey.new())
    with watching(cwd=place.folder) as alarm:
        alarm.until(f"New models: from {place.stick}.")
        assert soon(lambda: place.said("no new model was taken: "))
        assert place.store.read().waiting is None


@pytest.mark.needs_tool("mosquitto")
def test_an_offer_that_the_broker_retains_is_looked_at(place, tmp_path_factory):
    with refusing_port() as port, Broker(tmp_path_factory.mktemp("broker")) as broker, Listener(broker) as listener:
        listener.say("bear-alarm/model", json.dumps({"url": f"https://127.0.0.1:{port}/new.onnx"}), retain=True)
        place.configure(mqtt=broker.url, updates=["mqtt"])
        with watching(cwd=place.folder) as alarm:
            alarm.until("Watching yard")
            assert soon(lambda: place.said(f"no new model was taken: the signature at https://127.0.0.1:{port}: "))


def test_a_model_that_ends_the_process_when_it_is_loaded_is_taken_back(place):
    new = tiny_entry("new")[1]
    current(place.store, "new")
    current(place.store, "tiny")  # it comes before it
    place.store.change(lambda held: held.used(new))
    code = (
        "import os; from edge.detect import classifier; whole = classifier._session\n"
        "def session(path, *more, **others):\n"
        f"    if {new.sha256!r} in str(path): os.abort()\n"
        "    return whole(path, *more, **others)\n"
        "classifier._session = session\n"
        "from edge.cli.main import main; main()\n"
    )
    run = [sys.executable, "-c", code, "watch"]
    for _ in range(MAX_STARTS):
        ran = subprocess.run(run, cwd=place.folder, env={"PYTHONPATH": str(ROOT)}, timeout=LONG_S, check=False)
        assert ran.returncode == -signal.SIGABRT
    with subprocess.Popen(run, cwd=place.folder, env={"PYTHONPATH": str(ROOT)}) as process:
        assert soon(lambda: place.said(f"{new.name} is not used any more, because 3 starts of the alarm"))
        process.terminate()
    held = place.store.read()
    assert held.current
    assert (held.current.name, held.proven, held.starts) == (place.old, False, 0)
