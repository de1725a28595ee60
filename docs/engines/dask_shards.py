"""Look at shards with Dask: ``bear-alarm classify PICTURES --shards DIR --engine none | python dask_shards.py DIR``.

Each machine of the cluster, which $DASK_SCHEDULER_ADDRESS names, has bear-alarm, and both folders at the same place.
The same line again runs what is undone.
"""

import subprocess
import sys

try:
    from distributed import Client
except ImportError:
    sys.exit("Dask is not installed; run: pip install distributed")


def look(number: str, shards: str) -> int:
    command = ["bear-alarm", "classify", "--shards", shards, "--shard", number, "--workers", "1"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    with Client() as client:
        looks = client.map(look, sys.stdin.read().split(), shards=sys.argv[1], pure=False, retries=5)
        sys.exit(any(client.gather(looks)))
