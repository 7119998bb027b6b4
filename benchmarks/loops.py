"""The game of loops by the clock: how well the model ranks nests, and how fast what is found is.

    python benchmarks/loops.py model MEASURED.jsonl [--again AGAIN.jsonl]
        [--out docs/results/data/loops_model.json]
    OPENBLAS_NUM_THREADS=1 python benchmarks/loops.py found --rows ROWS.jsonl [--seconds 10]
        [--checkpoint runs/loops] [--suite mm64_256_16/test/0-24] [--searches random]
        [--out docs/results/data/loops_found.json]

`model` takes nests that `python -m games.loops measure` timed; AGAIN.jsonl has nests that it timed
a second time, with the same seed, which says how far the clock agrees with itself.  `found` has
every opponent search on the model for so many seconds a matmul, and the agent, without search, for
--agent-seconds; then the kernels of all of them, of numpy and of the compiler take turns.  Rows
that are in --rows are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from games.loops.fit.campaign import commit
from games.loops.fit.fit import agreement, is_held_out, predicted, read_samples
from games.loops.judge.compiler import machine as this
from games.loops.mappers.libraries import compared
from games.loops.mappers.registry import run
from games.loops.program.cost import seconds
from games.loops.program.machine import machine
from games.loops.program.nest import from_record
from games.loops.suites import find

SEARCHES = ("greedy1", "greedy2", "beam2", "beam4", "random", "local_search")
AGENT = "agent"
KERNELS = ("start", "gcc", "numpy")
TENS = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    model = parts.add_parser("model")
    model.add_argument("measured", type=Path, nargs="+")
    model.add_argument("--again", type=Path)
    found = parts.add_parser("found")
    found.add_argument("--rows", type=Path, required=True)
    found.add_argument("--suite", nargs="+", default=["mm64_256_16/test/0-24"])
    found.add_argument("--seconds", type=float, default=10.0)
    found.add_argument("--searches", default=",".join(SEARCHES))
    found.add_argument("--checkpoint", type=Path)
    found.add_argument("--agent-seconds", type=float, default=2.0)
    found.add_argument("--games", type=int, default=64)
    for part in (model, found):
        part.add_argument("--out", type=Path, help="the table, in the format of docs/results")
    options = parser.parse_args()
    table = _model(options) if options.part == "model" else _found(options)
    if options.out:
        options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _table(title: str, question: str, command: list[str], columns: list, rows: list, notes: list):
    return {
        "title": title,
        "question": question,
        "command": command,
        "commit": commit(),
        "date": date.today().isoformat(),
        "machine": f"one core of {this()}, a virtual machine that is shared",
        "columns": columns,
        "rows": rows,
        "notes": notes,
    }


def _column(name: str, unit: str = "", decimals: int | None = None) -> dict[str, Any]:
    return {"name": name, "unit": unit} | ({} if decimals is None else {"decimals": decimals})


def _model(options: argparse.Namespace) -> dict[str, Any]:
    samples = [x for path in options.measured for x in read_samples(path, this())]
    of = machine()
    rows = []
    parts = [("fitted computations", [x for x in samples if not is_held_out(x)])]
    held_out = [x for x in samples if is_held_out(x)]
    parts.append(("held out", held_out))
    parts.append(
        (
            "held out, matmuls",
            [x for x in held_out if x.computation.text.startswith("C[m, n] += A[m, k] * B[k, n]")],
        )
    )
    compared_with = [(name, part, predicted(part, of)) for name, part in parts]
    if options.again:
        timed = {
            (x.computation.text, x.nest): x.speedup for x in read_samples(options.again, this())
        }
        part = [x for x in samples if (x.computation.text, x.nest) in timed]
        again = np.log([timed[x.computation.text, x.nest] for x in part])
        compared_with.append(("the clock, once more", part, again))
    for name, part, modelled in compared_with:
        measured = np.log([x.speedup for x in part])
        got = agreement(part, modelled)
        # Of ten nests by chance the one that the model takes for the fastest, by the clock.
        rng, worse = np.random.default_rng(0), []
        for _ in range(1000):
            ten = rng.choice(len(part), TENS, replace=False)
            worse.append(measured[ten].max() - measured[ten[modelled[ten].argmax()]])
        loss = 100 * (math.exp(float(np.mean(worse))) - 1)
        rows.append(
            [name, got.nests, round(got.spearman, 3), round(got.typical, 3), round(loss, 1)]
        )
        print(json.dumps(rows[-1]), flush=True)
    columns = [
        _column("nests"),
        _column("number"),
        _column("rank correlation", "", 3),
        _column("typical factor", "", 3),
        _column("slower than the best of ten", "%", 1),
    ]
    names = " ".join(path.name for path in options.measured)
    return _table(
        "Model and clock",
        "Does the cost model rank loop nests as the clock does?",
        [
            "python -m games.loops measure measured.jsonl --minutes 15 --seed 1",
            "python -m games.loops measure again.jsonl --minutes 2 --seed 1",
            f"python benchmarks/loops.py model {names} --again again.jsonl",
        ],
        columns,
        rows,
        [
            "Speed-ups over the starting nest, of nests by chance, by the model and by the clock. "
            "The nests were timed after the model was fitted, to others. Of a fifth of the "
            "computations, the held-out ones, it was fitted to no nest.",
            "the clock, once more: how far two measurements of one nest agree.",
            "typical factor: the geometric mean of by what factor the model is off.",
            "slower than the best of ten: by how much the model's choice among ten nests is slower "
            "by the clock than the fastest of the ten, the geometric mean over 1,000 draws.",
        ],
    )


def _found(options: argparse.Namespace) -> dict[str, Any]:
    known = {}
    if options.rows.exists():
        lines = [json.loads(x) for x in options.rows.read_text().splitlines()]
        known = {(x["computation"], x["seconds"], x["checkpoint"]): x for x in lines}
    searches = options.searches.split(",")
    computations = [c for _, c in find(options.suite)]
    checkpoint = str(options.checkpoint) if options.checkpoint else None
    play = _player(options, computations) if options.checkpoint else None
    rows = []
    for number, computation in enumerate(computations):
        key = (computation.name, options.seconds, checkpoint)
        if key not in known:
            nests, took = {}, {}
            for name in searches:
                began = time.perf_counter()
                nests[name] = run(name, computation, seconds, options.seconds).nest
                took[name] = time.perf_counter() - began
            if play is not None:
                began = time.perf_counter()
                nests[AGENT] = play(number)
                took[AGENT] = time.perf_counter() - began
            row = dict(zip(("computation", "seconds", "checkpoint"), key, strict=True))
            row |= {"macs": computation.macs, "times": compared(computation, nests), "took": took}
            known[key] = row
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
        rows.append(known[key])
        print(json.dumps(rows[-1]), flush=True)
    return _found_table(options, rows)


def _player(options: argparse.Namespace, computations: list):
    import jax

    from agent.run.play import play
    from agent.run.shipped import load_either
    from games.loops.domain import DOMAIN

    instances = DOMAIN.instances(options.suite)
    agent, config, _ = load_either(options.checkpoint)
    game = DOMAIN.build(instances, config.game.options)
    key = jax.random.key(0)

    def once(number: int, seconds_each: float):
        best = play(game, agent, config, number, key, games=options.games, seconds=seconds_each)
        made = DOMAIN.solution(game, instances[number], number, best.moves)
        return from_record(made.solution, computations[number])

    once(0, options.agent_seconds)  # compiles
    return lambda number: once(number, options.agent_seconds)


def _found_table(options: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, Any]:
    lines = []
    for name in (*KERNELS, *SEARCHES, AGENT):
        if name not in rows[0]["times"]:
            continue
        speed = [row["times"]["start"] / row["times"][name] for row in rows]
        rate = [2e-9 * row["macs"] / row["times"][name] for row in rows]
        of_numpy = [row["times"]["numpy"] / row["times"][name] for row in rows]
        took = [row["took"][name] for row in rows] if name in rows[0]["took"] else None
        lines.append(
            [
                name,
                round(statistics.geometric_mean(speed), 3),
                round(statistics.median(rate), 1),
                round(statistics.geometric_mean(of_numpy), 3),
                None if took is None else round(statistics.fmean(took), 2),
            ]
        )
        print(json.dumps(lines[-1]), flush=True)
    command = (
        "OPENBLAS_NUM_THREADS=1 python benchmarks/loops.py found --rows rows.jsonl "
        f"--seconds {options.seconds:g} --suite {' '.join(options.suite)}"
    )
    if options.searches != ",".join(SEARCHES):
        command += f" --searches {options.searches}"
    if options.checkpoint:
        command += f" --checkpoint {options.checkpoint} --agent-seconds {options.agent_seconds:g}"
    columns = [
        _column("kernel"),
        _column("speed-up over the start", "", 2),
        _column("median GFLOPS", "", 1),
        _column("share of numpy's speed", "", 2),
        _column("search", "s", 2),
    ]
    return _table(
        f"{len(rows)} held-out matmuls by the clock",
        "How fast are the nests that the agent and the searches find?",
        [command],
        columns,
        lines,
        [
            "All kernels of a matmul take turns on one core, and every result is checked against "
            "numpy. Searches and agent see the model alone; nothing is measured before the end.",
            "gcc: -O3 of the plain loops of the starting nest, which it may vectorise as it likes.",
        ],
    )


if __name__ == "__main__":
    main()
