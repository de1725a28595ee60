"""Places over a network that are exchanged while things happen: each event is told to one of them, and told."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge.alert.dispatch import Alerting, channel_plans
from edge.alert.mqtt_settings import settings_from_url
from edge.run import EventFactory
from edge.settings import AlertSettings
from tests.broker import Broker
from tests.sink_world import soon


class HookServer(ThreadingHTTPServer):
    """Notes the events that are posted to it, and calls ``before`` it answers."""

    daemon_threads = True

    def __init__(self, before=lambda: None):
        super().__init__(("127.0.0.1", 0), _Hook)
        self.before, self.ids = before, []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/bears"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Hook(BaseHTTPRequestHandler):
    server: HookServer

    def do_POST(self):
        self.server.ids.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"])
        self.server.before()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_what_happens_while_an_address_is_exchanged_is_told_to_the_new_one(tmp_path):
    """A server that does not answer is waited for, for two seconds, before the next one is told of anything."""
    hung = threading.Event()
    with HookServer(lambda: hung.wait(20.0)) as old, HookServer() as new:
        run = EventFactory()
        alerting = Alerting(AlertSettings(bell=False, webhook=old.url), run, state=tmp_path, cameras=["yard"])
        alerting.tell(run.event("bear", "new", "before", "yard", label="bear"))
        assert soon(lambda: old.ids == ["before"])
        change = threading.Thread(
            target=alerting.change, args=(AlertSettings(bell=False, webhook=new.url), ["yard"], None)
        )
        change.start()
        time.sleep(0.5)
        assert change.is_alive()
        alerting.tell(run.event("bear", "new", "meanwhile", "yard", label="bear"))
        change.join()
        alerting.tell(run.event("bear", "new", "after", "yard", label="bear"))
        assert soon(lambda: new.ids == ["meanwhile", "after"])
        hung.set()
        alerting.close(5.0)
        assert "meanwhile" not in old.ids


@pytest.mark.needs_tool("mosquitto")
def test_the_journal_knows_a_broker_before_it_is_connected_by_the_key_it_has_then(tmp_path):
    with Broker(tmp_path) as server:
        broker = settings_from_url(f"mqtt://127.0.0.1:{server.port}/hives")
        (plan,) = channel_plans(
            AlertSettings(mqtt=broker), ["yard"], model=None, watching=lambda _: True, stats=dict, guest=False
        )
        channel = plan.make()
        assert plan.late is not None
        assert (plan.late.key, plan.late.pictures) == (channel.key, channel.pictures)
        channel.close()


def test_the_journal_forgets_who_was_exchanged(tmp_path):
    alerting = Alerting(
        AlertSettings(bell=False, webhook="http://127.0.0.1:9/0"), EventFactory(), state=tmp_path, cameras=["yard"]
    )
    for number in range(1, 5):
        alerting.change(AlertSettings(bell=False, webhook=f"http://127.0.0.1:9/{number}"), ["yard"], None)
    assert alerting.journal
    assert len(alerting.journal._listeners) == 1
    alerting.close(1.0)
    assert alerting.journal._listeners == []
