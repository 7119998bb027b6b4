"""Suites of programs: what there is, and how they are built.

    mallocgame suite list
    mallocgame suite list tpu_v4
    mallocgame suite build mallocgame/suites/tpu_v4.yaml -o my_suite
    mallocgame suite docs mallocgame/suites/tpu_v4 mallocgame/suites/tpu_later

docs/suite.md describes the committed suites, and lists of programs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gamekit.errors import InputError
from gamekit.text import say, shown
from mallocgame.command.importing import add_compile_arguments, add_scheduler_argument
from mallocgame.suites import SUFFIXES, SUITES, find_programs

WORK = Path("runs/suite")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parts = parser.add_subparsers(required=True, metavar="PART")
    listed = parts.add_parser("list", help="the committed suites, or the programs of some")
    listed.add_argument("suites", nargs="*", help="suites, splits such as tpu_v4:test, folders")
    listed.set_defaults(part=_list)
    build = parts.add_parser("build", help="build a suite from a list of programs")
    build.add_argument("list", type=Path, help="YAML list of programs")
    build.add_argument("-o", "--out", type=Path, required=True, help="folder of the suite")
    build.add_argument(
        "--only", metavar="NAME", action="append", help="this program; may be repeated"
    )
    add_compile_arguments(build)
    add_scheduler_argument(build)
    build.set_defaults(part=_build)
    docs = parts.add_parser("docs", help="update the tables and pictures of built suites")
    docs.add_argument("suites", type=Path, nargs="+", help="folders of suites")
    docs.add_argument("--docs", type=Path, default=Path("docs"), help="default docs")
    docs.set_defaults(part=_docs)


def run(options: argparse.Namespace) -> int:
    """Runs a part of the command."""
    return options.part(options)


def _list(options: argparse.Namespace) -> int:
    if not options.suites:
        for folder in sorted(p for p in SUITES.iterdir() if any(p.glob(f"*{SUFFIXES[0]}"))):
            say(f"{folder.name}: {len(find_programs([str(folder)]))} programs")
        return 0
    for name in options.suites:
        for path in find_programs([name]):
            program = path.name.removesuffix(SUFFIXES[0]).removesuffix(SUFFIXES[1])
            inside = path.parent.name if path.parent.parent == SUITES else path.parent
            say(f"{inside}/{shown(program)}")
    return 0


def _build(options: argparse.Namespace) -> int:
    from mallocgame.xla.compile.compiler import require_libtpu
    from mallocgame.xla.make.build import build_suite, read_list

    if options.scheduler is None:
        require_libtpu()
    entries = read_list(options.list)
    if options.only:
        unknown = set(options.only) - {entry.name for entry in entries}
        if unknown:
            raise InputError(f"--only: must be in {options.list}, got {sorted(unknown)[0]!r}")
        entries = [entry for entry in entries if entry.name in options.only]
    work = options.work or (None if options.scheduler else WORK)
    failed = build_suite(entries, options.out, work, options.timeout, say, options.scheduler)
    say(f"{options.out}: {len(entries) - len(failed)} of {len(entries)} programs")
    for name, reason in failed.items():
        say(f"  {name}: {reason}")
    return 1 if failed else 0


def _docs(options: argparse.Namespace) -> int:
    from mallocgame.xla.make.suite_docs import write_docs

    write_docs(options.suites, options.docs)
    return 0
