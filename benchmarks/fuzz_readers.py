"""Damaged files for every reader, many of them, and how many each reader got.

    python benchmarks/fuzz_readers.py --out fuzzed.jsonl [--count 200000] [--seed 1000]

The inputs come in batches of 1,000, each of a seed of its own, and each leaves a line in the file.
A run that is begun again leaves out the batches whose lines are there.  What a reader fails on,
other than by an InputError of one line, stands in the line of its batch and is kept beside the
file; the run goes on.  Prints what each reader got.  Exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from tests.support.fuzz_readers import all_readers, inputs, outcome

BATCH = 1_000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1_000, help="of the first batch")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    logging.disable()
    lines: dict[int, dict[str, Any]] = {}
    if options.out.exists():
        for text in options.out.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line of a run that was killed
                lines[json.loads(text)["seed"]] = json.loads(text)
    seeds = range(options.seed, options.seed + -(-options.count // BATCH))
    with options.out.open("a", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            if seed not in lines:
                lines[seed] = batch(seed, Path(folder), options.out.parent)
                file.write(json.dumps(lines[seed]) + "\n")
                file.flush()
    return report([lines[seed] for seed in seeds])


def batch(seed: int, folder: Path, kept: Path) -> dict[str, Any]:
    """Reads one batch; what readers failed on is written to `kept`."""
    counts: collections.Counter[str] = collections.Counter()
    failed, began = [], time.process_time()
    for number, (reader, content) in enumerate(inputs(BATCH, seed, all_readers())):
        got = outcome(reader, folder / reader.file, content)
        if got not in ("read", "refused"):
            (kept / f"failed_{seed}_{number}_{reader.file}").write_bytes(content)
            failed.append([number, reader.file, got])
            got = "failed"
        counts[f"{reader.file} {got}"] += 1
    seconds = round(time.process_time() - began, 1)
    return {"seed": seed, "seconds": seconds, "counts": counts, "failed": failed}


def report(lines: list[dict[str, Any]]) -> int:
    """Prints a line for each reader, and one for each failure."""
    total: collections.Counter[str] = collections.Counter()
    for line in lines:
        total.update(line["counts"])
    for name in sorted({key.rpartition(" ")[0] for key in total}):
        read, refused, failed = (total[f"{name} {got}"] for got in ("read", "refused", "failed"))
        print(json.dumps({"reader": name, "read": read, "refused": refused, "failed": failed}))
    for line in lines:
        for number, name, got in line["failed"]:
            print(f"seed {line['seed']}, input {number}, {name}: {got}")
    seconds = round(sum(line["seconds"] for line in lines))
    print(json.dumps({"inputs": total.total(), "process_s": seconds}))
    return 1 if any(line["failed"] for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
