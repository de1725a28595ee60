"""Installing the service and taking it away: checked first, then step by step, and the second time like the first."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edge.device.systemd import need_root, uninstall
from edge.device.systemd_host import NAME, Account, ProgramResult, ServiceError
from edge.settings import HealthSettings, Settings
from tests.helpers.service_world import RESTART, ROOT, RUNS, Machine, installed, program

STARTS = RUNS | {"ActiveState": "activating", "SubState": "start", "StatusText": "loading the model"}
USERADD = f"useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {NAME}"
STARTED = ["systemctl daemon-reload", "systemctl enable bear-alarm.service"]
STARTED += [RESTART]

as_root = pytest.mark.skipif(not ROOT, reason="only root can make what belongs to others")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine")


@as_root
def test_from_nothing_to_an_alarm_that_runs(machine):
    for name in ("secrets.yml", "model.onnx"):
        machine.config.with_name(name).touch(0o600)
    machine.config.with_name("moo.wav").touch(0o644)
    printed = installed(machine)
    assert machine.did == [USERADD, *STARTED]
    assert f"user {NAME} made" in printed
    assert "it runs: watching 2 cameras: yard = bins" in printed
    assert "events --state /var/lib/bear-alarm" in printed[-1]
    assert "SupplementaryGroups=video audio\n" in machine.unit  # gpio is not there, and would keep it from starting
    assert f"watch --config {machine.config}\n" in machine.unit
    for name in ("config.yml", "secrets.yml", "model.onnx"):
        assert stat.S_IMODE((machine.config.parent / name).stat().st_mode) == 0o640


@as_root
def test_the_second_time_nothing_is_made_twice_and_it_is_started_again(machine):
    installed(machine)
    before = machine.unit
    machine.asked.clear()
    printed = installed(machine)
    assert machine.did == STARTED
    assert machine.unit == before
    assert not [line for line in printed if "made" in line or "written" in line or "can be read" in line]
    installed(machine, reboot=True)
    assert "ExecStopPost=" in machine.unit
    installed(machine, Settings(health=HealthSettings(reboot=True)))
    assert "ExecStopPost=" in machine.unit
    installed(machine, Settings(health=HealthSettings(reboot=True)), reboot=False)
    assert machine.unit == before


@as_root
def test_a_user_whose_group_is_there_already_joins_it(machine):
    machine.groups.add(NAME)
    installed(machine)
    assert machine.did[0] == USERADD.replace("--user-group", f"--gid {NAME}")


def test_a_dry_run_shows_the_steps_and_does_nothing(machine):
    before = machine.config.stat().st_mode
    printed = installed(machine, dry_run=True)
    assert machine.asked == []
    assert machine.config.stat().st_mode == before
    assert not (machine.root / "etc/systemd").exists()
    assert all(line.startswith("would be done: ") for line in printed)
    assert printed[-1] == "would be done: started"


@as_root
def test_one_that_takes_its_time_is_waited_for_and_one_that_takes_too_long_is_reported(machine):
    machine.shows = [STARTS] * 5 + [RUNS]
    assert "it runs: watching 2 cameras: yard = bins" in installed(machine)
    machine.shows, began = [STARTS], machine.now_s
    printed = installed(machine)
    assert any("still starting" in line for line in printed)
    assert machine.now_s - began == pytest.approx(30.0)


@as_root
def test_one_that_ran_before_is_not_taken_for_the_one_that_was_started(machine):
    machine.late = True
    assert any("still starting" in line for line in installed(machine))


@as_root
@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "1", "Result": "exit-code",
          "ExecMainStatus": "2"}, "it ended with exit code 2"),
        ({"ActiveState": "failed", "Result": "timeout"}, "it took too long"),
        ({"ActiveState": "failed", "Result": "something new"}, "it ended"),
    ],
)  # fmt: skip
def test_one_that_does_not_stay_up_is_a_sentence_with_the_place_to_look(machine, ends, why):
    machine.shows = [STARTS, RUNS | ends]
    with pytest.raises(ServiceError, match=f"does not stay up: {why}.*journalctl -u bear-alarm -n 30"):
        installed(machine)


@as_root
def test_a_step_that_fails_ends_it_with_what_was_reported(machine):
    machine.fails["useradd"] = ProgramResult(9, err="useradd: /etc/passwd is locked;\n try again later\n")
    with pytest.raises(ServiceError, match=r"`useradd .*` did not work: useradd: /etc/passwd is locked; try again"):
        installed(machine)
    assert not (machine.root / "etc/systemd").exists()


def test_where_no_service_can_run_that_is_reported_before_anything_is_done(machine):
    (machine.root / "run/systemd/system").rmdir()
    for call in (lambda: installed(machine), lambda: uninstall(machine.host)):
        with pytest.raises(ServiceError, match=r"no systemd runs .* --print"):
            call()
    assert machine.asked == []


def test_everybody_but_root_is_given_the_line_to_type(machine, tmp_path):
    anybody = replace(machine.host, is_root=False)
    lies = program(tmp_path / "my bears")
    with pytest.raises(ServiceError) as raised:
        need_root(anybody, lies, ["service", "install", "--config", "/etc/my bears.yml"])
    assert f"sudo '{lies.command[0]}' service install --config '/etc/my bears.yml'" in str(raised.value)
    need_root(machine.host, lies, [])


@as_root
def test_what_is_removed_and_what_stays(machine):
    installed(machine)
    state = machine.root / "var/lib/bear-alarm"
    state.mkdir(parents=True)
    (state / "journal.db").touch()
    machine.asked.clear()
    printed: list[str] = []
    uninstall(machine.host, dry_run=True, report=printed.append)
    assert machine.asked == []
    uninstall(machine.host, report=printed.append)
    assert machine.did[0] == "systemctl disable --now bear-alarm.service"
    assert machine.did[1] == "systemctl daemon-reload"
    assert printed[-1] == "/var/lib/bear-alarm and /etc/bear-alarm stay as they are; with --purge they go too"
    assert not (machine.root / "etc/systemd/system/bear-alarm.service").exists()
    assert (state / "journal.db").exists()
    assert machine.account
    uninstall(machine.host, purge=True, report=printed.append)
    assert not state.exists()
    assert not machine.config.parent.exists()
    assert machine.did[-1] == f"userdel {NAME}"
    uninstall(machine.host, purge=True, report=printed.append)
    assert "nothing to remove" in printed[-1]


@as_root
def test_of_a_state_folder_that_lies_elsewhere_only_the_link_is_removed(machine, tmp_path):
    (stick := tmp_path / "stick").mkdir()
    (stick / "picture.jpg").touch()
    (machine.root / "var/lib").mkdir(parents=True)
    (machine.root / "var/lib/bear-alarm").symlink_to(stick)
    uninstall(machine.host, purge=True, report=lambda _: None)
    assert not (machine.root / "var/lib/bear-alarm").is_symlink()
    assert (stick / "picture.jpg").exists()


@pytest.mark.parametrize("where", ["/var/lib/bear-alarm/my stick", "/var/lib/bear-alarm", "/etc/bear-alarm"])
def test_a_drive_is_not_emptied_with_the_folder_it_is_mounted_in(where, machine):
    state = machine.root / "var/lib/bear-alarm"
    state.mkdir(parents=True)
    machine.mount_points = [Path("/"), Path(where)]
    with pytest.raises(ServiceError, match=r"something is mounted there, .*; unmount it first"):
        uninstall(machine.host, purge=True, report=lambda _: None)
    assert machine.did == []
    machine.mount_points = [Path("/")]
    uninstall(machine.host, purge=True, report=lambda _: None)
    assert not state.exists()


@pytest.mark.parametrize(("uid", "removed"), [(990, True), (1000, False)])
def test_somebody_who_is_called_like_the_service_stays(uid, removed, machine):
    machine.account = Account(uid, uid)
    uninstall(machine.host, purge=True, report=lambda _: None)
    assert (machine.account is None) == removed


@as_root
def test_a_disk_that_takes_nothing_is_a_sentence_that_names_the_step(machine):
    (machine.root / "etc/systemd").touch()  # where a folder is to be
    with pytest.raises(ServiceError, match=r"could not be done: .*bear-alarm.service written \(.*etc/systemd.*: "):
        installed(machine)
