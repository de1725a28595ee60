"""The board: what it is, how warm, how well fed, how much memory is left, and whether its radio sleeps."""

from __future__ import annotations

from collections.abc import Iterator

from edge.device import sensors
from edge.device import sensors as programs
from edge.device.health import hot_from
from edge.device.sensors import Reading, about, default_route, interfaces
from edge.doctor.finding import Finding, broken, doubt, fine, unknown
from edge.doctor.patient import Patient

LEAST_MEMORY_MB = 150.0  # the alarm with a camera takes about as much
WEAK_DBM = -75.0  # WiFi: below, it breaks off now and then
COOL = "give it shade, air and a heat sink"
SUPPLY = "use the board's own power supply and a short, thick cable"


def check_board(patient: Patient) -> Iterator[Finding]:
    """Its name, processor and memory."""
    it = about(patient.root)
    parts = [it.board, it.system, f"{it.cores} core{'s' * (it.cores != 1)}"]
    if it.memory_mb:
        parts.append(f"{it.memory_mb:.0f} MB")
    words = ", ".join(each for each in parts if each)
    if it.half:
        todo = "put a 64-bit system on the card: Raspberry Pi OS Lite (64-bit)"
        yield broken("board", f"{words}: a 32-bit system on a 64-bit kernel", todo)
    else:
        yield fine("board", words)
    memory = sensors.memory(patient.root)
    if memory and not patient.alarm_runs and memory.available_mb < LEAST_MEMORY_MB:
        words = f"{memory.available_mb:.0f} MB are left of {memory.total_mb:.0f}"
        yield doubt("memory", words, "end what else runs here, and use a system without a desktop")
    elif memory:
        yield fine("memory", f"{memory.available_mb:.0f} MB are left of {memory.total_mb:.0f}")


def check_power(patient: Patient) -> Iterator[Finding]:
    """Temperature and voltage, now and since the machine was started."""
    warm = sensors.temperature_c(patient.root)
    hot = hot_from(patient.settings.health.hot_c, Reading(critical_c=sensors.critical_c(patient.root)))
    if warm is None:
        yield unknown("temperature", "this machine does not say")
    elif warm >= hot:
        yield doubt("temperature", f"{warm:.0f} °C; from {hot:g} on the alarm looks at fewer frames", COOL)
    else:
        yield fine("temperature", f"{warm:.0f} °C; from {hot:g} on the alarm would look at fewer frames")
    whole = programs.asked_throttling()
    low = sensors.undervolted(patient.root)
    low = whole.undervolted if whole and low is None else low
    if low:
        yield doubt("voltage", "too low now: the board may stop or spoil its card at any moment", SUPPLY)
    elif whole and whole.undervolted_before:
        yield doubt("voltage", "it was too low since the machine was started", SUPPLY)
    elif low is None:
        yield unknown("voltage", "this machine does not say")
    else:
        yield fine("voltage", "as it should be")
    slowed = sensors.throttled(patient.root) or (whole is not None and (whole.throttled or whole.capped))
    if slowed:
        yield doubt("throttling", "the processor is slowed down now, by heat or for want of power", f"{COOL}; {SUPPLY}")
    elif whole and (whole.throttled_before or whole.capped_before):
        words = "the processor was slowed down since the machine was started, by heat or for want of power"
        yield doubt("throttling", words, f"{COOL}; {SUPPLY}")
    supply = about(patient.root).supply_ma
    if supply is not None and supply < 5000:
        yield doubt("supply", f"it can give {supply} mA and the board asks for 5000", SUPPLY)


def check_network(patient: Patient) -> Iterator[Finding]:
    """Radios that sleep, and whether anything leads out, where somebody is told over a network."""
    for each in interfaces(patient.root):
        if not each.wifi:
            continue
        name = f"WiFi {each.name}"
        if programs.power_save(each.name):
            todo = (
                f"sudo iw dev {each.name} set power_save off, for good: a file in /etc/NetworkManager/conf.d with "
                "[connection] and wifi.powersave = 2"
            )
            yield doubt(name, "it sleeps between packets (power save), so streams break off and nobody gets in", todo)
        elif each.linked and each.signal_dbm is not None and each.signal_dbm < WEAK_DBM:
            words = f"the signal is weak ({each.signal_dbm:.0f} dBm)"
            yield doubt(name, words, "bring it nearer to the access point, or use a better aerial")
        elif each.linked:
            yield fine(name, "joined to a network")
        else:
            yield unknown(name, "joined to no network")
    alerts = patient.settings.alerts
    if default_route(patient.root) is None and alerts.remote:
        yield doubt(
            "network",
            "nothing leads out of this device, and somebody is to be told over a network",
            "join it to a network; until then events wait in the journal, and what makes a noise works",
        )
