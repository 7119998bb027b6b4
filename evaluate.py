"""Compares mappers on a suite: latency, saved fraction, verdict of the judge, report.

    python evaluate.py --suite tpu_v4_sample --out results/sample
    python evaluate.py --suite tpu_v4_sample/NAME --checkpoint runs/NAME --out results/NAME

Mappers: `production` (the compiler's own mapping, replayed by the judge), `imitated` (its choices
with the game's places and copies), `all_fast`, `greedy`, `random`, `bound` (a proven limit that no
mapping passes); on demand `belady`, `msa` and `msa_library` (the compiler's algorithm, written
anew), and for `--budget` seconds each `local_search`, `game_search` (inside the game),
`evolution` and `milp`; with a checkpoint `played` (the trained agent plays `--games` games, the
best one counts), `untrained` (the same with fresh parameters), `trained_best` (the best game of the
training, where it was on this program), `agent` (the better of the two: what training and playing
came to) and `hybrid` (the better of agent and production).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mallocgame.jsonfile import InputError
from mallocgame.mapping import Mapping, load_mapping, save_mapping
from mallocgame.program import Program

RULES = ("production", "imitated", "all_fast", "greedy", "random")
OPPONENTS = ("belady", "msa", "msa_library", "local_search", "game_search", "evolution", "milp")
LEARNED = ("untrained", "played", "trained_best", "agent", "hybrid")
MAPPERS = (*RULES, *OPPONENTS, "bound", *LEARNED)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a mapper made of one program.

    mapping: None for the bound.
    bound_s: latency that it proved to be a limit, 0 if it proved nothing.
    """

    mapping: Mapping | None
    seconds: float
    decisions: int = 0
    drop_backups: int = 0
    bound_s: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code (2 for unusable input)."""
    try:
        return run(_parser().parse_args(arguments))
    except InputError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("evaluate.py: stopped; nothing was written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compares mappers on a suite and writes results, mappings and a report."
    )
    parser.add_argument(
        "--suite", required=True, help="a committed suite, one of its programs, a file or a folder"
    )
    parser.add_argument("--checkpoint", help="a training run's folder (runs/NAME)")
    parser.add_argument("--mappers", help=f"comma-separated, of {', '.join(MAPPERS)}")
    parser.add_argument("--out", required=True, help="a folder for results; must not hold any yet")
    parser.add_argument("--games", type=int, default=32, help="games the agent plays a program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds a program for mappers that search"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    return parser


def run(options: argparse.Namespace) -> int:
    """Evaluates as told.

    Raises:
      InputError: an option, a program, a mapping or the checkpoint cannot be used.
    """
    out = Path(options.out)
    mappers = _mappers(options)
    if (out / "results.json").exists() and not options.overwrite:
        raise InputError(f"--out {out}: holds results already; choose another or say --overwrite")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file")
    if options.games < 1:
        raise InputError(f"--games {options.games}: at least 1")
    if not 0 <= options.budget < float("inf"):
        raise InputError(f"--budget {options.budget}: is no time in seconds")

    # Imported late, so that a bad option is reported at once.
    from mallocgame.judge import simulate
    from mallocgame.program import load_program
    from mallocgame.report import print_results, summarize, write_report
    from mallocgame.suites import find_programs, load_production

    paths = find_programs([options.suite])
    programs = [load_program(path) for path in paths]
    rows: list[dict[str, Any]] = []
    layouts = []
    for path, program in zip(paths, programs, strict=True):
        print(f"{program.name}: {len(mappers)} mappers", file=sys.stderr)
        production = load_production(path, program)
        outcomes = Bench(options, program, production).run(mappers)
        mine = _rows(program, outcomes)
        rows += mine
        for name, outcome in outcomes.items():
            if outcome.mapping is None:
                continue
            save_mapping(
                outcome.mapping, out / "mappings" / f"{program.name}.{name}.mapping.json.gz"
            )
        best = max((r for r in mine if r["mapper"] != "bound"), key=lambda r: r["saved_fraction"])
        shown = dict.fromkeys(n for n in ("production", best["mapper"]) if n in outcomes)
        for name in shown:
            mapping = outcomes[name].mapping
            if mapping is not None:
                layouts.append((name, program, mapping, simulate(program, mapping)))
    results = {
        "suite": options.suite,
        "machine": sorted({program.machine.name for program in programs}),
        "versions": _versions(),
        "command": ["evaluate.py", *_command(options)],
        "rows": rows,
        "summary": summarize(rows),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, layouts, out / "report.html")
    print_results(results)
    print(f"results, mappings and report.html are in {out}")
    unverified = [r for r in rows if not r["verified"] and r["mapper"] != "production"]
    for row in unverified:
        print(f"{row['program']}: {row['mapper']}: the judge rejects it", file=sys.stderr)
    return 1 if unverified else 0


def _mappers(options: argparse.Namespace) -> tuple[str, ...]:
    if options.mappers is None:
        return (*RULES, "bound", *LEARNED) if options.checkpoint else (*RULES, "bound")
    names = tuple(dict.fromkeys(name.strip() for name in options.mappers.split(",")))
    for name in names:
        if name not in MAPPERS:
            raise InputError(f"--mappers {name!r}: unknown; of {', '.join(MAPPERS)}")
        if name in LEARNED and not options.checkpoint:
            raise InputError(f"--mappers {name}: needs --checkpoint")
    return names


class Bench:
    """Runs mappers on one program; what several of them need is made once."""

    def __init__(self, options: argparse.Namespace, program: Program, production: Mapping | None):
        from mallocgame.config import GameConfig
        from mallocgame.game import stack
        from mallocgame.tables import compile_program

        self.options = options
        self.program = program
        self.production = production
        self.agents = {}
        config = GameConfig()
        if options.checkpoint:
            from agent.config import load_config

            config = load_config(Path(options.checkpoint) / "config.yaml").game
        self.rules = config
        self.tables = compile_program(program, config)
        self.game = stack([self.tables], config)
        if options.checkpoint:
            from agent.checkpoint import load_agent

            self.agent, self.config = load_agent(options.checkpoint, self.game.observation_size)

    def run(self, mappers: Sequence[str]) -> dict[str, Outcome]:
        """The outcome of each mapper that applies to the program, in order."""
        outcomes: dict[str, Outcome] = {}
        for name in mappers:
            outcome = self._run(name, outcomes)
            if outcome is not None:
                outcomes[name] = outcome
        return outcomes

    def _run(self, name: str, outcomes: dict[str, Outcome]) -> Outcome | None:
        if name == "production":
            return self.production and Outcome(self.production, 0.0)
        if name == "bound":
            return self._bound(outcomes)
        if name == "trained_best":
            path = Path(self.options.checkpoint) / "best" / f"{self.program.name}.mapping.json"
            return Outcome(load_mapping(path, self.program), 0.0) if path.exists() else None
        if name in ("played", "untrained"):
            return self._play(name)
        if name == "agent":
            return self._better(outcomes, "played", "trained_best")
        if name == "hybrid":
            return self._better(outcomes, "agent", "production")
        return self._rule(name)

    def _bound(self, outcomes: dict[str, Outcome]) -> Outcome:
        from mallocgame.judge import simulate
        from mallocgame.mapping import all_slow

        started = time.perf_counter()
        proved = [outcome.bound_s for outcome in outcomes.values()]
        try:
            from mallocgame.mappers.bound import lower_bound

            proved.append(lower_bound(self.program).latency_s)
        except ImportError:  # without scipy: everything that fits in fast memory at no cost
            proved.append(simulate(self.program, all_slow(self.program)).floor_latency_s)
        return Outcome(None, time.perf_counter() - started, bound_s=max(proved))

    def _rule(self, name: str) -> Outcome | None:
        from mallocgame.mappers import rules
        from mallocgame.mappers.plans import play_plans
        from mallocgame.mappers.registry import MAPPERS as BY_NAME

        if name != "imitated":
            budget, seed = self.options.budget, self.options.seed
            mapped = BY_NAME[name](self.program, self.rules, budget, seed)
            return Outcome(
                mapped.mapping,
                mapped.seconds,
                mapped.decisions,
                mapped.drop_backups,
                mapped.info.get("bound_s", 0.0),
            )
        if self.production is None:
            return None
        started = time.perf_counter()
        played = play_plans(self.game, self.program, rules.imitate(self.tables, self.production))
        seconds = time.perf_counter() - started
        return Outcome(played.mapping, seconds, played.decisions, played.drop_backups)

    def _play(self, name: str) -> Outcome:
        import jax

        from agent.checkpoint import fresh_agent
        from agent.play import play
        from mallocgame.play import replay_game

        agent = self.agent
        if name == "untrained":
            agent = fresh_agent(self.config, self.game.observation_size)
        key = jax.random.key(self.options.seed)
        started = time.perf_counter()
        played = play(self.game, agent, self.config, 0, key, games=self.options.games)
        mapping, _ = replay_game(self.game, self.program, played.actions)
        seconds = time.perf_counter() - started
        return Outcome(mapping, seconds, len(played.actions), played.backups)

    def _better(self, outcomes: dict[str, Outcome], *names: str) -> Outcome | None:
        """The outcome with the lower latency of two mappers, run here if they were not."""
        from mallocgame.judge import simulate

        found = [outcomes.get(name) or self._run(name, outcomes) for name in names]
        times = [
            (simulate(self.program, o.mapping).latency_s, i)
            for i, o in enumerate(found)
            if o is not None and o.mapping is not None
        ]
        return found[min(times)[1]] if times else None


def _rows(program: Program, outcomes: dict[str, Outcome]) -> list[dict[str, Any]]:
    from mallocgame.judge import simulate, verify
    from mallocgame.mapping import all_slow

    production = outcomes.get("production")
    reference = simulate(program, production.mapping) if production else None  # type: ignore[arg-type]
    bound_s = max((outcome.bound_s for outcome in outcomes.values()), default=0.0)
    rows = []
    for name, outcome in outcomes.items():
        simulation = simulate(program, outcome.mapping or all_slow(program))
        latency = simulation.latency_s if outcome.mapping else bound_s
        slow = simulation.all_slow_latency_s
        speedup = reference.latency_s / latency - 1 if reference and latency > 0 else None
        closed = None
        limit = max(bound_s, simulation.floor_latency_s)
        if reference and reference.latency_s > limit:
            closed = (reference.latency_s - latency) / (reference.latency_s - limit)
        stalls = float(sum(w * s for w, s in zip(program.weights, simulation.stall_s, strict=True)))
        rows.append(
            {
                "program": program.name,
                "mapper": name,
                "latency_s": float(latency),
                "all_slow_latency_s": float(slow),
                "saved_fraction": float(1 - latency / slow) if slow > 0 else 0.0,
                "stall_fraction": stalls / slow if slow > 0 and outcome.mapping else 0.0,
                "speedup_vs_production": speedup,
                "gap_to_bound_closed": closed,
                "verified": outcome.mapping is None or not verify(program, outcome.mapping),
                "seconds": outcome.seconds,
                "decisions": outcome.decisions,
                "drop_backups": outcome.drop_backups,
            }
        )
    return rows


def _versions() -> dict[str, str]:
    from importlib import metadata

    names = ("jax", "flax", "optax", "mctx", "numpy")
    return {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in names}


def _command(options: argparse.Namespace) -> list[str]:
    words = []
    for key, value in vars(options).items():
        if isinstance(value, bool):
            words += [f"--{key}"] if value else []
        elif value is not None:
            words += [f"--{key}", str(value)]
    return words


if __name__ == "__main__":
    sys.exit(main())
