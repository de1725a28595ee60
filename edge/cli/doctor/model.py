"""The model file, tried in a child: found, whole, computed rightly on this processor, and how fast."""

from __future__ import annotations

from collections.abc import Iterator

from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, python
from edge.cli.doctor.target import Target
from edge.settings import CameraSettings

WITHIN_S = 180.0  # a slow card, a slow board
LEAST_CROPS = 3  # of a frame, whatever it takes: edge.detect.frame_rate


def check_model(target: Target) -> Iterator[CheckResult]:
    """Which it is, whether this processor computes it rightly, and what one crop takes."""
    ended = python("edge.cli.doctor.try_model", target.settings.model, WITHIN_S, target.environment)
    found = ended.answer
    if not isinstance(found, dict):
        todo = "see onnxruntime above; then `bear-alarm model check`"
        yield broken("model", f"loading it {ended.why if ended.code is None or ended.signal else 'fails'}", todo)
        return
    if found["problem"]:
        todo = "copy it again, or choose another: bear-alarm model use --bundled"
        if found["instead"]:
            words = f"{found['problem']}; the alarm goes on with {found['instead']}"
            yield doubt("model", words, todo)
        else:
            yield broken("model", found["problem"], todo)
    if "name" not in found:
        return
    yield fine("model", f"{found['name']} in {found['path']}")
    how = f"all {found['golden']} within {found['error']:.4f} (allowed {found['tolerance']:g})"
    if found["fallback"]:
        words = f"this processor computes int8 wrongly, so it runs in float, more slowly; {how}"
        yield doubt("golden vectors", words, "nothing, if the speed below is enough; else take another board")
    else:
        yield fine("golden vectors", f"{how}, in {found['precision']}")
    yield _speed(target, float(found["crop_ms"]))


def _speed(target: Target, crop_ms: float) -> CheckResult:
    """What one crop takes beside what a frame may take."""
    slow_ms = target.settings.health.slow_ms
    frame_s = min((each.settings.frame_s for each in target.cameras), default=CameraSettings().frame_s)
    crops = int(frame_s * 1000 / crop_ms)
    words = f"one crop takes {crop_ms:.0f} ms"
    if crop_ms > slow_ms:
        todo = "stop what else runs here, cool the board (see below), or take a faster one"
        return doubt("speed", f"{words}, more than the {slow_ms:g} ms at which the alarm itself complains", todo)
    if crops < LEAST_CROPS:
        rate = 1000 / (LEAST_CROPS * crop_ms)
        words += f", so {LEAST_CROPS} crops make {rate:.1f} frames a second at most while something moves"
        return fine("speed", words)
    return fine("speed", f"{words}: {crops} fit into the {frame_s:g} s that a frame may take")
