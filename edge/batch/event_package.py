"""A Camtrap DP package of an alarm's events: each bear is one observation of an event, with its picture and clips."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edge.batch.camtrap_dp import About, Package, new_package, observed
from edge.batch.deployments import DAY, Deployment, parse_zone
from edge.batch.results import Result, bear_label
from edge.detect.stills import Row
from edge.errors import OptionError
from edge.record.event_folders import EvidenceFolder, check_readable, evidence_of, review_of
from edge.record.history import PastEvent
from edge.record.media_store import PLAIN, plain_name
from edge.record.review import Review

log = logging.getLogger(__name__)

MEDIA = "media"  # the folder of pictures and clips in a package
PICTURES = (PLAIN, "full.jpg", "alarm.jpg")  # of an event's evidence: the first that is there is taken


def write_events(
    folder: Path,
    bears: Sequence[PastEvent],
    state: Path,
    deployments: Sequence[Deployment],
    about: About,
    *,
    force: bool = False,
) -> Package:
    """Write the package of an alarm's events of bears, with copies of their evidence below ``media``; return it.

    A deployment is the one of the camera's name, else the one of all folders ("."), as of a config's site. A clock that
    was never set makes ``timestampIssues`` true. Reviewers' notes go with exact places only: they may name them.
    Raises OptionError for a camera of no deployment, for events outside
    its time, for evidence that this user cannot read, and where the package cannot be written.
    """
    of_camera = _by_camera(bears, deployments)
    with new_package(folder, about, force=force) as package:
        for camera, deployment in of_camera.items():
            own = [each for each in bears if each.first.event.camera == camera]
            if any(row.clock == "doubtful" for each in own for row in each.events):
                deployment = replace(deployment, more=deployment.more | {"timestampIssues": "true"})
            package.deployment(deployment, *_times(deployment, own))
        for events, names, missing in (
            ("times of the first and the last event", "deploymentStart and deploymentEnd", (True, True)),
            ("time of the first event", "deploymentStart", (True, False)),
            ("time of the last event", "deploymentEnd", (False, True)),
        ):
            if ids := [each.id for each in of_camera.values() if (not each.start, not each.end) == missing]:
                log.warning(
                    "%s: the package has the %s for %s; to say how long the camera watched, give it with --deployments",
                    ", ".join(ids), events, names,
                )  # fmt: skip
        for each in bears:
            _write(package, each, of_camera[each.first.event.camera], evidence_of(each, state))
    return package


def _by_camera(bears: Sequence[PastEvent], deployments: Sequence[Deployment]) -> dict[str, Deployment]:
    """Return the deployment of each camera that has events. Raises OptionError for a camera without one."""
    named = {each.id: each for each in deployments}
    of_all = next((each for each in deployments if each.folder == "."), None)
    found, missing = dict[str, Deployment](), list[str]()
    for camera in dict.fromkeys(each.first.event.camera for each in bears):
        if deployment := named.get(camera) or of_all:
            found[camera] = replace(deployment, id=camera)
        else:
            missing.append(camera)
    if missing:
        raise OptionError(
            f"the table of deployments has no row for {', '.join(missing)}; write one with the camera's name as "
            "deploymentID"
        )
    if shifted := [each.id for each in found.values() if each.shift]:
        raise OptionError(
            f"shift in the row of {shifted[0]} is for the pictures of a card; the alarm's journal corrects its own "
            "clock, so leave shift empty"
        )
    return found


def _times(deployment: Deployment, events: Sequence[PastEvent]) -> tuple[datetime, datetime]:
    """Return the start and end of a deployment. Raises OptionError for events that lie outside by more than a day."""
    first = _local(min(each.first.at for each in events), deployment)
    last = _local(max(each.last.at for each in events), deployment)
    start = deployment.start or first
    end = deployment.end or max(start, last)
    if not deployment.any_time and (first < start - DAY or last > end + DAY):
        raise OptionError(
            f"events of {deployment.id} from {first:%Y-%m-%d} to {last:%Y-%m-%d} lie outside its deployment, "
            f"{start:%Y-%m-%d} to {end:%Y-%m-%d}; correct deploymentStart and deploymentEnd, or choose other events"
        )
    return start, end


def _local(at: datetime, deployment: Deployment) -> datetime:
    """Return a time by the deployment's zone, else by this device's, in whole seconds."""
    zone = parse_zone(deployment.zone, deployment.id) if deployment.zone else None
    return at.astimezone(zone).replace(microsecond=0)


def _write(package: Package, bear: PastEvent, deployment: Deployment, folders: Sequence[EvidenceFolder]) -> None:
    """Write the observation of one event, and copy its evidence. Raises OptionError for what cannot be read."""
    check_readable(folders)
    start, end = _local(bear.first.at, deployment), _local(bear.last.at, deployment)
    review = review_of(bear, folders)
    cells = observed(_result(bear, review), package.about.country)
    if review and review.note and package.about.exact:
        cells["observationComments"] += f" ({' '.join(review.note.split())})"
    of = {"deploymentID": deployment.id}
    times = {"eventStart": start.isoformat(), "eventEnd": end.isoformat()}
    package.observation({"observationID": bear.id, "eventID": bear.id, **of, **times, **cells})
    place = Path(MEDIA, plain_name(deployment.id).replace("..", "_"))
    for number, source in enumerate(_evidence(folders), 1):
        target = place / f"{start:%Y%m%d-%H%M%S}-{bear.id[:8]}-{number}{source.suffix}"
        (package.folder / place).mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, package.folder / target)
        except FileNotFoundError:
            log.warning("%s: was deleted meanwhile; it is not in the package", source)
            continue
        id_ = {"mediaID": f"{bear.id}-{number}"}
        package.media({**id_, **of, "timestamp": start.isoformat(), "filePath": target.as_posix()})


def _result(bear: PastEvent, review: Review | None) -> Result:
    """Return what the model said of an event, or the person who reviewed it."""
    event = bear.first.event
    label, at = bear.label or "", bear.first.at.isoformat()
    row = Row("", at, event.camera, label, bear.top_score, None, "bear", None, "")
    if review is None:
        sure = bear.labelled.species != "bear"  # the alarm's own word where no species is likely enough
        return Result(row if sure else row._replace(label="bear"), by=event.model or "", at=at)
    if review.verdict == "relabelled":
        label = review.label or ""
        named = bear_label(label)
        row = row._replace(label=named or label, verdict="bear" if named else "none")
    elif review.verdict != "confirmed":
        row = row._replace(label="", verdict="maybe" if review.verdict == "unsure" else "none")
    return Result(row, by="a person" if review.by == "root" else review.by, human=True, at=review.at)


def _evidence(folders: Sequence[EvidenceFolder]) -> list[Path]:
    """Return the picture and the clips of an event's evidence."""
    found = list[Path]()
    for folder in folders:
        files = {path.name: path for path in folder.files()}
        found += [files[name] for name in PICTURES if name in files][:1]
        found += [path for name, path in files.items() if path.suffix == ".mp4"]
    return found
