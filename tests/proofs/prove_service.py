"""The service on a real systemd, from `service install` to a reboot, in namespaces of its own: nothing outside changes.

    sudo python tests/proofs/prove_service.py

Needs root, and a Linux that lets it mount an overlay. In place of `watch` runs tests/helpers/fenced.py at first,
which tells what the service's fence lets through; then the alarm itself, with a camera that is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = "/etc/bear-alarm/my bears 100%n $HOME.yml"
ALARM = "/opt/bear-alarm/bin/bear-alarm"
LIMIT_S = 120.0
PLAYER_S = "4711"  # what stands for a siren sleeps so long; tests/helpers/fenced.py starts it before it hangs
ALLOWED = (
    "clock asked", "state", "config", "sound in memory", "lgpio's folder", "clip", "shell command", "names", "udev",
    "board", "null device",
)  # fmt: skip
FORBIDDEN = ("clock set", "write /etc", "write /opt", "read /home", "raw packets", "another device", "as root")

# A throw-away copy of this machine's files, with the environment where a service can read it; then systemd is its init.
BOX = r"""
set -e
mount --make-rprivate /
mount -t tmpfs box "$BOX"
mkdir "$BOX/up" "$BOX/work" "$BOX/root"
mount -t overlay box -o "lowerdir=/,upperdir=$BOX/up,workdir=$BOX/work" "$BOX/root"
cd "$BOX/root"
mount -t proc proc proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs dev dev
for each in null zero full random urandom tty; do touch dev/$each; mount --bind /dev/$each dev/$each; done
mknod -m 666 dev/fenced c 10 229
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs run run
mkdir -p opt/python opt/site opt/checkout opt/bear-alarm etc/bear-alarm
mount -o bind,ro "$PYTHON" opt/python
mount -o bind,ro "$SITE" opt/site
mount -o bind,ro "$CHECKOUT" opt/checkout
for each in sysctl binfmt modules-load udevd udev-trigger tmpfiles-setup-dev tmpfiles-setup-dev-early; do
  ln -sf /dev/null etc/systemd/system/systemd-$each.service
done
ln -sf /dev/null etc/systemd/system/modprobe@.service  # there is one kernel, and it is not the box's
mkdir -p mnt && pivot_root . mnt && umount -l /mnt
mount -t tmpfs tmp /tmp
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target
"""

SET_UP = rf"""
set -e
echo /opt/python/lib > /etc/ld.so.conf.d/00-box.conf && ldconfig
/opt/python/bin/{Path(sys.executable).resolve().name} -m venv --without-pip /opt/bear-alarm
printf '/opt/checkout\n/opt/site\n' > /opt/bear-alarm/lib/python3.{sys.version_info.minor}/site-packages/box.pth
cat > {ALARM} <<'END'
#!/opt/bear-alarm/bin/python
import os, runpy, sys
if sys.argv[1] == "watch" and not os.path.exists("/opt/bear-alarm/itself"):
    runpy.run_path("/opt/checkout/tests/fenced.py", run_name="__main__")
    sys.exit()
from edge.cli.main import main
main()
END
chmod 755 {ALARM} /opt /opt/bear-alarm
mkdir -p /etc/systemd/system/bear-alarm.service.d
printf '[Service]\nWatchdogSec=3\nRestartSec=1\nEnvironment=OTHER_DEVICE=/dev/fenced\n' \
  > /etc/systemd/system/bear-alarm.service.d/fast.conf
"""


class Box:
    """A systemd that runs, and what can be done in it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def __call__(self, line: str, *, fails: bool = False) -> str:
        """Return what a line of shell prints there."""
        inits = subprocess.check_output(["pgrep", "-P", str(self.process.pid)], text=True).split()
        words = ["nsenter", "-t", inits[0], "-m", "-p", "-C", "-n", "-u", "-i", "-r", "-w"]
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        done = subprocess.run(
            [*words, "bash", "-c", line], capture_output=True, text=True, timeout=LIMIT_S, check=False, env=env
        )
        if done.returncode and not fails:
            log = self("journalctl -u bear-alarm -n 30 --no-pager -o cat", fails=True)
            sys.exit(f"{line}\n{done.stdout}{done.stderr}\n{log}")
        return done.stdout + done.stderr

    def state(self) -> dict[str, object]:
        """Return how the service is."""
        found: dict[str, object] = json.loads(self(f"{ALARM} service status --json", fails=True))
        return found


@contextmanager
def box(folder: Path) -> Iterator[Box]:
    """systemd in namespaces of its own."""
    env = {"PATH": os.environ["PATH"], "BOX": str(folder), "PYTHON": sys.base_prefix, "CHECKOUT": str(ROOT)}
    env["SITE"] = sysconfig.get_path("purelib")
    spaces = ["--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc", "--net", "--kill-child"]
    with (folder.parent / "log").open("wb") as log:
        process = subprocess.Popen(["unshare", *spaces, "bash", "-c", BOX], stdout=log, stderr=log, env=env)
        made = Box(process)
        try:
            until(lambda: "running" in made("systemctl is-system-running", fails=True), "systemd runs")
            yield made
        finally:
            with suppress(subprocess.CalledProcessError):
                for init in subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split():
                    os.kill(int(init), 9)
            process.wait(LIMIT_S)


def until(done: Callable[[], bool], what: str) -> float:
    """Wait for it; how long it took, in seconds."""
    began = time.monotonic()
    while time.monotonic() - began < LIMIT_S:
        with suppress(subprocess.CalledProcessError, json.JSONDecodeError, IndexError):
            if done():
                return time.monotonic() - began
        time.sleep(0.2)
    sys.exit(f"not within {LIMIT_S:g} s: {what}")


def row(what: str, found: object, right: bool, more: str = "") -> None:
    """One line of the table; the end where it is not as it should be."""
    print(f"| {what} | {found} |", flush=True)
    if not right:
        sys.exit(f"not as it should be: {what}\n{more}")


def prove(made: Box) -> None:
    """Every step of a service's life."""
    made(SET_UP)
    made(f"echo 'cameras: {{yard: {{source: 0}}}}' > '{CONFIG}'; mkdir -p /home/pi")
    said = made(f"cd /; {ALARM} service install --config '{CONFIG}' --reboot")
    row("installed, and runs", said.strip().splitlines()[-2], "it runs: watching 1 camera" in said)
    again = made(f"cd /; {ALARM} service install --config '{CONFIG}' --reboot")
    made_twice = [line for line in again.splitlines() if "made" in line or "written" in line]
    row("installed again: made or written twice", made_twice or "nothing", not made_twice and "it runs" in again, again)
    found = json.loads(made("cat /var/lib/bear-alarm/found.json"))
    row("a path with blanks, % and $", found["words"], json.loads(found["words"]) == ["watch", "--config", CONFIG])
    row("the model", found["model"], found["model"].endswith(".onnx"))
    for name in ALLOWED:
        row(f"may: {name}", found[name], found[name] == "yes")
    for name in FORBIDDEN:
        row(f"may not: {name}", found[name], found[name].startswith("no"))
    made("systemctl reload bear-alarm")
    until(lambda: made.state()["said"] == "read anew", "reload")
    row("reload", "read anew", True)
    made("echo hang > /var/lib/bear-alarm/order")
    took = until(lambda: made.state()["restarts"] == 1 and made.state()["active"] == "active", "restarted")
    row("hangs: ended by the watchdog (3 s here) and started again", f"{took:.0f} s", True)
    left = made(f"pgrep -x sleep -a | grep -w {PLAYER_S}", fails=True).strip()
    row("and the player that sounded then", left or "silent", not left)
    log = made("journalctl -u bear-alarm --no-pager")
    where = [line.split("]: ")[-1] for line in log.splitlines() if 'fenced.py"' in line]
    row("the log says where it hung", where[:1], bool(where) and "Aborted" in log)
    made("echo exit 75 > /var/lib/bear-alarm/order")
    until(lambda: made.state()["restarts"] == 2 and made.state()["active"] == "active", "restarted")
    row("exit code 75: started again, no reboot", "yes", True)
    itself(made)
    made(f"{ALARM} service uninstall")
    row(
        "uninstalled: what it recorded stays",
        made("ls /var/lib/bear-alarm").split(),
        made.state()["installed"] is False,
    )
    made(f"cd /; {ALARM} service install --config '{CONFIG}'")
    made("echo exit 86 > /var/lib/bear-alarm/order")
    until(lambda: made.state()["restarts"] == 1 and made.state()["active"] == "active", "restarted")
    row("exit code 86, where no reboot was asked for: started again", "yes", True)
    made(f"cd /; {ALARM} service install --config '{CONFIG}' --reboot")
    made("echo exit 86 > /var/lib/bear-alarm/order", fails=True)
    took = until(lambda: made.process.poll() is not None, "reboot")
    row("exit code 86: the machine is started anew", f"{took:.0f} s", True)


def itself(made: Box) -> None:
    """The alarm as it is, in the same fence: a camera that is missing is said, and is no reason to start again."""
    made("touch /opt/bear-alarm/itself")
    made(f"cd /; {ALARM} service install --config '{CONFIG}' --reboot")
    until(lambda: made.state()["active"] == "active", "the alarm itself runs")
    time.sleep(10.0)  # three times what the watchdog waits here
    now = made.state()
    row(
        "the alarm itself, its camera missing: goes on", now["said"], now["restarts"] == 0 and now["active"] == "active"
    )
    made("systemctl reload bear-alarm")
    time.sleep(3.0)
    again = made.state()
    row("and reads its configuration anew", again["said"], again["pid"] == now["pid"] and again["active"] == "active")
    made(f"echo 'health: {{restart_after_s: 60}}' >> '{CONFIG}'; systemctl reload bear-alarm")
    took = until(lambda: made.state()["restarts"] == 1 and made.state()["active"] == "active", "ended for its camera")
    code = "status=75" in made("journalctl -u bear-alarm --no-pager -n 100")
    row("no camera for 60 s: ended with 75 and started again, after the reload", f"{took:.0f} s", code)
    note = json.loads(made("cat /var/lib/bear-alarm/escalation.json"))
    row("and the note says why", note["restart"]["wall"], note["reboot"] is None)
    began = time.monotonic()
    made("systemctl stop bear-alarm")
    took = time.monotonic() - began
    row("stopped", f"{took:.1f} s", made.state()["result"] == "success" and took < 45)
    made("rm /opt/bear-alarm/itself")


def main() -> None:
    """Print a table, in Markdown."""
    lacks = [tool for tool in ("unshare", "nsenter", "pgrep", "systemctl") if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacks or not Path("/lib/systemd/systemd").exists():
        print(f"Not proved here: it needs root and systemd{f', and {lacks}' if lacks else ''}.")
        return
    version = subprocess.check_output(["systemctl", "--version"], text=True).splitlines()[0]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        (folder := Path(scratch) / "box").mkdir()
        print(f"The service under {version}\n\n| what | found |\n|---|---|")
        with box(folder) as made:
            prove(made)


if __name__ == "__main__":
    main()
