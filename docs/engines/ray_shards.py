"""Look at shards with Ray: ``bear-alarm classify PICTURES --shards DIR --engine none | python ray_shards.py DIR``.

Each machine of the cluster has bear-alarm, and both folders at the same place. The same line again runs what is undone.
"""

import os
import subprocess
import sys

try:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    import ray
except ImportError:
    sys.exit("Ray is not installed; run: pip install ray")


@ray.remote(num_cpus=1, max_retries=5)
def look(number: str, shards: str) -> int:
    command = ["bear-alarm", "classify", "--shards", shards, "--shard", number, "--workers", "1"]
    return subprocess.run(command, check=False).returncode


ray.init()
sys.exit(any(ray.get([look.remote(number, sys.argv[1]) for number in sys.stdin.read().split()])))
