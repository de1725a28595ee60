"""A disk of its own for a test: a small tmpfs, or an ext4 file system in a file, in a mount namespace.

with a_small_disk(): the module is run again in it by ``run_there("module:function", size)``
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOOT = """
import importlib, json, sys
sys.path.insert(0, {root!r})
module, function, disk = sys.argv[1:]
print(json.dumps(getattr(importlib.import_module(module), function)(disk)))
"""


def may_mount():
    """Return whether a mount namespace can be had here."""
    try:
        probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
        return subprocess.run(probe, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def there(function, disk, kilobytes, *, ext4=False, within_s=120):
    """Return what ``function(disk)`` returns, called in another process where ``disk`` is a tmpfs of that size.

    ``function`` is of a module of the tests and gives what JSON can say. ``ext4``: such a file system in a file, which
    only root may mount. Skips where nothing may be mounted.
    """
    if not may_mount():
        pytest.skip("no mount namespace can be had here")
    Path(disk).mkdir(parents=True, exist_ok=True)
    mount = f"mount -t tmpfs -o size={kilobytes}k none {disk}"
    if ext4:
        mount = (
            f"truncate -s {kilobytes}k {disk}.image && mkfs.ext4 -q {disk}.image && mount -o loop {disk}.image {disk}"
        )
    program = [sys.executable, "-W", "error", "-c", BOOT.format(root=str(ROOT))]
    module = ".".join(Path(function.__code__.co_filename).relative_to(ROOT).with_suffix("").parts)
    what = [module, function.__name__, str(disk)]
    done = subprocess.run(
        ["unshare", "-m" if ext4 else "-rm", "--", "sh", "-c", f'{mount} || exit 77; exec "$@"', "sh", *program, *what],
        capture_output=True, text=True, timeout=within_s, check=False, cwd=ROOT,
    )  # fmt: skip
    if ext4 and done.returncode == 77:
        pytest.skip("no file system in a file can be mounted here")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def remount(disk, how):
    """Mount it anew as ``ro`` or ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def fill(disk, name="filler"):
    """Leave not one block free."""
    with (Path(disk) / name).open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
