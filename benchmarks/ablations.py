"""What each part of the agent brings: trainings with one thing changed, at equal time.

    taskset -c 0 python benchmarks/ablations.py [--minutes 2] [--seeds 0,1,2]
        [--programs tpu_v4/moe_b1_inference,tpu_v4/whisper_b1_inference] [--variants one_ply,...]
        [--out results/ablations]
    taskset -c 0 python benchmarks/ablations.py --zero-shot [--suite tpu_v4:test] ...

Without --zero-shot each run trains on one program, and what counts is its best game's share of the
all-slow latency.  With it each run trains on many programs and then plays one game, without noise
and openings, of each program of --suite; what counts is the mean speed gained over production, with
the policy alone (`policy`) and with one ply (`network`).

A variant is a configuration, overrides, and a part of the game that is left out
(`benchmarks/ablated.py`).  Trainings use the devices that this process may use.  Compilation does
not count: the first run of a variant and a program fills the cache with two iterations.  Runs are
in OUT/runs and finished ones are not repeated, so the command can be interrupted and started again,
also with more seeds or variants.  One JSON object is printed for each run, seed after seed, then a
table of means and ranges over the seeds.  Writes OUT/ablations.json, or OUT/zero_shot.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LEARNED, ONE_PLY = "configs/single_program_learned.yaml", "configs/single_program.yaml"
# Fewer programs than the shipped agent has, so that demonstrations take a minute.
MANY = ("variants.count=31", "demonstration_seconds=0.5", "schedule.iterations=60")


class Variant(NamedTuple):
    """without: a part of `benchmarks/ablated.py`, "" for none."""

    config: str
    overrides: tuple[str, ...] = ()
    without: str = ""


VARIANTS = {
    "one_ply": Variant(ONE_PLY),
    "policy": Variant(ONE_PLY, ("search.simulations=0",)),
    "learned": Variant(LEARNED),
    "fine_tuned": Variant(ONE_PLY, ("train.start_from=mallocgame/checkpoint",)),
    "deeper": Variant(ONE_PLY, ("search.simulations=8", "search.max_depth=4")),
    "no_guided_games": Variant(ONE_PLY, ("rollout.guided_fraction=0",)),
    "no_prices": Variant(ONE_PLY, without="prices"),
    "proxy_reward": Variant(ONE_PLY, without="reward"),
}
ZERO_SHOT = {
    "all": Variant("configs/agent.yaml", MANY),
    "no_prices": Variant("configs/agent.yaml", MANY, "prices"),
    "no_teachers": Variant("configs/agent.yaml", (*MANY, "demonstrations=[]", "targets.taught=0")),
    "no_variants": Variant("configs/agent.yaml", (*MANY, "variants.count=0")),
    "policy": Variant("configs/agent.yaml", (*MANY, "search.simulations=0")),
    "learned": Variant("configs/agent_learned.yaml", MANY),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", default="tpu_v4/moe_b1_inference,tpu_v4/whisper_b1_inference")
    parser.add_argument("--zero-shot", action="store_true")
    parser.add_argument("--suite", nargs="+", default=["tpu_v4:test"], help="of --zero-shot")
    parser.add_argument("--variants", default="", help="names, with commas (default: all)")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training in each run")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("results/ablations"))
    options = parser.parse_args()
    known = ZERO_SHOT if options.zero_shot else VARIANTS
    names = options.variants.split(",") if options.variants else list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--variants: must be among {', '.join(known)}, got {unknown[0]!r}")
    programs = [""] if options.zero_shot else options.programs.split(",")
    rows = []
    for seed in map(int, options.seeds.split(",")):
        for name in names:
            for program in programs:
                run = _Run(options.out / "runs", name, known[name], program, seed, options.minutes)
                row = run.trained() | (run.played(options.suite) if options.zero_shot else {})
                rows.append(row)
                print(json.dumps(row), flush=True)
    file = "zero_shot.json" if options.zero_shot else "ablations.json"
    (options.out / file).write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(table(rows, ("policy", "network") if options.zero_shot else ("saved",))))
    return 0


class _Run(NamedTuple):
    runs: Path
    name: str
    variant: Variant
    program: str
    seed: int
    minutes: float

    @property
    def _stem(self) -> str:
        return f"{self.name}-{Path(self.program or 'many').name}"

    @property
    def _folder(self) -> Path:
        return self.runs / f"{self._stem}-seed{self.seed}-{self.minutes:g}min"

    def trained(self) -> dict[str, Any]:
        """What the run's metrics say; it is made unless it is finished."""
        if not (self._folder / "finished").exists():
            compiled = self.runs / f"{self._stem}-compiled"
            if not compiled.exists():
                self._train(compiled.name, 0, "train.iterations=2", "demonstration_seconds=0.01")
            self._train(self._folder.name, self.seed, f"train.minutes={self.minutes}")
            (self._folder / "finished").touch()
        lines = (self._folder / "metrics.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])
        best = last["best_saved"]
        return {
            "variant": self.name,
            "program": self.program,
            "seed": self.seed,
            "minutes": self.minutes,
            "saved": None if best is None or best < 0 else 100 * best,
            "iterations": last["step"],
            "games": last["games"],
        }

    def played(self, suite: list[str]) -> dict[str, Any]:
        """Mean gains over production, in per cent, and how many programs are better."""
        kept = self._folder / "zero_shot.jsonl"
        if not kept.exists():
            command = ["benchmarks/zero_shot.py", "--suite", *suite, "--policy", "--no-openings"]
            command += ["--who", "", "--games", "2", "--checkpoint", str(self._folder.absolute())]
            done = subprocess.run(
                self._started(command), cwd=ROOT, check=True, capture_output=True, text=True
            )
            kept.write_text(done.stdout)
        last = json.loads(kept.read_text().splitlines()[-1])
        means = {name: last[name]["mean"] for name in ("policy", "network")}
        return means | {f"{name}_better": last[name]["better"] for name in means}

    def _train(self, name: str, seed: int, *overrides: str) -> None:
        command = ["train.py", "--config", self.variant.config, "--runs", str(self.runs.absolute())]
        command += [f"name={name}", f"seed={seed}", *self.variant.overrides, *overrides]
        command += [f"programs=[{self.program}]"] if self.program else []
        subprocess.run(self._started(command), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def _started(self, command: list[str]) -> list[str]:
        ablated = ["-m", "benchmarks.ablated", self.variant.without] if self.variant.without else []
        return [sys.executable, *ablated, *command]


def table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Iterator[str]:
    """Lines of a Markdown table: mean and range over the seeds that have a figure."""
    programs = list(dict.fromkeys(row["program"] for row in rows))
    heads = [f"{Path(p).name} {c}".strip() for p in programs for c in columns]
    yield "| variant | " + " | ".join(heads) + " | iterations |"
    yield "|---" * (2 + len(heads)) + "|"
    for variant in dict.fromkeys(row["variant"] for row in rows):
        of_variant = [row for row in rows if row["variant"] == variant]
        cells = []
        for program in programs:
            for column in columns:
                found = [r[column] for r in of_variant if r["program"] == program]
                found = [x for x in found if x is not None]
                cells.append(_mean_and_range(found) if found else "none")
        iterations = statistics.fmean(row["iterations"] for row in of_variant)
        yield f"| {variant} | " + " | ".join(cells) + f" | {iterations:.0f} |"


def _mean_and_range(found: list[float]) -> str:
    return f"{statistics.fmean(found):.2f} ({min(found):.2f} to {max(found):.2f})"


if __name__ == "__main__":
    sys.exit(main())
