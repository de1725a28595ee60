"""The ``--help`` page of a command, in plain lines: no word is broken, nothing is cut off, a flag is a flag.

typer's own page is a table of six columns, which leaves the explanations 25 of 80 characters.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Annotated, Any, TypeVar

import typer

from edge.cli.output import wrapped

Command = TypeVar("Command", bound=Callable[..., Any])

MIN_COLUMNS, MAX_COLUMNS = 40, 100  # columns; longer lines are hard to read
NAMES = 26  # columns for names; a longer one has a line of its own
TYPES = {"str": "TEXT", "text": "TEXT", "file": "PATH", "directory": "PATH", "int": "NUMBER", "integer": "NUMBER"}
TYPES |= {"float": "NUMBER"}


HELP = {"help_option_names": ["-h", "--help"]}


def command_group(**more: Any) -> typer.Typer:
    """Return a group of commands, such as ``bear-alarm model``; ``more`` as ``typer.Typer`` takes it."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP, **more)


def common_options(*names: str) -> Callable[[Command], Command]:
    """Let ``--help`` show these options alone, in this order; ``--help-all`` shows all of them."""

    def decorate(command: Command) -> Command:
        command.common_options = names  # type: ignore[attr-defined]
        return command

    return decorate


def _show_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        print(page(ctx.command, ctx))
        raise typer.Exit


HelpAllOpt = Annotated[
    bool, typer.Option("--help-all", callback=_show_all, is_eager=True, help="Show every option and exit.")
]


def use_page(command: Any) -> Any:
    """Return the same command, which from now on shows this page for ``--help``; its sub-commands too."""
    for each in (command, *getattr(command, "commands", {}).values()):
        each.format_help = MethodType(_format_help, each)
    return command


def _format_help(command: Any, ctx: Any, formatter: Any) -> None:
    common = getattr(command.callback, "common_options", ())
    formatter.write(page(command, ctx, common))


def page(command: Any, ctx: Any, common: Sequence[str] = ()) -> str:
    """Return the page of one command, as wide as the terminal; a path or word that is longer stays whole.

    ``common``: show only these options, in this order, and where the others are.
    """
    width = min(max(shutil.get_terminal_size().columns, MIN_COLUMNS), MAX_COLUMNS)
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in params if param.param_type_name == "argument"]
    options = [param for param in params if param.param_type_name == "option"]
    inner = getattr(command, "commands", {})
    usage = ["Usage:", ctx.command_path, "[OPTIONS]", *map(_in_usage, arguments)]
    if inner:
        usage.append("[COMMAND …]" if command.invoke_without_command else "COMMAND …")
    lines = _wrapped(" ".join(usage), width, "  ")
    for paragraph in (command.help or "").split("\n\n")[: 1 if common else None]:
        lines += ["", *_wrapped(paragraph, width)]
    sections: dict[str, list[tuple[str, str]]] = {}
    for each in arguments:
        sections.setdefault("Arguments", []).append((argument_name(each), help_of(each)))
    for name, each in inner.items():
        sections.setdefault("Commands", []).append((name, (each.help or "").split("\n\n")[0]))
    if common:
        by_name = {name: each for each in options for name in each.opts}
        sections["Options"] = [(names_of(by_name[name], ctx), help_of(by_name[name])) for name in common]
        more = f"Show all {len(options)} options: also for schedules, relays, lamps, phones and Home Assistant."
        sections["Options"].append(("--help-all", more))
        options = []
    for each in options:
        section = getattr(each, "rich_help_panel", None) or "Options"
        sections.setdefault(section, []).append((names_of(each, ctx), help_of(each)))
    for title, rows in sections.items():
        lines += ["", f"{title}:"]
        for name, meaning in rows:
            lines += _row(name, meaning, width)
    return "\n".join(lines)


def _row(name: str, meaning: str, width: int) -> list[str]:
    begin = " " * (NAMES + 2)
    lines = _wrapped(meaning, width - len(begin))
    head = f"  {name}"
    if len(head) + 2 > len(begin):
        return [head, *(begin + line for line in lines)]
    return [(head.ljust(len(begin)) + lines[0]).rstrip(), *(begin + line for line in lines[1:])]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return wrapped(" ".join(text.split()), width, further=indent)


def argument_name(argument: Any) -> str:
    """Return an argument's name: ``SOURCE``."""
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _in_usage(argument: Any) -> str:
    name = argument_name(argument)
    name += "…" if argument.nargs != 1 and not name.endswith("…") else ""
    return name if argument.required else f"[{name}]"


def names_of(option: Any, ctx: Any) -> str:
    """Return an option's names: ``-q, --quiet``, ``--bell / --no-bell`` or ``--fps NUMBER``."""
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += f" / {', '.join(option.secondary_opts)}"
    return names if option.is_flag or option.count else f"{names} {_value(option, ctx)}"


def _value(option: Any, ctx: Any) -> str:
    """Name the type of an option's value: TEXT, PATH, NUMBER or the choices."""
    if option.metavar:
        return str(option.metavar)
    if hasattr(option, "display_type"):  # typer since it carries its own click: "<list[str]>", "<float range>"
        kind = str(option.display_type(ctx)).strip("<>")
    else:
        kind = "|".join(getattr(option.type, "choices", ())) or str(option.type.name)
    kind = re.sub(r"^list\[(.*)\]$", r"\1", kind).removesuffix(" range")
    return TYPES.get(kind, kind if "|" in kind else kind.upper())


def help_of(param: Any) -> str:
    """Return its help, then its limits, its default, its variable and whether it is required."""
    more = []
    bounds = param if hasattr(param, "min") else getattr(param, "type", None)  # older typers have it with the type
    least, most = getattr(bounds, "min", None), getattr(bounds, "max", None)
    if least is not None and most is not None:
        more.append(f"{least:g} to {most:g}")
    elif least is not None or most is not None:
        more.append(f"at least {least:g}" if most is None else f"at most {most:g}")
    if default := _default(param):
        more.append(f"default: {default}")
    if param.envvar:
        more.append(f"or ${param.envvar}")
    if param.required and param.param_type_name == "option":
        more.append("required")
    return f"{param.help or ''}{''.join(f' [{each}]' for each in more)}".strip()


def _default(param: Any) -> str:
    """Return the default as help text; empty if there is none or the help already has it."""
    default = getattr(param.default, "value", param.default)
    if isinstance(param.show_default, str) or not param.show_default:
        return str(param.show_default or "")
    if isinstance(default, bool):
        named = getattr(param, "secondary_opts", ())
        return str((param.opts if default else named)[0]) if named else ""
    return f"{default:g}" if isinstance(default, float) else str(default) if _plain(default) else ""


def _plain(default: Any) -> bool:
    """Return True for a default worth printing: no function, and not empty."""
    return default not in (None, "", (), []) and not callable(default)
