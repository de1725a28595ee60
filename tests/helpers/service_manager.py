"""A stand-in for systemd: the socket that a service tells how it is, real, and what came over it."""

import os
import socket
import threading
import time
import uuid

from edge.status import CameraStatus, Status
from tests.helpers.sink_world import soon


class Manager:
    """Listens until it is closed; ``said`` are the assignments in the order they came, and ``at`` when."""

    def __init__(self, address=None, *, reads=True):
        self.address = address or f"@bear-alarm-{uuid.uuid4().hex}"  # abstract: no file to forget
        self.said, self.at = [], []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address.replace("@", "\0", 1))
        self.socket.settimeout(0.05)
        self._closed = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        if reads:
            self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self):
        """Begin to take what comes."""
        self._thread.start()

    def close(self):
        """Listen no more."""
        self._closed = True
        if self._thread.ident:
            self._thread.join(20)
        self.socket.close()

    def environment(self, *, watchdog_s=None, pid=None):
        """Return what the service is started with."""
        found = {"NOTIFY_SOCKET": self.address}
        if watchdog_s is not None:
            found |= {"WATCHDOG_USEC": str(round(watchdog_s * 1e6)), "WATCHDOG_PID": str(pid or os.getpid())}
        return found

    def count(self, name):
        """Return how often something was said."""
        return sum(line.partition("=")[0] == name for line in self.said)

    def last(self, name):
        """The newest value of it."""
        found = [line.partition("=")[2] for line in self.said if line.partition("=")[0] == name]
        return found[-1] if found else None

    def hears(self, line, within_s=60.0):
        """Return whether that is said soon, on however busy a machine."""
        return soon(lambda: line in self.said, within_s)

    def quiet_s(self, name, min_s, within_s=60.0):
        """Return whether it comes to be not said for so long."""

        def silent():
            lately = [at for line, at in zip(self.said, self.at, strict=False) if line.startswith(f"{name}=")]
            return time.monotonic() - max(lately, default=began) >= min_s

        began = time.monotonic()
        return soon(silent, within_s)

    def _listen(self):
        while not self._closed:
            try:
                message = self.socket.recv(8192)
            except TimeoutError:
                continue
            now = time.monotonic()
            for line in message.decode().split("\n"):
                self.at.append(now)
                self.said.append(line)


def camera(name="yard", **more):
    """A live camera that is well."""
    well = {
        "live": True, "fresh": True, "frame_age_s": 0.1, "alive_age_s": 0.1, "frames": 100, "fps": 5.0,
        "trouble": None, "reopened": 0,
    }  # fmt: skip
    return CameraStatus(**{"name": name} | well | more)


def gone(name="yard", **more):
    """A camera that is away, while its reconnecting goes on."""
    away = {"fresh": False, "frame_age_s": 3600.0, "trouble": "no frame for 5 s", "reopened": 40}
    return camera(name, **away | more)


def status(*cameras, **more):
    """An alarm with these cameras, an hour after its start."""
    return Status("0.1.0", "tiny@1", 3600.0, cameras, **{"inference_age_s": 3.0, "crop_ms": 100.0} | more)
