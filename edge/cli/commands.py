"""The table of commands: names and one-line help, static, so that ``--help`` imports nothing heavy.

A command's module is imported when the command is called. ``train``, ``evaluate`` and ``export`` live in packages of
their own, and are found through the entry points of group ``bear_alarm.commands``.
"""

from __future__ import annotations

# name -> (section, one line of help, where it lives). None: an entry point of bear_alarm.commands.
COMMANDS: dict[str, tuple[str, str, str | None]] = {
    "watch": (
        "Watch for bears",
        "Watch a camera, a stream, a clip or a folder, and raise the alarm.",
        "edge.cli.watch.command:watch",
    ),
    "snapshot": (
        "Watch for bears",
        "Save one frame with what the alarm sees in it, to aim a camera.",
        "edge.cli.snapshot:snapshot",
    ),
    "classify": (
        "Watch for bears",
        "Look for bears in pictures, clips, folders and SD cards.",
        "edge.cli.classify:classify",
    ),
    "tune": (
        "Watch for bears",
        "Set how much evidence an alarm needs, from footage without bears.",
        "edge.cli.tune:tune",
    ),
    "alert": (
        "Watch for bears",
        "Send a test alarm through every channel: `alert test`.",
        "edge.cli.alert:app",
    ),
    "why": (
        "Watch for bears",
        "Explain an alarm or a quiet moment, and what held the alarm back.",
        "edge.cli.why:why",
    ),
    "events": (
        "Watch for bears",
        "List what happened; lock, review or export its pictures.",
        "edge.cli.events.command:app",
    ),
    "service": (
        "Watch for bears",
        "Start at boot and restart after any failure.",
        "edge.cli.service:app",
    ),
    "doctor": (
        "Watch for bears",
        "Check this device: what is fine or broken, and what to do.",
        "edge.cli.doctor.command:doctor",
    ),
    "gather": ("Make a model", "Bring pictures in, with their table and licences.", None),
    "train": ("Make a model", "Train a model on your own pictures.", None),
    "clean": ("Make a model", "Find wrong labels with the model's help, decide them, train again.", None),
    "export": ("Make a model", "Turn a trained run into the one file the alarm needs.", None),
    "evaluate": ("Make a model", "Measure a model on pictures and clips it has not seen.", None),
    "report": ("Make a model", "Write one page on how good a run's model is, and where it fails.", None),
    "compare": ("Make a model", "Say whether a new model is shown to be better than the old one.", None),
    "notebooks": ("Make a model", "Copy the notebooks: clean labels, try a model, go the whole way.", None),
    "feedback": ("Make a model", "Learn from the alarm's own pictures that people have reviewed.", None),
    "bench": (
        "Look inside",
        "Measure what the alarm costs on this machine, and what is fastest.",
        "edge.cli.bench.command:bench",
    ),
    "model": ("Look inside", "Show, check or choose the model file.", "edge.cli.model:app"),
    "config": ("Look inside", "Write a config file, or check one: `config check`.", "edge.cli.config:app"),
    "schema": (
        "Look inside",
        "Print the JSON Schema of events, the model card or the config.",
        "edge.cli.schema:schema",
    ),
}

INTRO = "An alarm that sees bears, on the device, with no network."
OUTRO = """\
Try it now:        bear-alarm watch demo
Aim a camera:      bear-alarm snapshot 0
Your camera:       bear-alarm watch 0
One command:       bear-alarm watch --help

It is an aid, not a life-safety device."""


def help_text() -> str:
    """Return what ``bear-alarm --help`` prints."""
    lines = ["Usage: bear-alarm COMMAND [OPTIONS] …", "", INTRO]
    section = ""
    for name, (where, line, _) in COMMANDS.items():
        if where != section:
            section = where
            lines += ["", f"{section}:"]
        lines.append(f"  {name:<12}{line}")
    lines += [
        "",
        "Options:",
        "  --version               Print the version.",
        "  --install-completion    Teach your shell to complete these commands.",
        "  --help                  Print this page; after a command, that command's page.",
        "",
        OUTRO,
    ]
    return "\n".join(lines)
