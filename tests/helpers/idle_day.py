"""How much a day on which nothing happens writes, asked of a block device that counts it: run by prove_journal.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.record.journal import Journal
from edge.record.run import EventFactory
from tests.helpers.journal_stage import Times, Wants, event

BEATS = 144  # one every ten minutes


def sectors(device):
    """Bytes written to the device so far."""
    return int(Path(f"/sys/block/{device}/stat").read_text().split()[6]) * 512


def process_bytes():
    """Bytes this process made the system write, by its own count."""
    words = Path("/proc/self/io").read_text().split()
    return int(words[words.index("write_bytes:") + 1])


def main(disk):
    """Print what was written, as JSON; ``disk`` is an ext4 file system on a loop device, or any folder."""
    source = subprocess.run(
        ["findmnt", "-no", "SOURCE", "--mountpoint", disk], capture_output=True, text=True, check=False
    )
    device = Path(source.stdout.strip()).name if source.stdout.startswith("/dev/loop") else None
    counted = (lambda: sectors(device)) if device else (lambda: None)
    times, run = Times(synced=True), EventFactory()
    kept = Journal(Path(disk) / "journal", [Wants()], run=run, clock=times.clock)
    for i in range(100):
        kept(event(run, f"id{i}", detail="x" * 100))
    (waiting, *_) = kept.waiting(Wants().key)

    def settled():
        subprocess.run(["sync", "-f", disk], check=True)
        return counted(), process_bytes()

    def over(beats, between):
        begin = settled()
        for _ in range(beats):
            times.pass_(600)
            between()
            subprocess.run(["sync", "-f", disk], check=True)  # as ten minutes would
        end = settled()
        return [None if end[0] is None else end[0] - begin[0], end[1] - begin[1]]

    def away():
        kept.again(waiting.row, "no answer")
        kept.beat()

    def floor():
        with floor_file.open("r+b") as file:
            file.write(times.now.isoformat().encode())
            file.flush()
            os.fsync(file.fileno())

    floor_file = Path(disk) / "floor"
    floor_file.write_bytes(bytes(64))
    found = {"asked only": over(BEATS, lambda: kept.waiting(Wants().key))}
    found["beats"] = over(BEATS, kept.beat)
    found["beats, broker away"] = over(BEATS, away)
    found["floor"] = over(BEATS, floor)
    kept.close()
    print(json.dumps(found | {"device": device}))


if __name__ == "__main__":
    main(sys.argv[1])
