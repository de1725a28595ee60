"""A picture that is ready before its event is in the journal comes after it all the same."""

import json
import threading

from edge.alert.alerting import Alerting
from edge.files import JOURNAL
from edge.record.database import Store
from edge.record.history import JournalReader
from edge.record.run import EventFactory
from edge.settings import AlertSettings
from tests.helpers.sink_world import soon
from tests.helpers.webhook_server import PostBox


def test_a_picture_that_is_faster_than_its_event_waits_for_it(tmp_path, monkeypatch):
    picture = tmp_path / "alarm.jpg"
    picture.write_bytes(b"jpeg")
    run = EventFactory()
    bear = run.event("bear", "new", "id1", "yard", label="bear", evidence=str(picture))
    with PostBox() as box:
        settings = AlertSettings(bell=False, webhook=f"http://127.0.0.1:{box.port}/bears")
        alerting = Alerting(settings, run, state=tmp_path / "state")
        assert alerting.journal
        go, put = threading.Event(), Store.put
        monkeypatch.setattr(Store, "put", lambda self, what: (go.wait(20), put(self, what))[1])
        alerting.publish(bear)
        early = alerting.journal.waiting(alerting.deliverers[0].key)
        go.set()
        soon(lambda: len(box.posted) == 2)
        alerting.close(20.0)
    assert early == []
    word, shown = box.posted
    assert (json.loads(word.body)["id"], shown.body) == ("id1", b"jpeg")
    with JournalReader(tmp_path / "state" / JOURNAL) as journal:
        (incident,) = journal.incidents()
    assert incident.first.event.evidence == str(picture)
