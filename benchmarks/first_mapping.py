"""Seconds from a program's file to the agent's first mapping, in a process of its own.

    python benchmarks/first_mapping.py tpu_v4/whisper_b1_inference [--games 32] [--seconds 10]

Prints one JSON object: `load` of agent and program, `build` of the game, `openings`, `first`, one
round of games of the policy alone, `pack`, which makes it a mapping, their sum `first_mapping`,
`again`, another round with everything compiled, and the gains over production of the first mapping
and of the best after `--seconds` more (per cent of speed).  Imports are not counted.  Compiled
programs are kept between processes if JAX_COMPILATION_CACHE_DIR names a folder.
"""

from __future__ import annotations

import argparse
import json
import time

import jax

from agent.run.play import Played, play
from agent.run.player import judge_of
from agent.run.shipped import load_either
from mallocgame.domain import DOMAIN
from mallocgame.judge import simulate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("--games", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    marks = {"load": time.perf_counter()}
    assert DOMAIN.shipped is not None
    agent, config, _ = load_either(DOMAIN.shipped)
    (instance,) = DOMAIN.instances([options.program])
    program, reference = instance.content, instance.reference
    assert reference is not None, f"{instance.name}: has no production mapping"
    production = simulate(program, reference).saved_fraction
    marks["build"] = time.perf_counter()
    game = DOMAIN.build([instance], config.game.options)
    marks["openings"] = time.perf_counter()
    openings = DOMAIN.openings(game, instance)

    def played(seconds: float) -> Played:
        return play(
            game, agent, config, 0, jax.random.key(1), games=options.games, seconds=seconds,
            openings=openings, judge=judge_of(DOMAIN, game, instance),
        )  # fmt: skip

    def gain(game_played: Played) -> float:
        mapping = DOMAIN.solution(game, instance, 0, game_played.moves).solution
        return 100 * DOMAIN.gain(simulate(program, mapping).saved_fraction, production)

    marks["first"] = time.perf_counter()
    first = played(1e-9)
    marks["pack"] = time.perf_counter()
    gained = gain(first)
    marks["again"] = time.perf_counter()
    played(1e-9)
    ends = [*list(marks.values())[1:], time.perf_counter()]
    found = {name: end - begin for (name, begin), end in zip(marks.items(), ends, strict=True)}
    found["first_mapping"] = marks["again"] - marks["load"]
    best = gain(played(options.seconds))
    figures = {"first_gain": gained, "best_gain": best}
    print(json.dumps({"program": instance.name, **found, **figures}))


if __name__ == "__main__":
    main()
