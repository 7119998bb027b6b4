"""Command line: ``python -m mallocgame.xla import-dump`` and ``build-sample``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mallocgame.jsonfile import InputError
from mallocgame.machine import machine_by_name
from mallocgame.xla.importer import Import, import_dump
from mallocgame.xla.suite import build_suite, fit_lines, write_import

SAMPLE = Path(__file__).resolve().parent.parent / "suites" / "tpu_v4_sample"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; a bad input ends with one line on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m mallocgame.xla", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("import-dump", help="a dump folder to programs and mappings")
    one.add_argument("dump", type=Path, help="folder with msa_off.hlo.gz and the compiles")
    one.add_argument("-o", "--out", type=Path, required=True, help="folder for the files")
    suite = commands.add_parser("build-sample", help="the committed suite tpu_v4_sample")
    suite.add_argument("--dumps", type=Path, required=True, help="folder of dump folders")
    suite.add_argument("-o", "--out", type=Path, default=SAMPLE, help="default: the suite's folder")
    for command in (one, suite):
        command.add_argument("--machine", default="tpu_v4", help="preset, default tpu_v4")
    options = parser.parse_args(arguments)
    try:
        machine = machine_by_name(options.machine)
        if options.command == "import-dump":
            imports: list[Import] = [import_dump(options.dump, machine)]
            write_import(imports[0], options.out)
        else:
            imports = build_suite(options.dumps, options.out, machine)
            if not imports:
                raise InputError(f"{options.dumps}: no dump folder with msa_off.hlo.gz")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for imported in imports:
        print("\n".join(fit_lines(imported)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
