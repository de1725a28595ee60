"""Unit file of the service, for systemd 252 (Debian 12) and newer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.device.systemd_host import NAME, ServiceError
from edge.device.watchdog import REBOOT

# The shell is asked, for systemd cannot start a command for one exit code alone; + is: as root, outside of the fence.
REBOOTS = f"""
# Asked for with --reboot: the alarm ends with {REBOOT} where starting it again did not bring the cameras back.
ExecStopPost=+/bin/sh -c 'if [ "$$EXIT_CODE:$$EXIT_STATUS" = exited:{REBOOT} ]; then systemctl --no-block reboot; fi'
"""


@dataclass(frozen=True)
class InstallPlan:
    """Values that one machine's unit depends on."""

    program: tuple[str, ...]  # starts bear-alarm; the first word is an absolute path
    config: Path  # absolute
    groups: tuple[str, ...] = ()  # of the machine's, those its user joins: a missing one would keep it from starting
    writes: tuple[Path, ...] = ()  # folders outside of its own that it writes to
    sees_home: bool = False  # it has to read something under /home
    reboot: bool = False  # the machine, where nothing else helps


def unit(plan: InstallPlan) -> str:
    """Write the text of bear-alarm.service, for systemd 252 (Debian 12) and newer. Raises ServiceError."""
    groups = f"SupplementaryGroups={' '.join(plan.groups)}\n" if plan.groups else ""
    # The minus: a drive that is not there must not keep the alarm from starting.
    writes = "".join(f"ReadWritePaths={word(f'-{path}')}\n" for path in plan.writes)
    return f"""\
# Written by `bear-alarm service install`, which replaces it each time.
# Changes of your own belong into a file beside it: `sudo systemctl edit {NAME}`.
[Unit]
Description=Bear Alarm: sees bears and says so
# It waits for no network: an alarm that needs none must not hang on one.
After=network.target
# The kernel's names for cameras and sound cards are looked up below when the service starts, also where none is
# plugged in yet.
Wants=modprobe@videodev.service modprobe@mc.service modprobe@snd.service
After=modprobe@videodev.service modprobe@mc.service modprobe@snd.service
# However often it fails, it is started again.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command([*plan.program, "watch", "--config", str(plan.config)])}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
# Fed by the alarm while it looks, scores and every camera goes on; else it is ended here, and started again.
WatchdogSec=60
TimeoutAbortSec=10
# A slow card may take minutes to load everything; the alarm asks for more time while it gets on.
TimeoutStartSec=180
# It ends by itself within 30 s, whatever hangs.
TimeoutStopSec=45
# SIGTERM is for the alarm: it silences its players and ends its cameras itself, and lets a clip be finished.
KillMode=mixed
{REBOOTS if plan.reboot else ""}
# Memory short: the child that writes clips goes first, and the alarm goes on without it.
OOMScoreAdjust=-500
OOMPolicy=continue
Nice=-5

User={NAME}
Group={NAME}
{groups}UMask=0027
StateDirectory={NAME}
StateDirectoryMode=0750
RuntimeDirectory={NAME}
ConfigurationDirectory={NAME}
WorkingDirectory=%S/{NAME}
Environment=PYTHONUNBUFFERED=1
# Where it hangs and is ended by the watchdog, the log says where.
Environment=PYTHONFAULTHANDLER=1
LimitCORE=0
# The service's own choice of a model: /etc/bear-alarm/model.onnx, put there by
# `sudo XDG_CONFIG_HOME=/etc bear-alarm model use FILE`.
Environment=XDG_CONFIG_HOME=%E

# The devices it needs: cameras, a ribbon camera's memory, pins, sound, and the board's own health.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
DeviceAllow=char-gpiochip rw
DeviceAllow=char-alsa rw
DeviceAllow=/dev/vchiq rw
DeviceAllow=/dev/vcio rw

# Nothing else. These options are missing for a reason:
# ProtectClock= forbids adjtimex, also to ask whether the clock is right; ProcSubset=pid hides the board and its
# memory; PrivateDevices= hides the camera; MemoryDenyWriteExecute= would break a command of yours that makes code while
# it runs (node, java).
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
{writes}ProtectHome={"read-only" if plan.sees_home else "yes"}
PrivateTmp=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
# Netlink: names are looked up and cameras are found through it.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
# To ask whether the clock is right. Setting it needs a privilege, which it has not.
SystemCallFilter=adjtimex clock_adjtime

[Install]
WantedBy=multi-user.target
"""


def command(words: Sequence[str]) -> str:
    """Quote a command line for ExecStart=. The first word is an absolute path; $ is special in the others alone.

    Raises ServiceError for a program systemd would not start.
    """
    first, *more = words
    if set(first) & set("\"'\\"):
        raise ServiceError(f"{first}: systemd starts nothing whose path has a quote or a backslash in it; rename it")
    return " ".join([word(first), *(word(each).replace("$", "$$") for each in more)])


def word(text: str) -> str:
    """Quote one word of a setting. Raises ServiceError for line breaks and other control characters."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ServiceError(f"{text!r}: a service cannot name what has control characters in it; rename it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[A-Za-z0-9/._+=:,@-]+", text) else f'"{escaped}"'
