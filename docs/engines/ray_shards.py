"""Look at shards with Ray: ``python ray_shards.py PICTURES SHARDS``.

Each machine of the cluster has bear-alarm, and both folders at the same place.
"""

import os
import subprocess
import sys

try:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    import ray
except ImportError:
    sys.exit("Ray is not installed; run: pip install ray")

pictures, shards = sys.argv[1:]


def undone() -> list[str]:
    ran = subprocess.run(
        ["bear-alarm", "classify", pictures, "--shards", shards, "--engine", "none"],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    return ran.stdout.split() or sys.exit(ran.returncode)  # 0: all are done


@ray.remote(num_cpus=1, max_retries=5)
def look(number: str) -> int:
    command = ["bear-alarm", "classify", "--shards", shards, "--shard", number, "--workers", "1"]
    return subprocess.run(command, check=False).returncode


ray.init()
before: list[str] = []
while (numbers := undone()) != before:
    ray.get([look.remote(number) for number in numbers])
    before = numbers
sys.exit(f"not done: {' '.join(numbers)}; the same command tries them again")
