"""The unit file: systemd itself reads it, and shows how much of the machine it leaves open."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from edge.device.systemd import InstallPlan, command, unit, word
from edge.device.systemd_host import ServiceError
from edge.device.watchdog import REBOOT

EXPOSURE = 21  # tenths; docs/service.md names it
CONFIG = Path("/etc/bear-alarm/config.yml")


def made(folder, **more):
    """A unit whose program is there."""
    script = folder / "bear-alarm"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return unit(InstallPlan((str(script),), more.pop("config", CONFIG), **more))


def analyze(text, folder, *words):
    path = folder / "bear-alarm.service"
    path.write_text(text)
    env = os.environ | {"SYSTEMD_PAGER": "", "SYSTEMD_LOG_LEVEL": "info"}
    done = subprocess.run(
        ["systemd-analyze", *words, path], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.needs_tool("systemd-analyze")
@pytest.mark.parametrize("reboot", [False, True])
def test_systemd_has_no_objection(reboot, tmp_path):
    text = made(tmp_path, groups=("video", "audio"), writes=(Path("/media/usb stick/100%"),), reboot=reboot)
    assert analyze(text, tmp_path, "verify") == (0, "")


@pytest.mark.needs_tool("systemd-analyze")
def test_systemd_would_report_it_if_there_were(tmp_path):
    code, printed = analyze(made(tmp_path).replace("WatchdogSec=60", "WatchdogSecs=60"), tmp_path, "verify")
    assert "Unknown key" in printed, (code, printed)


@pytest.mark.needs_tool("systemd-analyze")
def test_a_program_is_found_whatever_its_folder_is_called(tmp_path):
    folder = tmp_path / "bears 100%n of $HOME"
    folder.mkdir()
    assert analyze(made(folder), tmp_path, "verify") == (0, "")
    code, printed = analyze(made(folder).replace("%%", "%"), tmp_path, "verify")
    assert code, printed


@pytest.mark.needs_tool("systemd-analyze")
def test_it_leaves_no_more_of_the_machine_open_than_is_written_down(tmp_path):
    words = ("security", "--offline=yes", f"--threshold={EXPOSURE}")
    code, printed = analyze(
        made(tmp_path, groups=("video", "gpio", "audio"), writes=(Path("/srv/x"),)), tmp_path, *words
    )
    assert code == 0, printed
    assert analyze(made(tmp_path).replace("ProtectSystem=strict", ""), tmp_path, *words)[0] != 0


def test_it_has_what_the_alarm_counts_on(tmp_path):
    text = made(tmp_path, groups=("video",))
    for line in (
        "Type=notify", "WatchdogSec=60", "Restart=always", "StartLimitIntervalSec=0", "KillMode=mixed",
        "User=bear-alarm", "SupplementaryGroups=video", "StateDirectory=bear-alarm", "WorkingDirectory=%S/bear-alarm",
        "OOMPolicy=continue", "SystemCallFilter=adjtimex clock_adjtime", "ProtectHome=yes", "UMask=0027",
    ):  # fmt: skip
        assert f"\n{line}\n" in text, line
    assert re.search(r"\nExecStart=\S+/bear-alarm watch --config /etc/bear-alarm/config.yml\n", text)
    assert "\nProtectClock=" not in text
    assert "online" not in text


def test_the_machine_is_started_again_for_one_exit_code_alone_and_only_where_that_was_asked_for(tmp_path):
    assert "ExecStopPost" not in made(tmp_path)
    line = re.search(r"\nExecStopPost=\+/bin/sh -c '(.*)'\n", made(tmp_path, reboot=True))
    assert line
    script = line[1].replace("$$", "$").replace("systemctl --no-block reboot", "echo reboots")

    def ends(code, status):
        return subprocess.check_output(["sh", "-c", script], env={"EXIT_CODE": code, "EXIT_STATUS": status}, text=True)

    assert ends("exited", str(REBOOT)) == "reboots\n"
    for code, status in (("exited", "0"), ("exited", "1"), ("exited", "75"), ("killed", "TERM"), ("killed", "86")):
        assert ends(code, status) == ""


def test_folders_of_its_own_choosing_are_opened_and_home_only_to_be_read(tmp_path):
    text = made(tmp_path, writes=(Path("/media/stick/bears"),), sees_home=True)
    assert "\nReadWritePaths=-/media/stick/bears\n" in text
    assert "\nProtectHome=read-only\n" in text


def test_what_a_path_is_made_of_means_nothing_to_systemd():
    assert command(["/opt/a b/c%d$e", "--config", 'x"y\\z $HOME %n']) == (
        '"/opt/a b/c%%d$e" --config "x\\"y\\\\z $$HOME %%n"'
    )
    assert word("/plain/path-1.yml") == "/plain/path-1.yml"
    assert word("") == '""'
    for refused in ("/opt/a'b/c", '/opt/a"b', "/opt/a\\b"):
        with pytest.raises(ServiceError, match="quote or a backslash"):
            command([refused])
    with pytest.raises(ServiceError, match="control characters"):
        word("/opt/a\nExecStartPre=/bin/false")


def test_the_page_shows_how_much_it_leaves_open():
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    assert f"gives it {EXPOSURE / 10} of 10" in page
