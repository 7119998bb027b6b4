"""What good mappings are worth inside the game: production's and local search's, imitated.

    python benchmarks/completeness.py --out FILE.jsonl [--suite tpu_v4] [--budget 10]

For each program and mapping one JSON line: the saved shares (percent of the all-slow latency) of
the mapping itself and of the packed game that imitates it, both by the judge; the difference in
points; how often Drop-backup was needed and what it took off; the packer's seconds; and how many
residencies the device's packer leaves without a place.  What is in the file already is left.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gamekit.domain import Instance
from gamekit.errors import InputError
from mallocgame.domain import DOMAIN
from mallocgame.game.compile_program import compile_program
from mallocgame.game.environment import unobserved_game
from mallocgame.game.finish import finish_game, packing_problem
from mallocgame.game.options import GameConfig
from mallocgame.game.transcript import transcribe
from mallocgame.judge import simulate, verify
from mallocgame.mappers.in_game import simple
from mallocgame.mappers.in_game.plans import finish_plans
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.packing.device import pack_on_device
from mallocgame.program.mapping import Mapping


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", nargs="+", default=["tpu_v4"])
    parser.add_argument("--budget", type=float, default=10.0, help="seconds for local search")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        done = _done(options.out)
        for instance in DOMAIN.instances(options.suite):
            for name in ("production", "local_search"):
                if (instance.name, name) in done:
                    continue
                row = imitated(instance, name, options.budget)
                print(json.dumps(row), flush=True)
                with open(options.out, "a") as file:
                    file.write(json.dumps(row) + "\n")
    except InputError as error:
        print(f"completeness.py: {error}", file=sys.stderr)
        return 2
    return 0


def _done(path: Path) -> set[tuple[str, str]]:
    rows = path.read_text().splitlines() if path.exists() else []
    return {(row["program"], row["mapping"]) for row in map(json.loads, rows)}


def imitated(instance: Instance, name: str, budget_s: float) -> dict[str, Any]:
    """One line: a mapping of the instance, `production` or `local_search`, imitated."""
    program, config = instance.content, GameConfig()
    mapping: Mapping = (
        instance.reference
        if name == "production"
        else local_search(program, config, budget_s, 0).mapping
    )
    tables = compile_program(program, config)
    game = unobserved_game(tables, config)
    history = game.history(finish_plans(game, simple.imitate(tables, mapping)))
    moves = np.asarray(history.moves)[0, : int(history.length[0])]
    made = finish_game(game, program, moves)
    own = 100 * simulate(program, mapping).saved_fraction
    judged = 100 * simulate(program, made.mapping).saved_fraction
    problem, _ = packing_problem(program, transcribe(game, 0, moves))
    return {
        "program": instance.name,
        "mapping": name,
        "own": own,
        "imitated": judged,
        "difference": judged - own,
        "game": 100 * made.saved_fraction,
        "violations": len(verify(program, made.mapping)),
        "residencies": len(made.mapping.residencies),
        "backups": made.backups,
        "lost": 100 * made.lost,
        "packing_s": made.seconds,
        "unplaced_on_device": len(pack_on_device(problem).unplaced),
    }


if __name__ == "__main__":
    sys.exit(main())
