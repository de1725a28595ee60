"""How the service is, on one screen: read from what systemctl shows, and never guessed."""

import json

import pytest

from edge.device.systemd_host import ProgramResult, ServiceError, ask, shown, span_s
from tests.helpers.service_world import ABSENT, RUNS, Machine

FAILING = {
    "ActiveState": "activating",
    "SubState": "auto-restart",
    "Result": "exit-code",
    "ExecMainStatus": "2",
    "NRestarts": "17",
    "MainPID": "0",
    "MemoryCurrent": "[not set]",
    "StatusText": "",
}


def state(tmp_path, **more):
    return ask(Machine(tmp_path / "m", shows=[RUNS | more]).host)


def test_an_alarm_that_runs(tmp_path):
    found = state(tmp_path)
    assert (found.code, found.up, found.pid, found.restarts) == (0, True, 4711, 0)
    assert found.said == "watching 2 cameras: yard = bins"
    assert shown(found).splitlines() == [
        "service     runs for 120 min; starts at boot",
        "says        watching 2 cameras: yard = bins",
        "restarts    none since it was last started by hand or boot",
        "watchdog    fed 12 s ago; after 60 s without, it is ended and started again",
        "process     4711, 212 MB of memory",
        "unit        /etc/systemd/system/bear-alarm.service",
        "events      sudo bear-alarm events --state /var/lib/bear-alarm",
        "",
        "The log's end; all of it: journalctl -u bear-alarm",
        "  2026-11-24T03:12:07+01:00 hive bear-alarm[4711]: yard: bear",
    ]


def test_one_that_fails_again_and_again(tmp_path):
    found = state(tmp_path, **FAILING)
    assert (found.code, found.pid, found.memory_mb, found.active_s) == (3, None, None, None)
    words = shown(found)
    assert "does not run, and is started again in a moment" in words
    assert "it ended with exit code 2" in words
    assert "17 times since" in words
    assert "watchdog" not in words


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"ActiveState": "reloading"}, 0, "runs for 120 min and is reading its configuration"),
        ({"ActiveState": "inactive", "SubState": "dead"}, 3, "does not run; start it: sudo systemctl start bear-alarm"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "watchdog"}, 3, "it hung, and was ended"),
        ({"ActiveState": "activating", "SubState": "start"}, 3, "is starting"),
        ({"UnitFileState": "enabled-runtime"}, 0, "does not start at boot: sudo systemctl enable bear-alarm"),
        ({"UnitFileState": "disabled"}, 0, "does not start at boot: sudo systemctl enable bear-alarm"),
        ({"NeedDaemonReload": "yes"}, 0, "it was changed: `sudo systemctl daemon-reload`"),
        ({"NRestarts": "1"}, 0, "once since"),
        ({"WatchdogUSec": "0", "WatchdogTimestampMonotonic": "0"}, 0, "watchdog    none"),
    ],
)
def test_each_way_it_can_be(more, code, words, tmp_path):
    found = state(tmp_path, **more)
    assert found.code == code
    assert words in shown(found)


def test_what_is_not_installed_shows_how_to(tmp_path):
    found = ask(Machine(tmp_path / "m", shows=[ABSENT]).host)
    assert found.code == 4
    assert shown(found) == "bear-alarm is not installed as a service; `sudo bear-alarm service install` does it."


def test_a_log_that_this_user_may_not_read_is_explained(tmp_path):
    machine = Machine(tmp_path / "m", fails={"journalctl": ProgramResult(1, err="No journal files were opened")})
    assert "try `sudo journalctl -u bear-alarm`" in shown(ask(machine.host))


def test_a_systemctl_that_does_not_answer_is_a_sentence(tmp_path):
    machine = Machine(tmp_path / "m", fails={"systemctl show": ProgramResult(1, err="Failed to connect to bus")})
    with pytest.raises(ServiceError, match="Failed to connect to bus"):
        ask(machine.host)


def test_the_facts_are_plain_json(tmp_path):
    facts = json.loads(json.dumps(state(tmp_path).facts()))
    assert facts["schema_version"] == 1
    assert facts["active"] == "active"
    assert facts["fed_s"] == pytest.approx(12.0)
    assert facts["active_s"] == pytest.approx(7199.0)


def test_times_as_systemd_writes_them():
    assert [span_s(words) for words in ("1min", "1min 30s", "500ms", "2h 5min", "3d 1h")] == [60, 90, 0.5, 7500, 262800]
    assert [span_s(words) for words in ("", "0", "infinity", "[not set]", "5 parsecs")] == [None] * 5
