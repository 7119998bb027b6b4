"""How much simple play can save under each of the game's rules of placement.

    python benchmarks/placements.py [--suite tpu_v4:test] [--placements best_fit,two_ended]

Prints a table: what production's own mapping saves and, under each rule, what its imitation in the
game saves, and the greedy rule at its best threshold.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from gamekit.errors import InputError
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import stack
from mallocgame.game.options import PLACEMENTS, GameConfig
from mallocgame.judge import simulate
from mallocgame.mappers.in_game.plans import score_plans
from mallocgame.mappers.in_game.simple import greedy, imitate
from mallocgame.suites import find_programs, load_production, load_programs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="tpu_v4:test", help="programs, comma-separated")
    parser.add_argument("--placements", default=",".join(PLACEMENTS))
    options = parser.parse_args()
    placements, names = options.placements.split(","), options.suite.split(",")
    try:
        configs = [GameConfig(placement=placement) for placement in placements]
        programs = list(zip(find_programs(names), load_programs(names), strict=True))
    except InputError as error:
        parser.error(str(error))
    columns = [f"{what}, {name}" for name in placements for what in ("imitated", "greedy")]
    print(f"| program | production | {' | '.join(columns)} |")
    print("|---" * (2 + len(columns)) + "|")
    for path, program in programs:
        production = load_production(path, program)
        if production is None:
            continue
        cells = [simulate(program, production).saved_fraction]
        for config in configs:
            tables = compile_program(program, config)
            game = stack([tables], config)
            for plans in (imitate(tables, production), greedy(tables)):
                cells.append(float(np.max(score_plans(game, plans))))
        shown = " | ".join(f"{100 * cell:.2f} %" for cell in cells)
        print(f"| {program.name} | {shown} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
