"""A device whose camera changes its stage. What is in the journal is printed.

python tests/helpers/rollout_child.py turn FOLDER     a person chooses autonomous, the camera is moved, without end
python tests/helpers/rollout_child.py write FOLDER    twelve entries, one after the other, beside no alarm
"""

import itertools
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.decide.stages import NOT_YET, StageEntry
from edge.record.stage_log import write_stage
from tests.helpers.journal_stage import journal
from tests.helpers.rollout_world import RolloutWorld


def write(folder: Path) -> None:
    journal(folder).close()
    entry = StageEntry("yard", "shadow", datetime.now(UTC), NOT_YET, "", "anna", "bear@1", "src", "")
    for number in range(12):
        os.write(1, f"{write_stage(folder, replace(entry, why=str(number))).why}\n".encode())


def turn(folder: Path) -> None:
    world = RolloutWorld(folder)
    world.look()
    for _ in itertools.count():
        world.now = datetime.now(UTC)
        world.rollout.choose("yard", "autonomous", "anna")
        world.look()
        os.write(1, f"{world.rows()[-1].stage}\n".encode())
        world.moved()
        world.look()
        os.write(1, f"{world.rows()[-1].stage}\n".encode())


if __name__ == "__main__":
    {"turn": turn, "write": write}[sys.argv[1]](Path(sys.argv[2]))
