"""Tunes loop nests, draws them, measures them, and fits the cost model (docs/loops.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.files import write_text
from gamekit.jsonfile import read_json, write_json
from gamekit.processes import run_command
from gamekit.text import say
from games.loops.domain import DOMAIN
from games.loops.mappers.registry import MAPPERS
from games.loops.program.computation import Computation, parse
from games.loops.program.nest import Nest, from_record, start, to_record
from games.loops.report.tree import tree
from games.loops.suites import find

FORMAT, VERSION = "loops.nest", 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; bad input ends with one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: options.run(options), "error", "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m games.loops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    tuned = command("tune", _tune, "find a fast nest, by the model and the clock")
    tuned.add_argument(
        "computation", help="mm64_80_96, a file, or 'C[m,n] += A[m,k] * B[k,n]; m=64 n=80 k=96'"
    )
    tuned.add_argument("--solver", default="local_search", choices=sorted(MAPPERS))
    tuned.add_argument("--seconds", type=_positive, default=10.0, help="of search; default 10")
    tuned.add_argument("--rounds", type=_count, default=3, help="the seconds are shared; default 3")
    tuned.add_argument("--measure", type=_count, default=5, help="nests a round; default 5")
    tuned.add_argument("--seed", type=int, default=0)
    tuned.add_argument("--known", type=Path, help="a file of measurements, which grows")
    tuned.add_argument("-o", "--out", type=Path, help="a new file for the nest, .json")
    tuned.add_argument("--code", type=Path, help="a new file for its C code")
    drawn = command("draw", _draw, "show a nest as a tree, and what the model says of it")
    drawn.add_argument("nest", type=Path, help="a file that tune wrote")
    measured = command("measure", _measure, "time nests by chance, for the fit of the model")
    measured.add_argument("out", type=Path, help="a file of measurements, which grows")
    measured.add_argument("--minutes", type=_positive, default=15.0)
    measured.add_argument("--seed", type=int, default=0)
    fitted = command("fit", _fit, "fit the model to measurements of this machine")
    fitted.add_argument("measured", type=Path, nargs="+", help="files that measure wrote")
    fitted.add_argument("-o", "--out", type=Path, help="a new file for the constants")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"must be in 1..1000, got {text}")
    return value


def _say_lines(text: str) -> None:
    for line in text.splitlines():
        say(line)


def _new(path: Path | None) -> None:
    if path is not None and path.exists():
        raise InputError(f"{path}: is there already; name a new file")


def _computation(text: str) -> Computation:
    if "+=" in text:
        return parse(text, "computation")
    found = find([text])
    if len(found) != 1:
        raise InputError(f"computation must be one, got {text!r}, which has {len(found)}")
    return found[0][1]


def _tune(options: argparse.Namespace) -> int:
    from games.loops.judge.clock import Clock
    from games.loops.judge.code import code
    from games.loops.mappers.libraries import compared
    from games.loops.mappers.tune import tune

    computation = _computation(options.computation)
    _new(options.out)
    _new(options.code)
    clock = Clock(options.known)
    each = options.seconds / options.rounds
    found = tune(
        computation, clock, options.solver, each, options.rounds, options.measure, options.seed, say
    )
    say(f"{computation.name}, at the start:")
    _say_lines(tree(computation, start(computation)))
    say("tuned:")
    _say_lines(tree(computation, found.nest))
    times = compared(computation, {"tuned": found.nest})
    for name in ("start", "gcc", "numpy", "tuned"):
        rate = 2e-9 * computation.macs / times[name]
        speed = times["start"] / times[name]
        say(f"{name:>6}: {1e6 * times[name]:10.1f} us {rate:8.1f} GFLOPS {speed:7.2f}x")
    if options.out is not None:
        write_json(options.out, _record(computation, found.nest))
    if options.code is not None:
        write_text(options.code, code(computation, found.nest))
    return 0


def _record(computation: Computation, nest: Nest) -> dict:
    head = {"format": FORMAT, "version": VERSION, "computation": computation.text}
    return head | {"nest": to_record(nest)}


def _draw(options: argparse.Namespace) -> int:
    record = read_json(options.nest, FORMAT, VERSION)
    text = record.get("computation")
    if not isinstance(text, str):
        raise InputError(f"{options.nest}: computation: must be a text, got {type(text).__name__}")
    computation = parse(text, f"{options.nest}: computation")
    nest = from_record(record.get("nest"), computation, f"{options.nest}: nest")
    _say_lines(tree(computation, nest))
    from games.loops.judge.verdict import judge_record

    judged = judge_record(computation, to_record(nest))
    say(f"by the model {judged.gflops:.1f} GFLOPS, {DOMAIN.show(judged.score)} the starting nest")
    return 0


def _measure(options: argparse.Namespace) -> int:
    from games.loops.fit.campaign import campaign
    from games.loops.judge.clock import Clock

    count = campaign(Clock(options.out), 60 * options.minutes, options.seed, say)
    say(f"{options.out}: {count} nests measured")
    return 0


def _fit(options: argparse.Namespace) -> int:
    from games.loops.fit.campaign import commit
    from games.loops.fit.fit import agreement, fit, is_held_out, predicted, read_samples
    from games.loops.judge.compiler import machine as this
    from games.loops.program.machine import CONSTANTS, machine, save_machine

    _new(options.out)
    samples = [sample for path in options.measured for sample in read_samples(path, this())]
    train = [x for x in samples if not is_held_out(x)]
    test = [x for x in samples if is_held_out(x)]
    if min(len(train), len(test)) < 10:
        raise InputError(f"{options.measured[0]}: must hold at least 100 nests, got {len(samples)}")
    made = fit(train, machine(), this())
    for name, value in zip(CONSTANTS, made.constants, strict=True):
        say(f"{name:>10} {value:8.4f} ns")
    for name, part in (("fitted on", train), ("held out", test)):
        found = agreement(part, predicted(part, made))
        say(
            f"{name}: {found.nests} nests, rank correlation {found.spearman:.3f}, "
            f"off by a factor of {found.typical:.3f}"
        )
    if options.out is not None:
        names = " ".join(path.name for path in options.measured)
        save_machine(made, options.out, [f"python -m games.loops fit {names}"], commit())
    return 0


if __name__ == "__main__":
    sys.exit(main())
