"""How the agent plays programs that it has not seen, once their shape is compiled.

    python benchmarks/zero_shot.py [--suite tpu_v4:test] [--checkpoint FOLDER] [--seconds 10]
        [--untrained] [--no-openings] [--seed 1]

Prints one JSON object for each program: gains over production (per cent of speed) of the network's
best action everywhere, of the first round of 32 games, and of all games in the seconds, packed and
judged; and one with the means.  The first round is played twice: the first time compiles, and its
seconds are `cold_s`.  The checkpoint is the one that ships with the package, without --checkpoint.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import jax

from agent.config import Config
from agent.networks import Agent
from agent.run.loaded import untrained
from agent.run.play import play
from agent.run.shipped import load_either
from gamekit.domain import Instance
from mallocgame.domain import DOMAIN
from mallocgame.judge import simulate, verify

GAINS = ("network", "first_round", "in_time")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", nargs="+", default=["tpu_v4:test"])
    parser.add_argument("--checkpoint", default=DOMAIN.shipped)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--games", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--untrained", action="store_true", help="with fresh networks")
    parser.add_argument("--no-openings", dest="openings", action="store_false")
    options = parser.parse_args()
    agent, config, spec = load_either(options.checkpoint)
    if options.untrained:
        agent = untrained(config, spec)
    rows = []
    for instance in DOMAIN.instances(options.suite):
        rows.append(_row(instance, agent, config, options))
        print(json.dumps(rows[-1]), flush=True)
    means: dict[str, Any] = {f"{k}_mean": statistics.fmean(r[k] for r in rows) for k in GAINS}
    means["better"] = sum(row["in_time"] > 0 for row in rows)
    means["worst"] = min(row["in_time"] for row in rows)
    means["hybrid_mean"] = statistics.fmean(max(row["in_time"], 0.0) for row in rows)
    print(json.dumps({"program": "mean", "programs": len(rows), **means}))


def _row(
    instance: Instance, agent: Agent, config: Config, options: argparse.Namespace
) -> dict[str, Any]:
    program, rules = instance.content, config.game.options
    assert instance.reference is not None, f"{instance.name}: has no production mapping"
    production = simulate(program, instance.reference).saved_fraction
    started = time.perf_counter()
    game = DOMAIN.build([instance], rules)
    openings = DOMAIN.openings(game, instance) if options.openings else []
    key = jax.random.key(options.seed)

    def played(seconds: float):
        return play(
            game, agent, config, 0, key, games=options.games, seconds=seconds, openings=openings
        )

    first = played(0.0)
    cold_s = time.perf_counter() - started
    longer = played(options.seconds)
    made = DOMAIN.solution(game, instance, 0, longer.moves)
    assert not verify(program, made.solution), instance.name
    scores = (first.greedy, first.score, simulate(program, made.solution).saved_fraction)
    return {
        "program": instance.name,
        "production": production,
        "limit": float(game.limit[0]),
        **{k: 100 * DOMAIN.gain(s, production) for k, s in zip(GAINS, scores, strict=True)},
        "saved": scores[-1],
        "rounds": longer.rounds,
        "drop_backups": made.backtracks,
        "cold_s": cold_s,
    }


if __name__ == "__main__":
    main()
