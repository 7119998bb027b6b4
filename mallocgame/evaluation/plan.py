"""What an evaluation computes: which mapper, with which budget and seed, on which program."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
from collections.abc import Sequence
from pathlib import Path

from gamekit.errors import InputError
from mallocgame.program import Program, load_program
from mallocgame.program.mapping import Mapping
from mallocgame.suites import find_programs, load_production

RULES = ("production", "imitated", "all_fast", "greedy", "random")
OPPONENTS = ("belady", "msa", "msa_library", "local_search", "game_search", "evolution", "milp")
LEARNED = ("untrained", "played", "played_on", "trained_best", "agent", "hybrid")
MAPPERS = (*RULES, *OPPONENTS, "bound", *LEARNED)
# The better of two others, in the order of need: nothing is run for these.
BETTER_OF = {"agent": ("played", "trained_best"), "hybrid": ("agent", "production")}
SEARCHING = ("local_search", "game_search", "evolution", "milp", "played_on")
ON_DEMAND = (*OPPONENTS, "played_on")
SEEDED = ("random", *SEARCHING, "untrained", "played", *BETTER_OF)
PACKAGES = {"milp": "scipy", "evolution": "evosax"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the comparison: a mapper with its budget and seed, None where it has none.

    label: the mapper's name in the results, with the budget where there are several.
    """

    mapper: str
    label: str
    budget_s: float | None
    seed: int | None


@dataclasses.dataclass(frozen=True)
class Subject:
    """A program to be mapped, and the compiler's own mapping of it where there is one."""

    path: Path
    program: Program
    production: Mapping | None


@dataclasses.dataclass(frozen=True)
class Job:
    """One entry on one program; `mapping` is the file that its result goes to."""

    path: Path
    program: str
    entry: Entry
    mapping: Path

    @property
    def key(self) -> tuple[str, str, int | None]:
        """Tells the row among those of the evaluation."""
        return (self.program, self.entry.label, self.entry.seed)


def choose_mappers(names: str | None, checkpoint: bool) -> tuple[str, ...]:
    """The mappers of a comma-separated list, each once, with those that they are the better of.

    None gives the rules and the bound, and with a checkpoint all that it allows; "all" everything.

    Raises:
      InputError: an unknown name, one that needs a checkpoint, or a package that is missing.
    """
    possible = MAPPERS if checkpoint else tuple(m for m in MAPPERS if m not in LEARNED)
    if names is None:
        return tuple(name for name in possible if name not in ON_DEMAND)
    if names == "all":
        chosen = possible
    else:
        chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in chosen:
        if name not in MAPPERS:
            raise InputError(f"--mappers {name!r}: unknown; of {', '.join(MAPPERS)}")
        if name not in possible:
            raise InputError(f"--mappers {name}: needs --checkpoint")
        if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
            raise InputError(
                f"--mappers {name}: {PACKAGES[name]} is missing; pip install 'mallocgame[mappers]'"
            )
    needed = set(chosen)
    for name in reversed(BETTER_OF):
        needed |= set(BETTER_OF[name]) if name in needed else set()
    return (*chosen, *(m for m in MAPPERS if m in needed and m not in chosen))


def choose_budgets(text: str) -> tuple[float, ...]:
    """Seconds from a comma-separated list, each once.

    Raises:
      InputError: one is no time.
    """
    budgets = []
    for word in text.split(","):
        try:
            budget: float | str = float(word)
        except ValueError:
            budget = word
        if isinstance(budget, str) or not 0 <= budget < math.inf:
            raise InputError(f"--budget {budget}: is no time in seconds")
        budgets.append(budget)
    return tuple(dict.fromkeys(budgets))


def choose_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a comma-separated list, each once.

    Raises:
      InputError: one is no whole number from 0 to 2**31 - 1.
    """
    for word in text.split(","):
        if not re.fullmatch(r"\s*[0-9]+\s*", word) or int(word) >= 2**31:
            raise InputError(f"--seeds {word}: is no whole number from 0 to 2**31 - 1")
    return tuple(dict.fromkeys(int(word) for word in text.split(",")))


def expand(
    mappers: Sequence[str], budgets: Sequence[float], seeds: Sequence[int]
) -> tuple[Entry, ...]:
    """Every mapper with every budget and seed that it knows, in order."""
    entries = []
    for mapper in mappers:
        of_mapper: Sequence[float | None] = budgets if mapper in SEARCHING else (None,)
        for budget in of_mapper:
            several = len(of_mapper) > 1
            label = f"{mapper}@{budget:g}s" if several else mapper
            for seed in seeds if mapper in SEEDED else (None,):
                entries.append(Entry(mapper, label, budget, seed))
    return tuple(entries)


def load_subjects(names: Sequence[str]) -> list[Subject]:
    """The programs of suites, folders and files, with production's mappings.

    Raises:
      InputError: nothing is found, a file is invalid, belongs to another program, or two programs
        have one name.
    """
    subjects: dict[str, Subject] = {}
    for path in find_programs(names):
        program = load_program(path)
        name = file_name(program.name)
        if name in subjects:
            raise InputError(f"{path}: name: {program.name!r} is there twice")
        subjects[name] = Subject(path, program, load_production(path, program))
    return list(subjects.values())


def plan_jobs(subjects: Sequence[Subject], entries: Sequence[Entry], folder: Path) -> list[Job]:
    """What has to be run, program by program; mapping files go to `folder`."""
    return [
        Job(s.path, s.program.name, entry, folder / mapping_name(s.program.name, entry, entries))
        for s in subjects
        for entry in entries
        if entry.mapper not in BETTER_OF
    ]


def mapping_name(program: str, entry: Entry, entries: Sequence[Entry]) -> str:
    """The name of a mapping's file, with the seed where there are several."""
    several = sum(other.label == entry.label for other in entries) > 1
    seed = f".seed{entry.seed}" if several else ""
    return f"{file_name(program)}.{entry.label}{seed}.mapping.json.gz"


def file_name(program: str) -> str:
    """A program's name as the beginning of file names."""
    return re.sub(r"[^\w.@+-]", "_", program)
