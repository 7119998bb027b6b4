"""Schedules, checks and draws programs of the language of docs/fences.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.files import read_text, write_text
from gamekit.processes import run_command
from gamekit.text import say
from games.fences.domain import naive_cost, text_of
from games.fences.judge import Judged, judge_schedule
from games.fences.mappers.registry import MAPPERS, Mapped
from games.fences.program.compile import all_conflicts, compile_file
from games.fences.program.parser import parse, parse_blocks
from games.fences.program.program import Program
from games.fences.program.schedule import Schedule, read_schedule
from games.fences.program.tokens import MAX_BYTES

# Where the time is over it gives the best that it has, never worse than the simple rules.
DEFAULT = "exhaustive"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; bad input ends with one line on stderr and status 2, a schedule that breaks a
    rule with status 1."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: options.run(options), "error", "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m games.fences", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        added.add_argument("program", type=Path, help="a text of the language")
        return added

    def solving(added: argparse.ArgumentParser) -> None:
        added.add_argument("--solver", default=DEFAULT, choices=sorted(MAPPERS))
        added.add_argument(
            "--seconds", type=_seconds, default=60.0, help="for solvers that search; default 60"
        )

    schedule = command("schedule", _schedule, "find a schedule; prints the program with it")
    solving(schedule)
    schedule.add_argument("-o", "--out", type=Path, help="a new file for it, besides")
    command("check", _check, "check annotations, and the schedule if there is one")
    draw = command("draw", _draw, "show both streams; those of its schedule if there is one")
    solving(draw)
    draw.add_argument("-o", "--out", type=Path, help="a new picture: .svg, .png, .pdf")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return value


def _read(path: Path) -> tuple[Program, Schedule | None]:
    text = read_text(path, MAX_BYTES)
    program, blocks = compile_file(parse(text, str(path)), path.stem)
    return program, None if blocks is None else read_schedule(program, blocks)


def _say_lines(text: str) -> None:
    for line in text.splitlines():
        say(line)


def _schedule(options: argparse.Namespace) -> int:
    program, _ = _read(options.program)
    mapped = _solve(program, options)
    text = f"{program.text}\n{text_of(program, mapped.placements)}"
    _say_lines(text)
    if options.out is not None:
        _new(options.out)
        write_text(options.out, text)
    judged = judge_schedule(program, _as_schedule(program, mapped))
    say(_account(program, judged), error=True)
    say("proven: no schedule costs less" if mapped.proven else "not proven", error=True)
    return 0


def _check(options: argparse.Namespace) -> int:
    conflicts = all_conflicts(read_text(options.program, MAX_BYTES), str(options.program))
    if conflicts:
        for conflict in conflicts:
            say(f"error: {conflict.error()}", error=True)
        return 2
    program, schedule = _read(options.program)
    if schedule is None:
        say(f"{options.program}: {len(program.operations)} operations, annotations can be kept")
        return 0
    judged = judge_schedule(program, schedule)
    for violation in judged.violations:
        say(f"error: {violation}", error=True)
    if judged.violations:
        return 1
    say(f"{options.program}: {_account(program, judged)}")
    return 0


def _draw(options: argparse.Namespace) -> int:
    from games.fences.report.streams import as_text, draw

    program, schedule = _read(options.program)
    if schedule is None:
        schedule = _as_schedule(program, _solve(program, options))
    judged = judge_schedule(program, schedule)
    for violation in judged.violations:
        say(f"error: {violation}", error=True)
    if judged.violations:
        return 1
    _say_lines(as_text(program, schedule))
    if options.out is not None:
        _new(options.out)
        draw(program, schedule, options.out, f"{program.name}: {_account(program, judged)}")
    return 0


def _new(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path}: is there already; name a new file")


def _as_schedule(program: Program, mapped: Mapped) -> Schedule:
    text = text_of(program, mapped.placements)
    return read_schedule(program, parse_blocks(text, "schedule"))


def _solve(program: Program, options: argparse.Namespace) -> Mapped:
    return MAPPERS[options.solver](program, options.seconds)


def _account(program: Program, judged: Judged) -> str:
    f = judged.figures
    assert f is not None
    saved = 100 * (1 - f.cost / naive_cost(program))
    return (
        f"cost {f.cost:g} ({saved:.1f} % saved): {f.instructions} instructions, "
        f"{f.fences} fences, {f.syncs} syncs, {f.bytes:g} bytes, time {f.makespan:g}"
    )


if __name__ == "__main__":
    sys.exit(main())
