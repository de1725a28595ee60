"""Root tries the alarm in the folder of a service: nothing there may lock the service out."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from edge.files import hand_over
from edge.record.journal import Ballast
from edge.record.run import EventFactory, RunLock
from tests.helpers.journal_stage import MQTT, Wants, event, journal

NOBODY = 65534
ROOT = sys.platform != "win32" and os.geteuid() == 0


@pytest.fixture
def folder():
    """A folder of the service's, made as systemd makes it, where the service may go."""
    with tempfile.TemporaryDirectory() as made:
        os.chown(made, NOBODY, NOBODY)
        yield Path(made)


@pytest.mark.skipif(not ROOT, reason="only root can make what belongs to others")
def test_what_root_makes_in_a_services_folder_is_the_services(folder):
    run = EventFactory()
    (folder / "journal.db").write_text("damaged, so that it is set aside and a new one made")
    kept = journal(folder, Wants(MQTT), run=run)
    kept(event(run))
    lock = RunLock(folder, run.id)
    assert lock.take()
    names = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert {"journal.db", "journal.db-wal", "journal.db-shm", "ballast", "quarantine", "watch.lock"} <= names
    theirs = {path for path in folder.rglob("*") if path.stat().st_uid != NOBODY}
    assert {path.parent.name for path in theirs} <= {"quarantine"}  # root's own damaged file, set aside as it was
    kept.close()
    lock.close()


@pytest.mark.skipif(not ROOT, reason="only root can make what belongs to others")
def test_the_service_then_writes_and_delivers_there(folder):
    def use():
        run = EventFactory()
        kept, lock = journal(folder, Wants(MQTT), run=run), RunLock(folder, run.id)
        durable = kept(event(run)).durable
        taken = lock.take()
        kept.close()
        lock.close()
        return durable and taken

    assert use()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            code = 0 if use() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not ROOT, reason="only root can make what belongs to others")
def test_links_and_what_has_another_name_elsewhere_stay_as_they_are(folder, tmp_path):
    (secret := tmp_path / "secret").write_text("")
    (folder / "link").symlink_to(secret)
    os.link(secret, folder / "name")
    for path in (folder / "link", folder / "name", folder / "nothing"):
        hand_over(path)
    assert secret.stat().st_uid == 0


def test_in_a_folder_of_ones_own_nothing_changes(tmp_path):
    (tmp_path / "file").write_text("")
    before = (tmp_path / "file").stat()
    hand_over(tmp_path / "file")
    assert (tmp_path / "file").stat() == before
    assert Ballast(tmp_path, 4096, 0).top_up()
