"""What every test may ask for: programs, the folder of pictures, quiet defaults; and the list of skips at the end.

BEAR_ALARM_REQUIRE names what must be there ("ffmpeg git"): a test that misses it then fails instead of being
skipped. With "all" nothing may be skipped but what needs the pictures, which are demanded by name ("all pictures").
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parent.parent
REQUIRED = frozenset(os.environ.get("BEAR_ALARM_REQUIRE", "").replace(",", " ").split())
PICTURES = Path(os.environ.get("BEAR_ALARM_PICTURES", ROOT.parent / "shared" / "data"))
SLOW = {"mosquitto", "chromium", "strace", "unshare"}  # a test that needs one of these is slow
NO_PICTURES = "no folder of pictures (BEAR_ALARM_PICTURES)"

# The journal and cache of the user who runs the tests are not theirs to write to, nor for fixtures that outlive a test.
_STATE = tempfile.TemporaryDirectory(prefix="bear-alarm-tests-", ignore_cleanup_errors=True)
os.environ["XDG_STATE_HOME"] = _STATE.name
os.environ["XDG_CACHE_HOME"] = f"{_STATE.name}/cache"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # four workers share two cores
# Under nohup, and in the background of a script, children would be born deaf to what tests tell them by signals.
for _name, _usual in (("SIGHUP", signal.SIG_DFL), ("SIGQUIT", signal.SIG_DFL), ("SIGINT", signal.default_int_handler)):
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _usual)

try:
    from hypothesis import settings
except ImportError:  # the property tests skip themselves
    pass
else:
    # A shared board may be slow, never wrong.
    settings.register_profile("local", max_examples=25, deadline=None, print_blob=True)
    settings.register_profile("ci", max_examples=200, deadline=None, print_blob=True)
    settings.load_profile("ci" if os.environ.get("CI") else "local")


def _missing(what: str, reason: str, *, demanded: bool) -> NoReturn:
    """Skip the test, or fail it where what it needs was demanded."""
    if demanded:
        pytest.fail(f"{reason}, and BEAR_ALARM_REQUIRE demands {what}", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Honour ``@pytest.mark.needs_tool("ffmpeg")``."""
    for mark in item.iter_markers("needs_tool"):
        for tool in mark.args:
            if shutil.which(tool) is None:
                _missing(tool, f"{tool} is not installed", demanded=bool(REQUIRED & {tool, "all"}))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what was captured and is no UTF-8, such as the odd names of files: workers can only send text."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts a program of SLOW or asks for an export of the whole network.

    Tests that share a module's fixture go to one worker.
    """
    for item in items:
        tools = {tool for mark in item.iter_markers("needs_tool") for tool in mark.args}
        if tools & SLOW or "exported_model" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        defined = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009 - private, and mypy knows it
        if any(each[-1].scope == "module" for each in defined):
            item.add_marker(pytest.mark.xdist_group(item.location[0]))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a long value by its first 40 characters: names go into the environment, which holds no 160 MB."""
    return f"{val[:40]!a} and {len(val) - 40} more" if isinstance(val, str | bytes) and len(val) > 200 else None


@pytest.fixture(scope="session")
def pictures() -> Path:
    """A folder of pictures and clips with its MANIFEST.csv; never part of this project."""
    if not (PICTURES / "MANIFEST.csv").is_file():
        _missing("pictures", NO_PICTURES, demanded="pictures" in REQUIRED)
    return PICTURES


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder for each test, also for the commands it starts: the journal of whoever tests stays theirs."""
    home = tmp_path_factory.mktemp("state-home")
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def patient_with_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the disk of a busy machine as long as it takes; tests of disks that hang set limits of their own."""
    for limit in ("record.journal.SOON_S", "device.watchdog.DISK_S", "camera.processed_files.DISK_S"):
        monkeypatch.setattr(f"edge.{limit}", 30.0)
    monkeypatch.setattr("edge.camera.processed_files.ProcessedFiles.close.__defaults__", (30.0,))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``pictures`` and the ``run`` trained on them (tests.helpers.trained_world); use copies."""
    from tests.helpers.made_once import made_once
    from tests.helpers.trained_world import train_world

    return made_once(tmp_path_factory, "trained", train_world)


@pytest.fixture(scope="session")
def exported_model(tmp_path_factory: pytest.TempPathFactory, trained_run: Path) -> Path:
    """A folder with the model exported from that run: ``bear.onnx`` and ``bear.fp32.onnx``."""
    from tests.helpers.made_once import made_once
    from tests.helpers.trained_world import export_world

    return made_once(tmp_path_factory, "exported", lambda folder: export_world(folder, trained_run / "run"))


@pytest.fixture
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the time zone of this process, for one test."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system sets no time zone for one process")

    def choose(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """gpiozero's pins that have no hardware."""
    gpiozero = pytest.importorskip("gpiozero")
    from gpiozero.pins.mock import MockFactory

    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


def _skips(terminal: pytest.TerminalReporter) -> Counter[str]:
    """Return how often each reason for a skip was given, modules skipped whole included."""
    reasons: Counter[str] = Counter()
    for report in terminal.stats.get("skipped", ()):
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[told.removeprefix("Skipped: ")] += 1
    return reasons


def _forbidden(reasons: Counter[str]) -> list[str]:
    """The skips that ``BEAR_ALARM_REQUIRE=all`` does not allow."""
    return [reason for reason in reasons if "all" in REQUIRED and reason != NO_PICTURES]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skip where none is allowed makes the run a failure, wherever it came from."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal and exitstatus == pytest.ExitCode.OK and _forbidden(_skips(terminal)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were skipped, and why."""
    reasons = _skips(terminalreporter)
    terminalreporter.section("skipped")
    terminalreporter.write_line(f"{sum(reasons.values())} skipped")
    forbidden = _forbidden(reasons)
    for reason, count in reasons.most_common():
        note = "  <- FAILURE: BEAR_ALARM_REQUIRE=all allows no skip" if reason in forbidden else ""
        terminalreporter.write_line(f"  {count} x {reason}{note}")
