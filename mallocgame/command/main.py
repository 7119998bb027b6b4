"""Memory mapping of tensor programs: programs from the compiler, mappings, options for it.

    mallocgame map tpu_v4_sample/lstm_scan_v4_64mib -o mapped
    mallocgame map my_model:step --args 'f32[8,128],f32[128,128]' -o mapped
    mallocgame evaluate --suite tpu_v4_sample --out results/sample

`mallocgame COMMAND --help` has examples of each.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NamedTuple

from gamekit.processes import run_command

PROGRAM = "mallocgame"
# A module of a command has a docstring, which is its help, `add_arguments(parser)`, and
# `run(options)` or, where it ends in its own way, `perform(options)`; both return the exit code.
COMMANDS = {
    "import": ("mallocgame.command.importing", "make programs of functions, modules and dumps"),
    "map": ("mallocgame.command.mapping", "map programs; write mappings and compiler options"),
    "evaluate": ("agent.commands.evaluate", "compare mappers and agents on suites"),
    "train": ("agent.commands.train", "train an agent"),
    "report": ("mallocgame.command.reporting", "draw an evaluation, or one mapping"),
    "export": ("mallocgame.command.exporting", "write a mapping as options for the compiler"),
    "roundtrip": ("mallocgame.command.roundtrip", "compile with a mapping, read back the result"),
    "pack": ("mallocgame.command.packing", "place buffers: minimalloc's CSV in and out"),
    "suite": ("mallocgame.command.suite", "list, build and describe suites of programs"),
}  # fmt: skip


class _Chosen(NamedTuple):
    """What an action prints, and the command's own way to end."""

    run: Callable[[argparse.Namespace], int]
    is_whole: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; bad input ends with one line on stderr and status 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if os.getcwd() not in sys.path:  # MODULE:FUNCTION of one's own, as `python -m` finds it
        sys.path.append(os.getcwd())
    options = make_parser(words).parse_args(words)
    chosen: _Chosen = vars(options).pop("chosen")
    if chosen.is_whole:
        return chosen.run(options)
    return run_command(lambda: chosen.run(options), "error", "stopped")


def make_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of a command line.

    Args:
      words: of the command line: only the command among them gets its arguments, so that what
        others need is not imported.  None for all commands.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {metadata.version(PROGRAM)}"
    )
    parser.add_argument(
        "--print-completion", action=_Completion, metavar="SHELL", default=argparse.SUPPRESS,
        help="print completion for bash, zsh or tcsh; needs `pip install 'mallocgame[completion]'`",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    wanted = None if words is None else next((w for w in words if not w.startswith("-")), "")
    for name, (module, text) in COMMANDS.items():
        if wanted is not None and name != wanted:
            commands.add_parser(name, help=text)
            continue
        command = importlib.import_module(module)
        added = commands.add_parser(
            name,
            help=text,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(added)
        is_whole = hasattr(command, "perform")
        added.set_defaults(chosen=_Chosen(command.perform if is_whole else command.run, is_whole))
    return parser


class _Completion(argparse.Action):
    """Prints a shell's completion script and ends."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        del namespace, option_string
        try:
            shtab = importlib.import_module("shtab")
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'mallocgame[completion]'")
        if values not in shtab.SUPPORTED_SHELLS:
            shells = ", ".join(shtab.SUPPORTED_SHELLS)
            parser.error(f"--print-completion: must be one of {shells}, got {values}")
        sys.stdout.write(shtab.complete(make_parser(), values) + "\n")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
