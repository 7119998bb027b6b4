"""How far the compiler follows exported mappings, and how much of the simulated gain is real.

    python benchmarks/roundtrip_correlation.py --work DIR --out results/roundtrip.json \
        --programs NAME,NAME --mappers production,greedy,random:0,random:1 [--mappings DIR]

DIR holds a work folder for each program, as ``build-suite --work`` leaves it.  Every pair of a
program and a mapper (with a seed) is one compile and one row.  Rows that the file already holds are
kept, so a run can be stopped and started again.  Prints a table, and the correlation of the
simulated gain over production with the gain in the compiler's own estimated cycles.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.errors import InputError
from gamekit.jsonfile import read_json, write_json
from mallocgame.game.options import GameConfig
from mallocgame.mappers.registry import MAPPERS
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping, load_mapping, save_mapping
from mallocgame.suites import find_programs, load_production
from mallocgame.xla.compile.compiler import require_libtpu
from mallocgame.xla.steer.roundtrip import CompilerBench, round_trip
from mallocgame.xla.steer.steer import chip_of

FORMAT, VERSION = "mallocgame.roundtrips", 1
FEWEST = 3  # rows of a program for a correlation within it


def main() -> int:
    """Adds the missing rows and prints a table and a summary of all rows."""
    options = _options()
    try:
        require_libtpu()
        rows = read_json(options.out, FORMAT, VERSION)["rows"] if options.out.exists() else []
        done = {(row["program"], row["mapper"]) for row in rows}
        for name in options.programs.split(","):
            for mapper in options.mappers.split(","):
                if (name, mapper) not in done:
                    rows.append(_row(options, name, mapper))
                    write_json(options.out, {"format": FORMAT, "version": VERSION, "rows": rows})
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    except InputError as error:
        print(f"roundtrip_correlation.py: {error}", file=sys.stderr)
        return 2
    print("\n".join([*table(rows), "", *summary(rows)]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", default="tpu_v4")
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="JSON file of rows")
    parser.add_argument("--programs", required=True, help="names, separated by commas")
    parser.add_argument("--mappers", required=True, help="names, NAME:SEED, or production")
    parser.add_argument("--mappings", type=Path, help="folder that keeps the mappings")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of a mapper")
    return parser.parse_args()


def _row(options: argparse.Namespace, name: str, mapper: str) -> dict[str, Any]:
    """One round trip; if the compile fails, the row says so."""
    (path,) = find_programs([f"{options.suite}/{name}"])
    program = load_program(path)
    production = load_production(path, program)
    if production is None:
        raise InputError(f"{path}: must have production's mapping beside it")
    bench = CompilerBench(program, options.work / name, chip_of(program))
    mapping = production if mapper == "production" else _mapping(options, program, mapper)
    try:
        trip = round_trip(bench, mapping, production)
    except InputError as error:
        return {"program": name, "mapper": mapper, "error": str(error)}
    return {**trip.record(), "mapper": mapper}


def _mapping(options: argparse.Namespace, program: Program, name: str) -> Mapping:
    kept = options.mappings and options.mappings / f"{program.name}.{name}.mapping.json"
    if kept and kept.exists():
        return load_mapping(kept, program)
    mapper, _, seed = name.partition(":")
    if mapper not in MAPPERS:
        raise InputError(f"--mappers: must be among {', '.join(MAPPERS)}, got {mapper!r}")
    mapping = MAPPERS[mapper](program, GameConfig(), options.budget, int(seed or 0)).mapping
    if kept:
        save_mapping(mapping, kept)
    return mapping


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a Markdown table, one row for each round trip."""
    lines = [
        "| program | mapping | followed | of accesses | cycles, production | compiled | gain "
        "| simulated: wanted | compiled | benefit by MSA |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['program']} | {row['mapper']} | refused | | | | | | | |")
            continue
        before, after = row["production"], row["done"]
        wanted = before["latency_s"] / row["wanted"]["latency_s"] - 1
        benefit = after["benefit_s"] / before["benefit_s"] - 1 if before["benefit_s"] else 0.0
        lines.append(
            f"| {row['program']} | {row['mapper']} | {row['followed']:.1%} "
            f"| {row['followed_reads']:.1%} | {before['cycles']:,} | {after['cycles']:,} "
            f"| {row['gain']:+.2%} | {wanted:+.2%} | {row['simulated_gain']:+.2%} "
            f"| {benefit:+.1%} |"
        )
    return lines


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Correlations over all rows, and within programs."""
    good = [row for row in rows if "error" not in row and row["mapper"] != "production"]
    lines = [f"{len(good)} mappings of {len({row['program'] for row in good})} programs."]
    compiler = _gains(good, "compiler")
    for kind in ("simulated", "simulated without stalls", "wanted", "benefit"):
        found = _gains(good, kind)
        inside = [
            spearman(_gains(part, kind), _gains(part, "compiler"))
            for part in _by_program(good)
            if len(part) >= FEWEST
        ]
        lines.append(
            f"{kind} against the compiler's cycles: Pearson {pearson(found, compiler):+.3f}, "
            f"Spearman {spearman(found, compiler):+.3f}, within a program (median of "
            f"{len(inside)}) {np.median(inside) if inside else np.nan:+.3f}"
        )
    return lines


def _by_program(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    names = dict.fromkeys(row["program"] for row in rows)
    return [[row for row in rows if row["program"] == name] for name in names]


def _gains(rows: Sequence[dict[str, Any]], kind: str) -> np.ndarray:
    """The share of production's latency, cycles or benefit that each row gains: [rows]."""

    def gain(row: dict[str, Any]) -> float:
        before, wanted, after = row["production"], row["wanted"], row["done"]
        if kind == "compiler":
            return 1 - after["cycles"] / before["cycles"]
        if kind == "benefit":
            return after["benefit_s"] / before["benefit_s"] - 1
        made = wanted if kind == "wanted" else after
        hidden = kind == "simulated without stalls"
        now = made["latency_s"] - (made["stall_s"] if hidden else 0.0)
        return 1 - now / (before["latency_s"] - (before["stall_s"] if hidden else 0.0))

    return np.array([gain(row) for row in rows])


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; nan if either does not vary."""
    if len(a) < 2 or not np.ptp(a) or not np.ptp(b):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation; equal figures share their mean rank."""

    def ranks(x: np.ndarray) -> np.ndarray:
        below, same = x[:, None] > x[None, :], x[:, None] == x[None, :]
        return below.sum(1) + (same.sum(1) - 1) / 2

    return pearson(ranks(a), ranks(b))


if __name__ == "__main__":
    sys.exit(main())
