"""Home Assistant's entities: announced, published again and again, and never "no bear" where nothing is known."""

import json
import re
import time
from itertools import groupby

import pytest

from edge import __version__
from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_discovery import Announcer, Topics, device_id, segment
from edge.alert.mqtt_settings import settings_from_url
from edge.schema import Event
from tests.helpers.broker import Broker, Listener, until

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given
from hypothesis import strategies as st

BEAR, SEES, LAST = (f"bear-alarm/yard/{what}" for what in ("bear", "available", "last_alarm"))
ATTRIBUTES = "bear-alarm/yard/attributes"
AVAILABLE = "bear-alarm/available"
ENTITIES = 2 + 6  # of the hub, and of one camera
CONFIG = re.compile(r"homeassistant/(\w+)/bear_alarm_([0-9a-f]{12})/([A-Za-z0-9_-]+)/config")
# What Home Assistant's schemas call required, and what the design adds.
REQUIRED = {
    "binary_sensor": {"state_topic"},
    "sensor": {"state_topic", "value_template"},
    "image": {"image_topic", "content_type"},
    "event": {"state_topic", "event_types"},
}  # fmt: skip


def event(type_="new", id_="a", kind="bear", seq=1, **more):
    return Event(kind, type_, id_, seq, "run", more.pop("camera", "yard"), f"2026-01-01T00:00:{seq:02}.000Z", **more)


@pytest.fixture
def home(tmp_path):
    """Home Assistant's side: the broker, and what it heard."""
    with Broker(tmp_path) as broker, Listener(broker) as listener:
        listener.broker = broker
        yield listener


def client(home, options="?every=30", cameras=("yard",), **more):
    mqtt = Mqtt(settings_from_url(f"{home.broker.url}{options}"), cameras, **more)
    assert home.hears(AVAILABLE, "online")
    return mqtt


def configs(home):
    """The newest announcement of each entity: component, name of it, and what it holds."""
    found = {}
    for topic, payload, _ in list(home.got):
        if match := CONFIG.fullmatch(topic):
            found[match[3]] = match[1], json.loads(payload)
    return found


def check(component, object_id, config, prefix="bear-alarm"):
    """What holds for every entity."""
    assert REQUIRED[component] <= set(config), object_id
    assert config["unique_id"].endswith(object_id)
    assert config["name"]
    node = config["unique_id"].removesuffix(f"_{object_id}")
    if object_id in {"connection", "problem"}:
        assert config["device"]["identifiers"] == [node]
        assert config["device"]["sw_version"] == __version__
    else:
        assert config["device"]["identifiers"] == [f"{node}_{object_id.rpartition('_')[0]}"]
        assert config["device"]["via_device"] == node
    assert config["origin"]["sw_version"] == __version__
    assert all(topic.startswith(f"{prefix}/") for key, topic in config.items() if key.endswith("topic"))
    if object_id == "connection" or object_id.endswith(("_alarm", "_lastalarm", "_snapshot")):
        assert "availability" not in config  # they show "offline", or what was
    else:
        assert {"topic": f"{prefix}/available"} in config["availability"]
    if object_id.endswith("_bear"):
        assert config["availability_mode"] == "all"
        assert len(config["availability"]) == 3
        assert config["expire_after"] >= 1


@pytest.mark.needs_tool("mosquitto")
def test_what_appears_in_home_assistant(home):
    mqtt = client(home, model="bear.onnx 1a2b3c4d")
    assert until(lambda: len(configs(home)) == ENTITIES)
    for object_id, (component, config) in configs(home).items():
        check(component, object_id, config)
    assert configs(home)["connection"][1]["device"]["model"] == "bear.onnx 1a2b3c4d"
    component, bear = configs(home)["yard_bear"]
    assert (component, bear["device_class"], bear["state_topic"]) == ("binary_sensor", "occupancy", BEAR)
    assert [each["topic"] for each in bear["availability"]] == [AVAILABLE, SEES, BEAR]
    assert (bear["expire_after"], bear["json_attributes_topic"]) == (90, ATTRIBUTES)
    with Listener(home.broker, "homeassistant/#", "later") as later:
        assert until(lambda: len(later.got) == ENTITIES)
        assert all(kept for *_, kept in later.got)
    mqtt.close()


@given(st.lists(st.text(max_size=20), unique=True, max_size=4), st.sampled_from(["bear-alarm", "a/b"]))
def test_any_cameras_are_announced_as_entities_of_their_own(cameras, prefix):
    announced = Announcer("homeassistant", Topics(prefix), device_id(prefix), 90)(cameras)
    assert len({topic for topic, _ in announced}) == len(announced) == 2 + 6 * len(cameras)
    for topic, payload in announced:
        match = CONFIG.fullmatch(topic)
        assert match
        check(match[1], match[3], json.loads(payload), prefix)
    assert len({json.loads(payload)["unique_id"] for _, payload in announced}) == len(announced)


@pytest.mark.needs_tool("mosquitto")
def test_home_assistants_birth_is_answered(home):
    mqtt = client(home)
    assert until(lambda: len(configs(home)) == ENTITIES)
    assert home.hears(BEAR, "OFF")
    for _ in range(2):
        home.got.clear()
        home.say("homeassistant/status", "offline")
        home.say("homeassistant/status", "online")
        assert until(lambda: len(configs(home)) == ENTITIES)
        assert home.hears(BEAR, "OFF")
        assert home.hears(AVAILABLE, "online")
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_everything_is_said_again_after_a_reconnect(home):
    mqtt = client(home)
    mqtt(event())
    assert home.hears(BEAR, "ON")
    home.broker.stop()
    home.got.clear()
    home.broker.start()
    assert until(lambda: len(configs(home)) == ENTITIES)
    assert home.hears(BEAR, "ON")
    assert until(lambda: home.of(LAST))
    assert mqtt._connection.connects == 2
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_the_state_follows_the_bears(home):
    mqtt = client(home)
    assert home.hears(BEAR, "OFF")
    mqtt(event(label="brown_bear", score=0.91, top_score=0.95, zones=("gate",)))
    assert home.hears(BEAR, "ON")
    mqtt(event("update", seq=2, label="brown_bear", score=0.5, top_score=0.97))
    mqtt(event("new", "b", seq=3, label="black_bear", score=0.8, top_score=0.8, quiet="outside the schedule"))
    mqtt(event("end", "a", seq=4, label="brown_bear", score=0.1, top_score=0.97))
    assert until(lambda: json.loads(home.of(ATTRIBUTES)[-1])["id"] == "b")
    assert home.of(BEAR)[-1] == "ON"
    published = [json.loads(line) for line, _ in groupby(home.of(ATTRIBUTES))][-4:]  # some may be said twice
    assert [(each["bears"], each["label"], each["score"]) for each in published] == [
        (1, "brown_bear", 0.91), (1, "brown_bear", 0.5), (2, "brown_bear", 0.5), (1, "black_bear", 0.8),
    ]  # fmt: skip
    assert (published[0]["zones"], published[0]["since"], published[1]["since"]) == (
        ["gate"],
        *["2026-01-01T00:00:01.000Z"] * 2,
    )
    assert published[3]["quiet"] == "outside the schedule"
    mqtt(event("end", "b", seq=5))
    assert home.hears(BEAR, "OFF")
    (alarm,) = set(home.of(LAST))
    assert json.loads(alarm)["at"] == "2026-01-01T00:00:01.000Z"
    assert not any(kept for topic, _, kept in home.got if topic in {BEAR, ATTRIBUTES})
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_what_is_known_comes_before_the_state_that_automations_act_on(home):
    mqtt = client(home, "?every=3600")
    home.got.clear()
    mqtt(event(label="brown_bear"))
    assert home.hears(BEAR, "ON")
    first = [topic for topic, payload, _ in home.got if b"brown" in payload or payload == b"ON"]
    assert first[:2] == [ATTRIBUTES, BEAR]
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_a_blind_camera_publishes_nothing_of_bears(home):
    mqtt = client(home, "?every=0.05")
    assert home.hears(SEES, "online")
    trouble = event(kind="camera", id_="t", label="gone", detail="yard: no picture")
    mqtt(trouble)
    assert home.hears(SEES, "offline")
    assert until(lambda: json.loads(home.of(ATTRIBUTES)[-1])["trouble_detail"] == "yard: no picture")
    bears = len(home.of(BEAR))
    before = len(home.of(SEES))
    assert until(lambda: len(home.of(SEES)) > before + 3)
    assert len(home.of(BEAR)) == bears
    mqtt(event(seq=2))  # a camera that is reported as covered, and shows a bear all the same
    assert home.hears(BEAR, "ON")
    assert home.hears(SEES, "online")
    mqtt(event("end", seq=3))
    assert home.hears(SEES, "offline")
    assert home.of(BEAR)[-1] == "ON"  # and not OFF: unavailable
    mqtt(event("end", "t", kind="camera", seq=4, label="gone"))
    assert home.hears(SEES, "online")
    assert home.hears(BEAR, "OFF")
    mqtt(event("new", "m", kind="camera", seq=5, label="moved"))
    assert until(lambda: json.loads(home.of(ATTRIBUTES)[-1])["trouble"] == "moved")
    assert home.hears(SEES, "online")
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_the_state_is_said_again_before_it_expires_and_only_while_somebody_watches(home):
    watched = {"yard": True, "gate": True}
    mqtt = client(home, "?every=0.2", ("yard", "gate"), watching=watched.__getitem__, stats=lambda: {"fps": 9.5})
    (expire_s,) = {c["expire_after"] for _, c in configs(home).values() if "expire_after" in c}
    times = []
    for _ in range(5):
        so_far = len(home.of(BEAR))
        assert until(lambda so_far=so_far: len(home.of(BEAR)) > so_far)
        times.append(time.monotonic())
    assert (times[-1] - times[0]) / 4 < expire_s  # on average, on a busy machine too
    assert json.loads(home.of("bear-alarm/stats")[-1]) == {"fps": 9.5}
    watched["yard"] = False  # the loop hangs; this process and its connection live on
    assert home.hears(SEES, "offline")
    before, other = len(home.of(BEAR)), len(home.of("bear-alarm/gate/bear"))
    assert until(lambda: len(home.of("bear-alarm/gate/bear")) > other + 3)
    assert len(home.of(BEAR)) == before
    del watched["yard"]  # nobody knows
    assert not home.hears(SEES, "online", 0.5)
    watched["yard"] = True
    assert home.hears(SEES, "online")
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_that_there_is_no_bear_is_said_only_once_somebody_has_watched(home):
    watched = {"yard": False}
    mqtt = client(home, "?every=0.05", watching=watched.__getitem__)
    assert home.hears(SEES, "offline")
    mqtt(event("new", "t", kind="camera", label="moved"))  # the camera is being opened
    mqtt(event("end", "t", kind="camera", seq=2, label="moved"))
    assert until(lambda: len(home.of(SEES)) > 20)
    assert (set(home.of(SEES)), home.of(BEAR)) == ({"offline"}, [])
    mqtt(event(seq=3))  # who sees a bear watches
    assert home.hears(BEAR, "ON")
    watched["yard"] = True
    mqtt(event("end", seq=4))
    assert home.hears(BEAR, "OFF")
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_what_cannot_be_published_is_logged_once_without_a_traceback_and_again_when_it_was_well_between(home, caplog):
    broken = [True]

    def broke(*_):
        if broken:
            raise KeyError("health")
        return {"well": True}

    mqtt = client(home, "?every=0.05", watching=broke, stats=broke)
    assert until(lambda: len(home.of(SEES)) > 10)
    lines = [record for record in caplog.records if "cannot be published" in record.message]
    assert sorted(record.getMessage() for record in lines) == [
        "MQTT: the state of yard cannot be published (KeyError: 'health')",
        "MQTT: the stats cannot be published (KeyError: 'health')",
    ]
    assert "Traceback" not in caplog.text
    broken.clear()
    assert until(lambda: home.of("bear-alarm/stats"))
    broken.append(True)
    assert until(lambda: caplog.text.count("stats cannot be published") == 2)
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_a_camera_is_learnt_from_its_events_but_a_test_or_health_event_makes_none(home):
    mqtt = client(home, cameras=())
    assert until(lambda: set(configs(home)) == {"connection", "problem"})
    mqtt(event(kind="test", camera="test"))
    mqtt(event(kind="health", camera=""))
    mqtt(event(camera="Hütte/+/#"))
    level = segment("Hütte/+/#")
    assert home.hears(f"bear-alarm/{level}/bear", "ON")
    assert until(lambda: len(configs(home)) == ENTITIES)
    assert configs(home)[f"{level}_bear"][1]["device"]["name"] == "Bear Alarm Hütte/+/#"
    assert set(configs(home)) == {"connection", "problem"} | {key for key in configs(home) if key.startswith(level)}
    mqtt.close()


@pytest.mark.needs_tool("mosquitto")
def test_without_discovery_nothing_is_announced(home):
    mqtt = Mqtt(settings_from_url(f"{home.broker.url}/farm?discovery=0"), ["yard"])
    assert home.hears("farm/available", "online")
    assert home.hears("farm/yard/bear", "OFF")
    assert all(topic.startswith("farm/") for topic, *_ in home.got)
    mqtt.close()
