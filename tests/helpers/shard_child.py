"""A worker of shards without a model: ``shard_child.py FOLDER NUMBER [PICTURES] [SECONDS] [HOW …]``.

It waits so many seconds for each picture and prints how many it has looked at. FOLDER/NUMBER.done is its result, a line
in FOLDER/begun and FOLDER/ended says that it was run: ``number``, process, priority. HOW: ``crash``, ``refuse``,
``once`` (crash the first time only), ``warn``, ``again`` (though it is done).
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.files import try_lock


def note(file: Path, number: str) -> None:
    with file.open("a") as lines:
        lines.write(f"{number} {os.getpid()} {os.getpriority(os.PRIO_PROCESS, 0)}\n")


def main(folder: Path, number: str, pictures: str = "3", seconds: str = "0.01", *how: str) -> int:
    result = folder / f"{number}.done"
    with (folder / f"{number}.lock").open("w") as lock:
        if not try_lock(lock.fileno()):
            print(f"another run has shard {number}")
            return 0
        if result.exists() and "again" not in how:
            return 0
        note(folder / "begun", number)
        for count in range(1, int(pictures) + 1):
            time.sleep(float(seconds))
            print(count, flush=True)
        if "warn" in how:
            print("the clock is wrong\nlook at it", file=sys.stderr)
        if "refuse" in how:
            print("bear-alarm: the disk is full; make room", file=sys.stderr)
            return 2
        begun = [line.split()[0] for line in (folder / "begun").read_text().splitlines()]
        if "crash" in how or ("once" in how and begun.count(number) == 1):
            os.kill(os.getpid(), 9)
        result.touch()
        note(folder / "ended", number)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
