"""Makes programs of JAX functions and dumps, builds suites, hands mappings to the compiler."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gamekit.errors import InputError
from gamekit.files import write_text
from gamekit.processes import run_command
from gamekit.text import say
from mallocgame.judge import verify
from mallocgame.program import save_program
from mallocgame.program.machine import MIB, machine_by_name
from mallocgame.program.mapping import save_mapping
from mallocgame.xla.compile.compiler import (
    DEFAULT_TIMEOUT_S,
    Function,
    Lowered,
    lower,
    require_libtpu,
)
from mallocgame.xla.compile.workfolder import Workfolder
from mallocgame.xla.loading import given_module
from mallocgame.xla.make.build import build_suite, production_error, read_list
from mallocgame.xla.make.driver import make_program
from mallocgame.xla.make.importer import import_dump
from mallocgame.xla.make.suite_docs import write_docs
from mallocgame.xla.make.write import PRODUCTION_SUFFIX, build_dumps, fit_lines, write_import
from mallocgame.xla.read.chips import CHIPS, chip_by_name
from mallocgame.xla.steer.roundtrip import STABLEHLO
from mallocgame.xla.steer.steer import add_commands

SUITES = Path(__file__).resolve().parent.parent / "suites"
PROGRAM_ENDINGS = (".program.json.gz", ".program.json", ".json.gz", ".json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; bad input ends with one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: options.run(options), "error", "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mallocgame.xla", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        return added

    make = command("import", _import, "compile a function and make a program of it")
    what = make.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--jax",
        metavar="MODULE:FUNCTION",
        help="returns a Workload; plain with --args",
    )
    what.add_argument(
        "--stablehlo", type=Path, metavar="FILE", help="StableHLO text, bytecode, jax.export's file"
    )
    make.add_argument("--args", metavar="SHAPES", help="a plain function's: f32[8,128],s32[]")
    make.add_argument("--chip", default="v4", choices=sorted(CHIPS), help="default v4")
    make.add_argument("-o", "--out", type=Path, required=True, help="program.json.gz")
    make.add_argument(
        "--capacity",
        type=int,
        metavar="MIB",
        help="default: chosen to be contested",
    )
    make.add_argument("--work", type=Path, help="folder that keeps the compiles for reuse")
    _add_timeout(make)

    suite = command("build-suite", _build_suite, "build a suite from a list of programs")
    suite.add_argument("list", type=Path, help="YAML list of programs")
    suite.add_argument("-o", "--out", type=Path, required=True, help="folder of the suite")
    suite.add_argument(
        "--only", metavar="NAME", action="append", help="this program; may be repeated"
    )
    suite.add_argument("--work", type=Path, default=Path("runs/suite"), help="default runs/suite")
    _add_timeout(suite)

    docs = command("suite-docs", _suite_docs, "update the tables and pictures of built suites")
    docs.add_argument("suites", type=Path, nargs="+", help="folders of suites")
    docs.add_argument("--docs", type=Path, default=Path("docs"), help="default docs")

    dump = command("import-dump", _import_dump, "make programs and mappings from a dump folder")
    dump.add_argument("dump", type=Path, help="folder with msa_off.hlo.gz and the compiles")
    dump.add_argument("-o", "--out", type=Path, required=True, help="folder for the files")
    sample = command("build-sample", _build_sample, "build the committed suite tpu_v4_sample")
    sample.add_argument("--dumps", type=Path, required=True, help="folder of dump folders")
    sample.add_argument("-o", "--out", type=Path, default=SUITES / "tpu_v4_sample",
                        help="default: the suite's folder")  # fmt: skip
    for with_machine in (dump, sample):
        with_machine.add_argument("--machine", default="tpu_v4", help="preset, default tpu_v4")
    add_commands(command)
    return parser


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help=f"seconds for each step of a compile, default {DEFAULT_TIMEOUT_S:.0f}",
    )


def _import(options: argparse.Namespace) -> int:
    require_libtpu()
    if options.args and options.stablehlo:
        raise InputError("--args: must be left out with --stablehlo, whose module has its shapes")
    capacity = None if options.capacity is None else options.capacity * MIB
    name = _program_name(options.out)
    with _work_folder(options.work, name) as folder:
        if options.stablehlo:
            lowered = _given(options.stablehlo, folder)
        else:
            say(f"{name}: tracing {options.jax}")
            lowered = lower(Function(options.jax, options.args), folder, options.timeout)
        work = Workfolder(folder, lowered, chip_by_name(options.chip), say, options.timeout)
        made = make_program(work, name, capacity)
    program, mapping = made.item.program, made.item.mapping
    beside = options.out.with_name(name + PRODUCTION_SUFFIX)
    save_program(program, options.out)
    save_mapping(mapping, beside)
    say(f"{options.out}: {len(program.instructions)} instructions, {len(program.values)} values")
    say(f"{beside}: {len(verify(program, mapping))} violations, {len(made.item.notes)} notes")
    say(f"  {made.reason}")
    say(f"  production's cycles are {production_error(made):+.2%} off the compiler's estimate")
    return 0


def _given(path: Path, folder: Path) -> Lowered:
    text, source = given_module(path)
    write_text(folder / STABLEHLO, text)
    return Lowered(folder / STABLEHLO, source)


def _program_name(out: Path) -> str:
    for ending in PROGRAM_ENDINGS:
        if out.name.endswith(ending) and out.name != ending:
            return out.name[: -len(ending)]
    raise InputError(f"--out: must end in {PROGRAM_ENDINGS[0]}, got {out}")


@contextlib.contextmanager
def _work_folder(given: Path | None, name: str) -> Iterator[Path]:
    """The folder of the compiles: the given one, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="mallocgame-import-") as folder:
        path = Path(folder) / name
        path.mkdir()
        yield path


def _build_suite(options: argparse.Namespace) -> int:
    require_libtpu()
    entries = read_list(options.list)
    if options.only:
        unknown = set(options.only) - {entry.name for entry in entries}
        if unknown:
            raise InputError(f"--only: must be in {options.list}, got {sorted(unknown)[0]!r}")
        entries = [entry for entry in entries if entry.name in options.only]
    failed = build_suite(entries, options.out, options.work, options.timeout)
    say(f"{options.out}: {len(entries) - len(failed)} of {len(entries)} programs")
    for name, reason in failed.items():
        say(f"  {name}: {reason}")
    return 1 if failed else 0


def _suite_docs(options: argparse.Namespace) -> int:
    write_docs(options.suites, options.docs)
    return 0


def _import_dump(options: argparse.Namespace) -> int:
    imported = import_dump(options.dump, machine_by_name(options.machine))
    write_import(imported, options.out)
    for line in fit_lines(imported):
        say(line)
    return 0


def _build_sample(options: argparse.Namespace) -> int:
    imports = build_dumps(options.dumps, options.out, machine_by_name(options.machine))
    if not imports:
        raise InputError(f"--dumps: must hold folders with msa_off.hlo.gz, got {options.dumps}")
    for imported in imports:
        for line in fit_lines(imported):
            say(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
