"""The server behind the page on which labels are decided: for whom it works, and what it takes."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("cleanlab")

from edge.errors import OptionError
from tests.helpers.clean_world import rows_of, six_pictures
from train.clean.page import MAX_BYTES, Review, open_server
from train.data.decisions import live, read_decisions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six small pictures."""
    return six_pictures(tmp_path)


@pytest.fixture
def rows(root: Path) -> list[dict[str, Any]]:
    """The page's rows."""
    return rows_of(root)


@pytest.fixture
def served(rows: list[dict[str, Any]], root: Path) -> Iterator[str]:
    """The page served from the loopback address."""
    server, url = open_server(Review(rows, root, "run 1234"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str]:
    """Status and text of one request."""
    _, _, host, *path = url.split("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    given = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, "/" + "/".join(path), body or None, given)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_request_without_the_token_or_of_is_another_site_gets_nothing(
    served: str, rows: list[dict[str, Any]], root: Path
) -> None:
    row = {"time": "t", "decision": "delete", "before": "no_bear", "after": "", "by": ""}
    row |= {"file": rows[0]["file"], "sha256": rows[0]["sha256"], "bytes": str(rows[0]["bytes"])}
    good, base = json.dumps(row), served.rsplit("/", 2)[0]
    assert ask(served)[0] == 200
    assert ask(f"{base}/")[0] == ask(f"{base}/clean.html")[0] == ask(f"{served}decide")[0] == 404
    assert ask(served, Host="rebound.example:80")[0] == 404
    assert ask(f"{base}/decide", "POST", good)[0] == 404
    assert ask(f"{served}decide", "POST", good, Origin="http://elsewhere.example")[0] == 403
    assert ask(f"{served}decide", "POST", good, Content_Type="text/plain")[0] == 403
    assert ask(f"{served}decide", "POST", " " * (MAX_BYTES + 1))[0] == 413
    for bad in (
        "{", "[]", "{}", json.dumps(row | {"file": "../x"}), json.dumps(row | {"before": "brown_bear"}),
        json.dumps(row | {"decision": "burn"}), json.dumps(row | {"bytes": 5}), "[" * 30000,
    ):  # fmt: skip
        assert ask(f"{served}decide", "POST", bad)[0] == 400, bad[:40]
    assert read_decisions(root) == []
    assert ask(f"{served}decide", "POST", good) == (200, "written")
    assert [row.decision for row in live(read_decisions(root))] == ["delete"]


def test_what_cannot_be_written_now_is_no_nonsense(
    served: str, rows: list[dict[str, Any]], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"time": "t", "decision": "delete", "before": "no_bear", "after": "", "by": ""}
    good = json.dumps(row | {name: str(rows[0][name]) for name in ("file", "sha256", "bytes")})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        status, words = ask(f"{served}decide", "POST", good)
    assert (status, "No space left on device" in words) == (507, True)
    assert read_decisions(root) == []
    table = root / "DECISIONS.csv"
    table.write_text("no,table\n")
    assert ask(f"{served}decide", "POST", good)[0] == 507
    assert ask(served)[0] == 500
    table.unlink()
    assert ask(f"{served}decide", "POST", good) == (200, "written")


def test_a_port_that_is_taken_is_a_sentence(served: str, rows: list[dict[str, Any]], root: Path) -> None:
    with pytest.raises(OptionError, match="cannot be used"):
        open_server(Review(rows, root, "run"), int(served.split("/")[2].partition(":")[2]))
