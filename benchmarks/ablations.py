"""What each part of the agent brings: runs with one thing changed, at equal training time.

    taskset -c 0 python benchmarks/ablations.py [--minutes 10] [--seeds 0,1,2]
        [--programs tpu_v4/muzero_b128_train,tpu_v4/t5_decode_b8] [--variants base,one_ply]
        [--out results/ablations]

Every run is `train.py --config configs/single_program_learned.yaml` with the overrides of
`VARIANTS`, on the devices that this process may use; `one_ply` uses configs/single_program.yaml.
Compilation does not count: the first run of a variant and a program fills the cache with two
iterations.  Runs are in OUT/runs and finished ones are not repeated, so the command can be
interrupted and started again, also with more seeds or variants.  Writes OUT/ablations.json and
prints a table of the share of the all-slow latency that the best game of the training saves: mean
over the seeds that have one, and range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEARNED, ONE_PLY = "configs/single_program_learned.yaml", "configs/single_program.yaml"
VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "simulations_32": ("search.simulations=32",),
    "simulations_128": ("search.simulations=128",),
    "game_as_model": ("search.model=game",),
    "one_ply": (),
    "reanalyse": ("reanalyse.every=8",),
    "parts": ("network.encoder=parts",),
    "no_guided_games": ("rollout.guided_fraction=0",),
    "no_deviating_games": ("rollout.deviating=0",),
    "demonstrations": ("demonstrations=[production,local_search]",),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", default="tpu_v4/muzero_b128_train,tpu_v4/t5_decode_b8")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--minutes", type=float, default=10.0, help="of training in each run")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("results/ablations"))
    options = parser.parse_args()
    variants = options.variants.split(",")
    if unknown := [name for name in variants if name not in VARIANTS]:
        parser.error(f"--variants: must be among {', '.join(VARIANTS)}, got {unknown[0]!r}")
    rows = []
    for variant in variants:
        for program in options.programs.split(","):
            for seed in map(int, options.seeds.split(",")):
                rows.append(_row(options.out / "runs", variant, program, seed, options.minutes))
                print(json.dumps(rows[-1]), flush=True)
    (options.out / "ablations.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(_table(rows))
    return 0


def _row(runs: Path, variant: str, program: str, seed: int, minutes: float) -> dict:
    """The result of a run, which is made unless it is finished."""
    short = f"{variant}-{Path(program).name}"
    name = f"{short}-seed{seed}-{minutes:g}min"
    marker = runs / name / "finished"
    if not marker.exists():
        if not (runs / f"{short}-compiled").exists():
            _train(runs, variant, program, 0, f"{short}-compiled", "train.iterations=2")
        _train(runs, variant, program, seed, name, f"train.minutes={minutes}")
        marker.touch()
    lines = (runs / name / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    best = last["best_saved"]
    return {
        "variant": variant,
        "program": program,
        "seed": seed,
        "minutes": minutes,
        "saved": None if best is None or best < 0 else best,
        "iterations": last["step"],
        "games": last["games"],
        "undone_share": statistics.fmean(json.loads(line)["undone_share"] for line in lines),
    }


def _train(runs: Path, variant: str, program: str, seed: int, name: str, length: str) -> None:
    config = ONE_PLY if variant == "one_ply" else LEARNED
    command = [sys.executable, "train.py", "--config", config]
    command += ["--runs", str(runs.absolute()), f"programs=[{program}]", f"name={name}"]
    command += [f"seed={seed}", length, *VARIANTS[variant]]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _table(rows: list[dict]) -> str:
    programs = list(dict.fromkeys(row["program"] for row in rows))
    lines = ["| variant | " + " | ".join(Path(p).name for p in programs) + " |"]
    lines.append("|---" * (1 + len(programs)) + "|")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for program in programs:
            mine = [r for r in rows if (r["variant"], r["program"]) == (variant, program)]
            saved = [100 * row["saved"] for row in mine if row["saved"] is not None]
            iterations = statistics.fmean(row["iterations"] for row in mine)
            # Runs that found nothing better than all of it in slow memory are left out.
            found = "none"
            if saved:
                found = f"{statistics.fmean(saved):.2f} % ({min(saved):.2f} to {max(saved):.2f})"
            cells.append(f"{found}, {iterations:.0f} iterations")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
