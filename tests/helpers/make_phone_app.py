"""Build the web app for phones into edge/phone/app: `python tests/helpers/make_phone_app.py`; needs node and npm.

With ``--check``, compare what is there with a fresh build instead, and exit with 1 where they differ.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edge.phone import folder

SOURCE = folder.APP.with_name("web")
LARGE = ".wasm"  # of 14 MB, 2 MB packed


def build(source: Path, out: Path) -> None:
    """Build the app of a folder with its source into another, with the pinned libraries installed afresh."""
    with tempfile.TemporaryDirectory(prefix="bear-alarm-web-") as made:
        copy = Path(made) / "web"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
        for words in (["npm", "ci", "--no-progress"], ["npm", "run", "build", "--", str(out)]):
            subprocess.run(words, cwd=copy, check=True, stdout=sys.stderr)


def pack(built: Path) -> None:
    """Replace the packaged app by a built one."""
    shutil.rmtree(folder.APP, ignore_errors=True)
    shutil.copytree(built, folder.APP)
    for path in folder.APP.rglob(f"*{LARGE}"):
        path.with_name(path.name + folder.PACKED).write_bytes(
            lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
        )
        path.unlink()


def differences(built: Path) -> list[str]:
    """Return a line for each file in which the packaged app, unpacked, is not the built one."""
    fresh, packaged = dict(folder.unpacked(built)), folder.app_files()
    missing = [f"{name}: is built, and missing in {folder.APP}" for name in fresh.keys() - packaged.keys()]
    extra = [f"{name}: is in {folder.APP}, and no longer built" for name in packaged.keys() - fresh.keys()]
    changed = [
        f"{name}: differs from a fresh build" for name in fresh if packaged.get(name, fresh[name]) != fresh[name]
    ]
    return sorted([*missing, *extra, *changed])


def main(words: list[str]) -> int:
    """Build, then pack or compare; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="bear-alarm-app-") as made:
        built = Path(made) / "app"
        build(SOURCE, built)
        if words != ["--check"]:
            pack(built)
            return 0
        found = differences(built)
    for line in found:
        print(line)
    if found:
        print("run `make phone-app`, and commit what it writes")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
