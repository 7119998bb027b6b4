"""How often each scheduler of the game of fences finds the proven optimum.

    python benchmarks/fences.py --checkpoint runs/fences [--suite NAME ...] [--seconds 2]
        [--games 32] [--out docs/results/data/fences.json]

Programs of up to 12 operations, whose optimum the exhaustive search proves.  Prints one JSON object
for each program, with every scheduler's excess cost over the optimum as the judge counts it, and
one for each suite.  The agent is counted three times: the network's best action everywhere, the
best of the first round of games, and the best of all games in the seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from datetime import date
from pathlib import Path
from typing import Any

import jax

from agent.run.play import play
from agent.run.shipped import load_either
from gamekit.domain import Instance
from games.fences.domain import DOMAIN, text_of
from games.fences.mappers.exhaustive import exhaustive
from games.fences.mappers.registry import MAPPERS

SUITES = ("worked", "handmade", "generated/6-8/0-49", "generated/9-10/0-49", "generated/11-12/0-49")
RULES = ("naive", "batching", "critical_path")
AGENT = ("network", "first_round", "in_time")
# What is so little above the optimum is the optimum, in float32.
SAME = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="a training run's folder")
    parser.add_argument("--suite", nargs="+", default=list(SUITES))
    parser.add_argument("--seconds", type=float, default=2.0, help="for the agent, a program")
    parser.add_argument("--games", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the table, in the format of docs/results")
    options = parser.parse_args()
    suites = {name: DOMAIN.instances([name]) for name in options.suite}
    # One environment of all: it is compiled once.
    everything = [instance for group in suites.values() for instance in group]
    agent, config, _ = load_either(options.checkpoint)
    game = DOMAIN.build(everything, config.game.options)
    key, rows, number = jax.random.key(options.seed), [], 0

    def played(at: int, seconds: float):
        return play(game, agent, config, at, key, games=options.games, seconds=seconds)

    played(0, 0.0)  # compiles
    for name, group in suites.items():
        found = []
        for instance in group:
            row = _simple(instance)
            best = played(number, options.seconds)
            made = DOMAIN.solution(game, instance, number, best.moves).solution
            first = float(best.every[: options.games].max())
            judged = DOMAIN.judge(instance, made)
            assert judged.valid, judged.why
            scores = zip(AGENT, (best.greedy, first, judged.score), strict=True)
            optimum = row["saved"]
            row |= {k: float((optimum - score) / (1 - optimum)) for k, score in scores}
            row |= {"suite": name, "games": len(best.every)}
            found.append(row)
            print(json.dumps(row), flush=True)
            number += 1
        rows.append(_summary(name, found))
        print(json.dumps(rows[-1]), flush=True)
        if options.out:
            _write(options, rows)


def _simple(instance: Instance) -> dict[str, Any]:
    """The optimum's saved share, and each rule's excess cost over it."""
    program = instance.content
    started = time.perf_counter()
    found = exhaustive(program)
    seconds = time.perf_counter() - started
    best = DOMAIN.judge(instance, text_of(program, found.placements))
    assert found.proven and best.valid, instance.name
    row = {"program": instance.name, "saved": best.score, "exhaustive_s": seconds}
    for name in RULES:
        judged = DOMAIN.judge(instance, text_of(program, MAPPERS[name](program, 0).placements))
        assert judged.valid, judged.why
        row[name] = judged.figures["cost"] / best.figures["cost"] - 1
    return row


def _summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Per cent of programs at their optimum, and the mean of what is saved at it."""
    found = {k: 100 * statistics.fmean(row[k] < SAME for row in rows) for k in (*RULES, *AGENT)}
    saved = 100 * statistics.fmean(row["saved"] for row in rows)
    excess = 100 * statistics.fmean(row["in_time"] for row in rows)
    return {"suite": name, "programs": len(rows), "saved": saved, **found, "excess": excess}


def _write(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    keys = ("suite", "programs", "saved", *RULES, *AGENT, "excess")
    names = {"saved": "saved at the optimum", "excess": "agent's excess cost"}
    total = sum(row["programs"] for row in rows)
    overall = {k: sum(row[k] * row["programs"] for row in rows) / total for k in keys[2:]}
    lines = [*rows, {"suite": "all", "programs": total, **overall}]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    table = {
        "title": "Programs of up to 12 operations at their proven optimum",
        "question": "Does the agent find optimal schedules of fences and syncs?",
        "command": [
            "python train.py --config configs/fences.yaml",
            f"python benchmarks/fences.py --checkpoint runs/fences --seconds {options.seconds:g}",
        ],
        "commit": commit,
        "date": date.today().isoformat(),
        "machine": "one x86-64 core of a virtual machine, shared with other work, jax "
        f"{jax.__version__}, no accelerator",
        "columns": [
            {"name": "suite", "unit": ""},
            {"name": "programs", "unit": ""},
            *(
                {"name": names.get(k, k), "unit": "%", "decimals": 2 if k == "excess" else 1}
                for k in keys[2:]
            ),
        ],
        "rows": [
            [row[k] if isinstance(row[k], str | int) else round(row[k], 2) for k in keys]
            for row in lines
        ],
        "notes": [
            "The optimum is proven by the exhaustive search, and every schedule is judged. From "
            "the rules on, columns say how many of the programs are at their optimum.",
            "network: the best action everywhere; first_round: the best of "
            f"{options.games} games; in_time: the best of all games in {options.seconds:g} s.",
            "Generated programs are not those of the training. One seed.",
        ],
    }
    options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
