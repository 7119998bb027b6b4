"""What a search with the compiler in the loop gains, and how much a mapping shortens it.

    python benchmarks/compiler_in_the_loop.py --work DIR --mappings DIR --mapper local_search \
        --programs NAME,NAME --seconds 180 --out results/in_the_loop

The DIR of ``--work`` holds a work folder for each program, as ``build-suite --work`` leaves it, the
DIR of ``--mappings`` a NAME.MAPPER.mapping.json for each.  Searches each program twice, from
production's own order and from the export of the mapping; both continue when the script is started
again.  Prints a table.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from gamekit.errors import InputError
from mallocgame.program import load_program
from mallocgame.program.mapping import load_mapping
from mallocgame.suites import find_programs
from mallocgame.xla.compile.compiler import require_libtpu
from mallocgame.xla.steer.bufferinfo import buffer_benefits
from mallocgame.xla.steer.in_the_loop import CompilerSearch, begin, search
from mallocgame.xla.steer.roundtrip import CompilerBench
from mallocgame.xla.steer.steer import chip_of


def main() -> int:
    """Makes the missing searches and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", default="tpu_v4")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--mappings", required=True, type=Path)
    parser.add_argument("--mapper", default="local_search")
    parser.add_argument("--programs", required=True, help="names, separated by commas")
    parser.add_argument("--seconds", type=float, default=600.0, help="of each search")
    parser.add_argument("--compiles", type=int, help="of each search, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, type=Path, help="folder of the searches")
    options = parser.parse_args()
    try:
        require_libtpu()
        pairs = [_searched(options, name) for name in options.programs.split(",")]
    except InputError as error:
        print(f"compiler_in_the_loop.py: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(pairs)))
    return 0


def _searched(options: argparse.Namespace, name: str) -> tuple[CompilerSearch, CompilerSearch]:
    """The searches from production's order and from the mapping."""
    (path,) = find_programs([f"{options.suite}/{name}"])
    program = load_program(path)
    bench = CompilerBench(program, options.work / name, chip_of(program))
    bench.check()
    benefits = buffer_benefits(program, bench.account(), bench.work)
    mapping = load_mapping(options.mappings / f"{name}.{options.mapper}.mapping.json", program)
    states = []
    for start in (None, mapping):
        kind = "production" if start is None else options.mapper
        place = options.out / f"{name}.{kind}.search.json"
        state = begin(bench, start, benefits, options.seed, place)
        most = options.compiles or math.inf
        state = search(bench, state, benefits, options.seconds, place, _progress, most)
        print(f"{kind}: {state.line()}", file=sys.stderr, flush=True)
        states.append(state)
    return states[0], states[1]


def _progress(state: CompilerSearch, is_better: bool) -> None:
    if is_better:
        print(f"  {state.line()}", file=sys.stderr, flush=True)


def table(pairs: list[tuple[CompilerSearch, CompilerSearch]]) -> list[str]:
    """The lines of a Markdown table, one row for each program."""
    lines = [
        "| program | production | round trip of the mapping | search from production's order "
        "| search from the mapping | compiles | catches up after |",
        "|---|---|---|---|---|---|---|",
    ]
    for plain, mapped in pairs:
        trip = mapped.cycles_begin
        before = plain.cycles_production
        came = "refused" if trip is None else f"{trip:,} ({before / trip - 1:+.2%})"
        lines.append(
            f"| {plain.program} | {before:,} | {came} "
            f"| {plain.cycles_best:,} ({plain.gain:+.2%}) "
            f"| {mapped.cycles_best:,} ({mapped.gain:+.2%}) "
            f"| {plain.compiles}, {mapped.compiles} | {_caught_up(plain, mapped)} |"
        )
    return lines


def _caught_up(plain: CompilerSearch, mapped: CompilerSearch) -> str:
    """Compiles after which the search from the mapping had reached the other's result."""
    for _, compiles, cycles in mapped.history:
        if cycles <= plain.cycles_best:
            return f"{compiles} of {plain.compiles}"
    return "-" if plain.cycles_best < mapped.cycles_best else "neither gains"


if __name__ == "__main__":
    sys.exit(main())
