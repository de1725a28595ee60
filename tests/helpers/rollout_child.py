"""A device whose camera changes its stage without end, until it is killed: ``rollout_child.py FOLDER``.

Each turn, a person chooses autonomous, and then the camera is moved. What is in the journal is printed.
"""

import itertools
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.rollout_world import RolloutWorld


def main() -> None:
    world = RolloutWorld(Path(sys.argv[1]))
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
    main()
