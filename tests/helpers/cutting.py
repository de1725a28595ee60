"""Cuts the power of a journal's life at any of its acts, opens what is left and checks it against what was said."""

import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from edge.record.run import EventFactory
from tests.helpers.journal_stage import Wants, ask, event, filled, journal, pages_of, spoil
from tests.helpers.killing import CHILD
from tests.helpers.power_cut import Disk, record

CHANNEL = "receiver"


def lives(folder, cuts, seed, how="life"):
    """Cut a life so many times; what was counted."""
    home = Path(folder) / "life"
    acts = record([sys.executable, CHILD, how, home, str(seed)], home)
    return played(Disk(Path(folder) / "nothing"), home, acts, cuts, seed, as_said)


def damaged(folder):
    """A journal with a log beside it, as a kill leaves it, and a damaged page."""
    filled(folder / "first", 60, 20, channel=CHANNEL)
    run = EventFactory()
    kept = journal(folder / "first", Wants(CHANNEL), run=run)
    for i in range(10):
        kept(event(run, f"last{i}"))
    for path in (folder / "first").glob("journal.db*"):
        shutil.copy(path, folder)
    kept.close()
    shutil.rmtree(folder / "first")
    assert (folder / "journal.db-wal").stat().st_size
    spoil(folder, pages_of(folder, "events")[-3])


def mendings(folder, damaged, cuts, seed):
    """Cut the mending of a damaged journal (in the folder ``damaged``) so many times."""
    home = Path(folder) / "mend"
    shutil.copytree(damaged, home)
    disk = Disk(home)
    acts = record([sys.executable, CHILD, "mend", home], home)
    whole = waiting(home)
    assert whole

    def check(place, _):
        assert set(whole) <= set(waiting(place)), "something that could be read is lost"

    return played(disk, home, acts, cuts, seed, check)


def played(disk, home, acts, cuts, seed, check):
    """Play the acts, cut at random ones, check each time; what was counted."""
    random_, said = random.Random(seed), []
    count: Counter[str] = Counter()
    disk.root = str(home)
    names = [number for number, act in enumerate(acts[:-3]) if act.call in ("name", "gone", "folder")]
    at = Counter(  # every second one about where files are made, renamed and removed
        random_.choice(names) + random_.randrange(3) if k % 2 else random_.randrange(len(acts)) for k in range(cuts)
    )
    quick = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what is looked at may be in memory
    with tempfile.TemporaryDirectory(dir=quick) as folder:
        for number, act in enumerate(acts):
            if act.call == "said":
                said.append(act.more[0].split())
            else:
                disk.play(act)
            for _ in range(at[number]):
                place = Path(folder) / str(count["cuts"])
                disk.cut(random_, place)
                try:
                    check(place, said)
                except BaseException:
                    print(f"cut after act {number} of {len(acts)} ({act.call}), seed {seed}", file=sys.stderr)
                    raise
                shutil.rmtree(place)
                count["cuts"] += 1
                count["with bytes unsynced"] += any(
                    file.since for path, file in disk.names.items() if file and not path.endswith("-shm")
                )
    count["acts"] = len(acts)
    return count


def waiting(place):
    """The ids of what waits in a journal there, opened as the alarm does."""
    kept = journal(place, Wants(CHANNEL))
    try:
        assert kept.durable, kept.problem
        assert kept.examine() is None
        return [each.event.id for each in kept.waiting(CHANNEL, limit=10_000)]
    finally:
        kept.close()


def as_said(place, said):
    """Nothing that was acknowledged is gone, nothing that was delivered waits, and nothing was damaged."""
    kept = {words[1] for words in said if words[0] == "kept"}
    done = {tuple(words[1:]) for words in said if words[0] == "done"}
    waits = waiting(place)
    assert not (place / "quarantine").exists(), "it was damaged"
    rows = ask(place, "SELECT event_id, part, state FROM outbox JOIN events ON events.id = event")
    states = {(id_, part): state for id_, part, state in rows}
    for id_ in kept:
        assert (id_, "word") in states or (id_, "word") in done, f"{id_} was acknowledged and is lost"
    for words in said:
        if words[0] == "pictured":
            assert (words[1], "picture") in states or (words[1], "picture") in done, (
                f"the picture of {words[1]} is lost"
            )
    for each in done:
        assert states.get(each, "done") == "done", f"{each} was delivered and waits again"
    assert sorted(waits) == sorted(id_ for (id_, _), state in states.items() if state == "waiting")
    early = [each for each, state in states.items() if state == "done" and each not in done]
    assert len(early) <= 3, "more is marked delivered than was in one call"
