"""Kill updates at any moment: afterwards a device has a model that works, and that is signed.

    python tests/proofs/prove_updates.py [--kills 1000] [--real 50] [--seed 20]

A maker signs models with rising serials. `model update` (tried, or used at once), the switch after a trial, `model
rollback`, `model use` and the change of a key run in processes of their own and are killed with SIGKILL: most of them
between 0 and 4 ms after one of their writes, the others at any time from the start on. After each, the model in use is
loaded as the alarm does, and a stock minisign verifies it where one is installed. ``--real``: kills with the model that
ships, too. The disk of the temporary folder is used; TMPDIR names another one.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.helpers.update_kills import Count, Killer
from tests.helpers.update_stage import Maker, real_model, tiny_model


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--real", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20)
    given = parser.parse_args()
    checked = "a stock minisign" if shutil.which("minisign") else "the program's own minisign"
    print(
        f"Seed {given.seed}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python "
        f"{platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}; signatures verified by {checked}."
    )
    for name, make, kills in (
        ("tiny models", tiny_model, given.kills),
        ("the model that ships", real_model, given.real),
    ):
        with tempfile.TemporaryDirectory() as folder:
            # An older version's choice and kept graphs of this user are not looked at.
            os.environ |= {"XDG_CONFIG_HOME": f"{folder}/config", "XDG_CACHE_HOME": f"{folder}/cache"}
            began = time.monotonic()
            count = Killer(Path(folder), Maker(Path(folder) / "stick", make), given.seed).kill(kills)
            print_table(f"{name} ({time.monotonic() - began:.0f} s)", count)


def print_table(title: str, count: Count) -> None:
    """Print what came of the kills."""
    print(
        f"\n| {title} | kills | before the first write | within | after the list was replaced |\n|---|---|---|---|---|"
    )
    for name in (*count.kills, ""):
        numbers = [
            each[name] if name else each.total() for each in (count.kills, count.before, count.within, count.after)
        ]
        print(f"| {name or 'all'} | {' | '.join(map(str, numbers))} |")
    models = ", ".join(f"{number} {name}" for name, number in count.models.items())
    print(
        f"\nThe model in use after a kill: {models}. Ended before the kill, not counted: {count.ended.total()}. "
        "List damaged: 0. No working model: 0. Signature that does not fit: 0."  # else it had ended at the first one
    )


if __name__ == "__main__":
    main()
