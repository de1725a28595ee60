"""Look at shards with Dask: ``python dask_shards.py PICTURES SHARDS``; $DASK_SCHEDULER_ADDRESS names a cluster.

Each machine of the cluster has bear-alarm, and both folders at the same place.
"""

import subprocess
import sys

try:
    from distributed import Client
except ImportError:
    sys.exit("Dask is not installed; run: pip install distributed")

pictures, shards = sys.argv[1:]


def undone() -> list[str]:
    ran = subprocess.run(
        ["bear-alarm", "classify", pictures, "--shards", shards, "--engine", "none"],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    return ran.stdout.split() or sys.exit(ran.returncode)  # 0: all are done


def look(number: str) -> int:
    command = ["bear-alarm", "classify", "--shards", shards, "--shard", number, "--workers", "1"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    before: list[str] = []
    with Client() as client:
        while (numbers := undone()) != before:
            client.gather(client.map(look, numbers, pure=False, retries=5), errors="skip")
            before = numbers
    sys.exit(f"not done: {' '.join(numbers)}; the same command tries them again")
