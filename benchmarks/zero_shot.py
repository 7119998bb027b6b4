"""How the agent plays programs that it has not seen, once their shape is compiled, beside others.

    python benchmarks/zero_shot.py [--suite tpu_v4:test] [--checkpoint FOLDER] [--seconds 10]
        [--seeds 1,2,3] [--who agent,untrained,polished,local_search] [--no-openings]

Prints one JSON object for each program: gains over production (per cent of speed), means over the
seeds and what each of them gained.  Mappings are packed and judged.

- `network`: one game with the network's best action, looked up in a search of one ply.
- `policy`: the same without search.
- `agent`, `untrained`: as many rounds of games as the seconds allow, with the trained networks, and
  with fresh ones by the same procedure.
- `polished`: the agent for a fifth of the seconds, local search from its mapping in the rest; for
  another part of them with `polished:0.5`.
- `local_search`: alone, all seconds.

The first round is played twice: the first time compiles, and its seconds are `cold_s`.  The last
line has the means over the programs.  The checkpoint is the one that ships with the package,
without --checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from agent.config import Config
from agent.networks import Agent
from agent.run.loaded import untrained
from agent.run.play import Played, play
from agent.run.player import SHARE, judge_of
from agent.run.shipped import load_either
from gamekit.compiled import forget_if_full
from gamekit.domain import Instance
from gamekit.errors import InputError
from mallocgame.domain import DOMAIN
from mallocgame.judge import simulate, verify
from mallocgame.mappers.registry import MAPPERS
from mallocgame.program.mapping import Mapping

WHO = ("agent", "untrained", "polished", "local_search")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", nargs="+", default=["tpu_v4:test"])
    parser.add_argument("--checkpoint", type=Path, default=DOMAIN.shipped)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--games", type=int, default=32)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--who", default=",".join(WHO))
    parser.add_argument("--no-openings", dest="openings", action="store_false")
    parser.add_argument("--policy", action="store_true", help="one game without search too")
    options = parser.parse_args()
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.who = [name for name in options.who.split(",") if name]
    if unknown := [n for n in options.who if n.partition(":")[0] not in WHO]:
        parser.error(f"--who: must be among {', '.join(WHO)}, got {unknown[0]!r}")
    try:
        agent, config, spec = load_either(options.checkpoint)
        instances = DOMAIN.instances(options.suite)
    except InputError as error:
        parser.error(str(error))
    if missing := [instance.name for instance in instances if instance.reference is None]:
        parser.error(f"--suite: {missing[0]} has no production mapping")
    agents = {"agent": agent, "untrained": untrained(config, spec)}
    rows = []
    for instance in instances:
        forget_if_full()
        rows.append(_Contest(instance, agents, config, options).row())
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(_means(rows, options.who)))


def _means(rows: list[dict[str, Any]], who: list[str]) -> dict[str, Any]:
    gains = [name for name in ("network", "policy", *who) if name in rows[0]]
    found: dict[str, Any] = {"program": "mean", "programs": len(rows)}
    for name in gains:
        column = [row[name] for row in rows]
        found[name] = {
            "mean": statistics.fmean(column),
            "better": sum(gain > 0 for gain in column),
            "worst": min(column),
            "hybrid": statistics.fmean(max(gain, 0.0) for gain in column),
        }
        if name in who:
            seeds = zip(*(row[f"{name}_seeds"] for row in rows), strict=True)
            found[name]["seeds"] = [statistics.fmean(gains) for gains in seeds]
    return found


class _Contest:
    """All players on one program."""

    def __init__(
        self,
        instance: Instance,
        agents: dict[str, Agent],
        config: Config,
        options: argparse.Namespace,
    ):
        assert instance.reference is not None
        self.instance, self.agents, self.config, self.options = instance, agents, config, options
        self.production = simulate(instance.content, instance.reference).saved_fraction
        self.game = DOMAIN.build([instance], config.game.options)
        self.openings = DOMAIN.openings(self.game, instance) if options.openings else []

    def row(self) -> dict[str, Any]:
        started = time.perf_counter()
        first = self._played("agent", 0.0, 1)
        found: dict[str, Any] = {
            "program": self.instance.name,
            "production": self.production,
            "limit": float(self.game.limit[0]),
            "cold_s": time.perf_counter() - started,
            "network": self._gain(first.greedy),
        }
        if self.options.policy:
            search = dataclasses.replace(self.config.search, simulations=0)
            config = dataclasses.replace(self.config, search=search)
            alone = self._played("agent", 0.0, 1, config)
            found["policy"] = self._gain(alone.greedy)
        if self.options.who:
            # Rounds are played by another function, which is compiled here.
            self._played("agent", 1e-9, 1)
        players: dict[str, Callable[[int], Mapping]] = {
            "agent": lambda seed: self._mapping("agent", self.options.seconds, seed),
            "untrained": lambda seed: self._mapping("untrained", self.options.seconds, seed),
            "local_search": lambda seed: self._searched([], self.options.seconds, seed),
        }
        for name in self.options.who:
            if name.startswith("polished"):
                share = float(name.partition(":")[2] or SHARE)
                players[name] = functools.partial(self._polished, share)
        for name in self.options.who:
            gains = [self._judged(players[name](seed)) for seed in self.options.seeds]
            found |= {name: statistics.fmean(gains), f"{name}_seeds": gains}
        return found

    def _played(self, who: str, seconds: float, seed: int, config: Config | None = None) -> Played:
        return play(
            self.game,
            self.agents[who],
            config or self.config,
            0,
            jax.random.key(seed),
            games=self.options.games,
            seconds=seconds,
            openings=self.openings,
            judge=judge_of(DOMAIN, self.game, self.instance),
        )

    def _mapping(self, who: str, seconds: float, seed: int) -> Mapping:
        moves = self._played(who, seconds, seed).moves
        return DOMAIN.solution(self.game, self.instance, 0, moves).solution

    def _polished(self, share: float, seed: int) -> Mapping:
        started = time.perf_counter()
        start = self._mapping("agent", self.options.seconds * share, seed)
        left = self.options.seconds - (time.perf_counter() - started)
        return self._searched([start], max(left, 0.0), seed)

    def _searched(self, starts: list[Mapping], seconds: float, seed: int) -> Mapping:
        if starts:
            assert DOMAIN.polish is not None
            solved = DOMAIN.polish(self.instance, starts, seconds, seed)
            assert solved.solution is not None
            return solved.solution
        rules = self.config.game.options
        return MAPPERS["local_search"](self.instance.content, rules, seconds, seed).mapping

    def _judged(self, mapping: Mapping) -> float:
        program = self.instance.content
        assert not verify(program, mapping), self.instance.name
        return self._gain(simulate(program, mapping).saved_fraction)

    def _gain(self, score: float) -> float:
        return 100 * DOMAIN.gain(score, self.production)


if __name__ == "__main__":
    main()
