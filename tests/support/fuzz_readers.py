"""Damaged files for every reader; `benchmarks/fuzz_readers.py` runs them for long.

Each input is a valid file with a few changes: bytes, pieces of text, values of a kind that does not
belong there.  A reader must make something usable of it or raise an InputError of one line.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.config import load_config, save_config
from agent.run.journal import truncate
from gamekit.errors import InputError
from gamekit.evaluation.rows import row_record
from gamekit.evaluation.rows_file import RowsFile
from gamekit.text import MAX_LINE
from games.cores.judge import judge
from games.cores.problem import load_problem
from games.cores.problem.schedule import load_schedule
from games.cores.stream.convert import import_problem
from mallocgame.domain import DOMAIN
from mallocgame.evaluation import compare
from mallocgame.evaluation.results import load_results, load_rows
from mallocgame.judge import simulate, verify
from mallocgame.judge.minimalloc import pack, read_csv
from mallocgame.program import load_program
from mallocgame.program.mapping import load_mapping
from mallocgame.report.statistics import summarize
from mallocgame.report.suite_pictures import load_metrics
from mallocgame.report.tables import markdown, result_tables
from mallocgame.suites import INDEX, INDEX_FORMAT, INDEX_VERSION, find_programs
from mallocgame.xla.make.build import read_list
from tests.support.agent_readers import agent_readers
from tests.support.compiler_readers import COMPILERS
from tests.support.cores import CORES, STREAM_FILES, cores_problem_record, cores_schedule_record
from tests.support.program_files import PROGRAM, mapping_record, record_of
from tests.support.sibling_readers import SIBLINGS

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**40, -(10**400), 1.5, 1e300, float("nan"),
    float("inf"), float("-inf"), "", "x", "../../x", "/x", "a\0b", "\ud800", "\x1b[2J", "[/]",
    "n" * 3_000, [], [[]], {}, {"a": 1}, [None] * 30, "ok", "failed", "read", "train",
]  # fmt: skip
PIECES = [
    "NaN", "Infinity", "1e999", "-", "\\ud800", '"', "[", "{", "}" * 3, ",", ":", "\n", "\0", "&a",
    "*a", "!!python/object:os.system", "- ", "'", "9" * 5_000, "[" * 3_000, "\t", "\r", "#",
    "${oc.env:HOME}", "${x}", "\ufeff", "null", "~", "<<: 1",
]  # fmt: skip
ROW = {
    "program": "file", "fingerprint": PROGRAM.fingerprint, "mapper": "greedy", "budget_s": None,
    "seed": 0, "status": "ok", "reason": "", "saved_fraction": 0.25, "verified": True,
    "violation": None, "seconds": 1.0, "decisions": 3, "drop_backups": 0, "mapping": "m.json.gz",
    "latency_s": 1.5, "all_slow_latency_s": 2.0, "floor_latency_s": 0.5, "stall_fraction": 0.0,
    "bound_s": 0.0, "speedup_vs_production": 0.1, "gap_to_bound_closed": None,
}  # fmt: skip
ROWS = [ROW, ROW | {"seed": 1, "saved_fraction": 0.5}, ROW | {"mapper": "bound", "mapping": None}]
ROWS += [ROW | {"mapper": "msa", "status": "failed", "saved_fraction": None, "verified": None}]
RESULTS = {"suite": "s", "names": ["s"], "machine": ["m"], "versions": {"jax": "1"},
           "command": ["mallocgame"], "rows": ROWS}  # fmt: skip
CONFIGURATION = {"game": 1, "seeds": [0, 1]}
METRIC = {"step": 1, "wall_s": 2.0, "best_saved": 0.2, "return_mean": 0.1, "return_min": 0.0,
          "return_max": 0.3}  # fmt: skip
LIST = """- name: one
  split: train
  function: mallocgame.suites.models.vision:alexnet
  family: alexnet
  source: own definition
  chip: v4
  arguments: {batch: 16, train: true}
"""
CSV = "id,lower,upper,size,offset\nb1,0,3,4,0\nb2,3,9,4,4\n"


class Reader(NamedTuple):
    """How one kind of file is called, what it holds when all is well, and who reads it.

    share: how often it is chosen, for those that take long.
    """

    file: str
    valid: Any
    read: Callable[[Path], None]
    share: float = 1.0


def _mapping(path: Path) -> None:
    mapping = load_mapping(path)
    verify(PROGRAM, mapping)
    simulate(PROGRAM, mapping)


def _index(path: Path) -> None:
    (path.parent / "one.program.json").touch()
    find_programs([f"{path.parent}:train"])


def _results(path: Path) -> None:
    rows = load_rows(path)
    compare._tables(compare.compare({"rows": rows}, {"rows": rows}))
    load_results(path)


def _rows(path: Path) -> None:
    file = RowsFile(DOMAIN, path.parent, CONFIGURATION)
    file.close()
    rows = [row_record(DOMAIN, row) for row in DOMAIN.compared(list(file.found.values()))]
    if rows:
        markdown(result_tables({"suite": "s", "rows": rows, "summary": summarize(rows)}))


def _metrics(path: Path) -> None:
    for line in load_metrics(path.parent):
        assert all(v is None or abs(v) < float("inf") for v in line.values())
    truncate(path, 1)


def _config(path: Path) -> None:
    save_config(load_config(path), path.with_name("again.yaml"))
    load_config(path.with_name("again.yaml"))


def _override(path: Path) -> None:
    lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    base = path.with_name("base.yaml")
    base.write_text("name: x\n")
    load_config(base, lines)


def _cores_schedule(path: Path) -> None:
    judge(CORES, load_schedule(path, CORES))


def _stream(path: Path) -> None:
    """The file among sound ones."""
    for name, text in STREAM_FILES.items():
        if name != path.name:
            (path.parent / name).write_text(text)
    import_problem(path.parent / "machine.yaml", path.parent / "work.yaml", 2)


CONFIG = "name: x\nseed: 1\nprograms: [a, b]\nsearch: {simulations: 4}\nlearner: {unroll: 2}\n"
INDEX_RECORD = {
    "format": INDEX_FORMAT,
    "version": INDEX_VERSION,
    "programs": {"one": {"entry": {"split": "train"}}},
}
HEADER = {"format": "mallocgame.rows", "version": 1, "configuration": CONFIGURATION}
READERS = (
    Reader("p.json", record_of(), lambda path: (load_program(path), None)[1]),
    Reader("p.json.gz", record_of(), lambda path: (load_program(path), None)[1]),
    Reader("m.json", mapping_record(), _mapping),
    Reader(INDEX, INDEX_RECORD, _index),
    Reader("results.json", RESULTS, _results, 0.3),
    Reader("rows.jsonl", [HEADER, *ROWS], _rows, 0.3),
    Reader("metrics.jsonl", [METRIC, METRIC | {"step": 2}], _metrics),
    Reader("problem.csv", CSV, lambda path: (pack(read_csv(path), "best_fit"), None)[1]),
    Reader("list.yaml", LIST, lambda path: (read_list(path), None)[1], 0.2),
    Reader("config.yaml", CONFIG, _config, 0.1),
    Reader("cores.json", cores_problem_record(), lambda path: (load_problem(path), None)[1]),
    Reader("schedule.json", cores_schedule_record(), _cores_schedule),
    *(Reader(name, text, _stream, 0.1) for name, text in STREAM_FILES.items()),
    *(Reader(*sibling, 0.5) for sibling in SIBLINGS),
    Reader("overrides", "seed=3\nlearner.unroll=2\nprograms=[a,b]", _override, 0.1),
    *(Reader(*compiler, 0.2) for compiler in COMPILERS),
)


@functools.cache
def all_readers() -> tuple[Reader, ...]:
    """All of them with those of checkpoints, which take long to make and to read."""
    return *READERS, *(Reader(*each, 0.02) for each in agent_readers())


def damaged(rng: random.Random, reader: Reader) -> bytes:
    """A file of the reader's kind with something wrong with it, or nearly."""
    valid = reader.valid
    if isinstance(valid, bytes):
        return _spoiled(rng, bytearray(valid), rng.choice((0, 1, 1, 3)))
    if not isinstance(valid, str):
        if rng.random() < 0.7:
            valid = copy.deepcopy(valid)
            for _ in range(rng.randint(1, 3)):
                _change(rng, valid)
        several = reader.file.endswith(".jsonl") and isinstance(valid, list)
        valid = "\n".join(map(json.dumps, valid)) + "\n" if several else json.dumps(valid)
    text = valid
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(PIECES) + text[at + rng.choice((0, 1, 5)) :]
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    if reader.file.endswith(".gz"):
        raw = bytearray(gzip.compress(raw, 1))
    return _spoiled(rng, raw, rng.choice((0, 0, 0, 1, 3)))


def _spoiled(rng: random.Random, raw: bytearray, changes: int) -> bytes:
    """Bytes with some of them changed, and now and then cut off."""
    for _ in range(changes if raw else 0):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.1 else raw)


def _change(rng: random.Random, value: Any) -> None:
    """Puts something nasty somewhere into a JSON value, or takes something away."""
    while isinstance(value, (dict, list)) and value:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.9:
            value = inner
            continue
        if rng.random() < 0.15:
            del value[key]
        else:
            value[key] = copy.deepcopy(rng.choice(NASTY))
        return


def inputs(
    count: int, seed: int, readers: Sequence[Reader] = READERS
) -> Iterator[tuple[Reader, bytes]]:
    """Some damaged files, always the same of one seed."""
    rng = random.Random(seed)
    shares = [reader.share for reader in readers]
    for _ in range(count):
        reader = rng.choices(readers, shares)[0]
        yield reader, damaged(rng, reader)


def outcome(reader: Reader, path: Path, content: bytes) -> str:
    """`read`, `refused`, or what the reader failed with instead of an InputError of one line."""
    path.write_bytes(content)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            reader.read(path)
    except InputError as error:
        line = str(error)
        return "refused" if line.isprintable() and len(line) <= MAX_LINE else f"a line {line!r}"
    except Exception as error:
        return repr(error)
    return "read"


def run(count: int, seed: int, folder: Path) -> collections.Counter[tuple[str, bool]]:
    """Reads damaged files; how many of each kind were read, and how many refused.

    Raises:
      AssertionError: a reader failed otherwise than by an InputError of one line; the file stays.
    """
    seen: collections.Counter[tuple[str, bool]] = collections.Counter()
    for number, (reader, content) in enumerate(inputs(count, seed)):
        path = folder / reader.file
        got = outcome(reader, path, content)
        path.write_bytes(content)
        assert got in ("read", "refused"), f"input {number} of seed {seed}, {path}: {got}"
        seen[reader.file, got == "read"] += 1
    return seen
