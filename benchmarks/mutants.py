"""Do the tests notice a bug?  A sample of mutants of the modules that others rest on.

    make mutants
    python benchmarks/mutants.py [--modules judge/reading,packing/greedy] [--share 0.5] [--seed 0] \
        [--out FILE]

Cosmic Ray (extra `mutation`) makes the mutants: an operator exchanged, a number one off, a loop
that does not run.  They are tried in a copy of the tree, one pytest each, with the tests named
below.  Each module has its number of mutants, drawn with the seed at different places of the
module; the same seed and the same source give the same mutants.  Prints one JSON object a module,
with the mutants that no test noticed, and one for each mutant to stderr.  With --out these are
appended to a file, and mutants that are in it are not tried again.

A mutant that only changes annotations, or `==` to `is`, is none: nothing runs otherwise, or the
linter refuses it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test, mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[1]


class Module(NamedTuple):
    """A module, the tests that are to notice its mutants, and how many of them are tried.

    jitted: Numba compiles it.  Its cache knows a file by its date and size, and does not see that a
      function of another file has changed: every mutant gets a cache of its own.
    """

    tests: str
    mutants: int
    jitted: bool = False


PYTEST = "-x -n 0 -m 'not slow' -p no:cacheprovider --hypothesis-seed=0"
HOUSE = "tests/mallocgame"
JUDGE = f"{HOUSE}/judge/test_verify.py {HOUSE}/judge/test_edges.py {HOUSE}/judge/test_messages.py"
READING = f"{JUDGE} {HOUSE}/judge/test_simulation.py"
TIMES = f"{HOUSE}/judge/test_simulation.py {HOUSE}/judge/test_edges.py"
FILES = f"{HOUSE}/program {HOUSE}/judge/test_verify.py"
RELAXATION = f"{HOUSE}/relaxation/test_rows.py {HOUSE}/relaxation"
# Without the test of the clock, which fails on a busy machine.
PACKING = f"{HOUSE}/packing/test_host.py -k 'not budget'"
GAME = f"{HOUSE}/game/test_game_vs_oracle.py -k default"
MODULES = {
    "judge/contents": Module(JUDGE, 20),
    "judge/reading": Module(READING, 20),
    "judge/simulation": Module(TIMES, 20),
    "program/mapping": Module(FILES, 6),
    "relaxation/bound": Module(RELAXATION, 8),
    "relaxation/rows": Module(RELAXATION, 8),
    "relaxation/relaxation": Module(RELAXATION, 8),
    "packing/host": Module(PACKING, 8),
    "packing/greedy": Module(PACKING, 12, jitted=True),
    "packing/repair": Module(PACKING, 12, jitted=True),
    "game/rules": Module(GAME, 18),
    "game/copies": Module(GAME, 18),
    "game/state": Module(GAME, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--modules", default=",".join(MODULES))
    parser.add_argument("--share", type=float, default=1.0, help="of each module's mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of the mutants tried; goes on where it was")
    options = parser.parse_args()
    out = options.out and options.out.absolute()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        copy_tree(tree)
        os.chdir(tree)
        for name in options.modules.split(","):
            count = max(1, round(MODULES[name].mutants * options.share))
            print(json.dumps(tried(name, count, options.seed, Path(folder), out)), flush=True)


def copy_tree(tree: Path) -> None:
    """Copies what git knows of, as it lies here."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for file in files:
        if (ROOT / file).is_file():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, tree / file)


def tried(
    name: str, count: int, seed: int, folder: Path, out: Path | None = None
) -> dict[str, object]:
    """Tries some mutants of a module; the current folder is the copy of the tree.

    out: file of one JSON object a mutant; those that it has are not tried again.

    Raises:
      SystemExit: the tests fail without a mutant.
    """
    path, module = Path(f"mallocgame/{name}.py"), MODULES[name]
    command = f"{sys.executable} -m pytest {module.tests} {PYTEST}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder / "numba")
    shutil.rmtree(folder / "numba", ignore_errors=True)
    began = time.perf_counter()
    if subprocess.run(command, shell=True, capture_output=True).returncode:
        raise SystemExit(f"{name}: its tests fail as it is: {command}")
    baseline = time.perf_counter() - began
    specs, known = mutants(path), lines_of(out)
    lines = []
    for spec in drawn(path, specs, count, f"{seed} {name}"):
        key = key_of(path, spec)
        if key not in known:
            if module.jitted:
                shutil.rmtree(folder / "numba", ignore_errors=True)
            result = mutate_and_test([spec], command, 10 + 3 * baseline)
            change = [line for line in (result.diff or "").splitlines() if line[:1] in "+-"][3:]
            known[key] = {
                "key": key,
                "module": name,
                "line": spec.start_pos[0],
                "outcome": result.test_outcome,
                "hung": result.output == "timeout",
                "change": change,
            }
            text = json.dumps(known[key])
            print(text, file=sys.stderr, flush=True)
            if out:
                with out.open("a") as file:
                    file.write(text + "\n")
        lines.append(known[key])
    survivors = [line for line in lines if line["outcome"] != TestOutcome.KILLED]
    return {
        "module": name,
        "mutants": len(specs),
        "tried": len(lines),
        "killed": len(lines) - len(survivors),
        "seconds": round(time.perf_counter() - began),
        "tests_s": round(baseline, 1),
        "survivors": survivors,
    }


def lines_of(out: Path | None) -> dict[str, dict[str, object]]:
    """The mutants that a file says were tried, by key."""
    if out is None or not out.exists():
        return {}
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    return {line["key"]: line for line in lines}


def key_of(path: Path, spec: MutationSpec) -> str:
    """What names a mutant, as long as its module's text stays as it is."""
    arguments = json.dumps(spec.operator_args, sort_keys=True)
    parts = (path.read_text(), spec.operator_name, arguments, str(spec.occurrence))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def mutants(path: Path) -> list[MutationSpec]:
    """All mutants of a module but those of style, in a fixed order."""
    with use_db(":memory:") as database:
        init([path], database, {})
        specs = [spec for item in database.work_items for spec in item.mutations]
    specs.sort(key=lambda s: (s.start_pos, s.operator_name, s.occurrence))
    return [spec for spec in specs if not _of_style(spec.operator_name)]


def _of_style(operator: str) -> bool:
    """Whether it turns equality into identity or back."""
    kinds = operator.rpartition("ReplaceComparisonOperator_")[2].split("_")
    return len({kind in ("Is", "IsNot") for kind in kinds}) == 2


def runs_otherwise(source: str, spec: MutationSpec) -> bool:
    """Whether a mutant of a module's text is more than another annotation."""
    operator = get_operator(spec.operator_name)(**spec.operator_args)
    return meaning(mutate_code(source, operator, spec.occurrence) or source) != meaning(source)


def meaning(source: str) -> str:
    """What of a module's text matters when it runs: all but annotations."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def drawn(path: Path, specs: list[MutationSpec], count: int, seed: str) -> list[MutationSpec]:
    """Some of a module's mutants, no two at the same place as long as there are others."""
    source, rng = path.read_text(), random.Random(seed)
    left: dict[tuple[int, int], list[MutationSpec]] = {}
    for spec in specs:
        left.setdefault(spec.start_pos, []).append(spec)
    chosen: list[MutationSpec] = []
    while left:
        for place in rng.sample(list(left), len(left)):
            if len(chosen) == count:
                return chosen
            spec = left[place].pop(rng.randrange(len(left[place])))
            if runs_otherwise(source, spec):
                chosen.append(spec)
            if not left[place]:
                del left[place]
    return chosen


if __name__ == "__main__":
    main()
