"""Validate a Camtrap DP package by frictionless, with the network refused."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from edge.batch.camtrap_dp import ADDRESS
from edge.batch.deployments import SCHEMAS


def report_of(package: Path) -> tuple[Any, bool]:
    """Return frictionless' report on a package's folder, and True if every schema was asked for.

    It gets the schemas that ship with the program, and what they build on in turn, which frictionless has: its own
    rules of any data package, and GeoJSON. Skips the test where it is not installed.
    """
    frictionless = pytest.importorskip("frictionless", reason="frictionless is not installed")
    import requests
    from requests.adapters import BaseAdapter

    served = {f"{ADDRESS}/{file.name}": file.read_bytes() for file in SCHEMAS.glob("*.json")} | {
        "https://specs.frictionlessdata.io/schemas/data-package.json": json.dumps(
            frictionless.Package.metadata_profile
        ).encode(),
        "http://json.schemastore.org/geojson.json": (
            files("frictionless") / "assets" / "profiles" / "geojson.json"
        ).read_bytes(),
    }
    asked = set[str]()

    class NoNetwork(BaseAdapter):
        """Serves those files, and nothing else."""

        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
            url = str(request.url)
            asked.add(url)
            if url not in served:
                raise requests.ConnectionError(f"{url}: there is no network here")
            answer = requests.Response()
            answer.status_code, answer.url, answer.raw = 200, url, io.BytesIO(served[url])
            return answer

        def close(self) -> None:
            """Close nothing."""

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, NoNetwork())
    with frictionless.system.use_context(http_session=session):
        return frictionless.validate(str(package / "datapackage.json")), asked == set(served)


def faultless(package: Path) -> bool:
    """Return True for a valid package, with no error and no warning in its three tables."""
    report, asked = report_of(package)
    assert report.valid, report.flatten(["message"])
    return asked and (report.stats["errors"], report.stats["warnings"], report.stats["tasks"]) == (0, 0, 3)
