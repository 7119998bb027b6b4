"""What an evaluation computes: which solver, with which budget and seed, on which instance.

Beside the opponents of the game's `Domain` there are the reference solutions, and with a trained
agent, a checkpoint's or the one that comes with the game, the contestants of `LEARNED`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
from collections.abc import Sequence
from pathlib import Path

from gamekit.domain import Domain, Instance
from gamekit.errors import InputError
from gamekit.text import file_name

# What a trained agent brings: fresh networks, the agent that plays some games, the same for a
# budget of seconds, for a part of it with the game's `polish` for the rest, the best game of the
# training, and the better of two others.
LEARNED = ("untrained", "played", "played_on", "polished", "trained_best", "agent", "hybrid")
SEARCHING = ON_DEMAND = ("played_on", "polished")
SEEDED = ("played_on", "polished", "untrained", "played", "agent", "hybrid")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the comparison: a solver with its budget and seed, None where it has none.

    label: the solver's name in the results, with the budget where there are several.
    """

    solver: str
    label: str
    budget_s: float | None
    seed: int | None


@dataclasses.dataclass(frozen=True)
class Job:
    """One entry on one instance; `solution` is the file that its result goes to.

    source: what the instance is found by.
    """

    source: str
    instance: str
    entry: Entry
    solution: Path

    @property
    def key(self) -> tuple[str, str, int | None]:
        """Tells the row among those of the evaluation."""
        return (self.instance, self.entry.label, self.entry.seed)


def better_of(domain: Domain) -> dict[str, tuple[str, str]]:
    """Contestants that are the better of two others, in the order of need: nothing is run for
    these."""
    return {"agent": ("played", "trained_best"), "hybrid": ("agent", domain.words.reference)}


def contestants(domain: Domain) -> tuple[str, ...]:
    """All names that a game's evaluation knows, in the order of results."""
    learned = (name for name in LEARNED if name != "polished" or domain.polish is not None)
    return (domain.words.reference, *domain.solvers, *learned)


def names_agent(names: str | None) -> str | None:
    """The first of a comma-separated list that a trained agent brings; None without one."""
    return next((name for name in listed(names or "") if name in LEARNED), None)


def choose_solvers(domain: Domain, names: str | None, checkpoint: bool) -> tuple[str, ...]:
    """The contestants of a comma-separated list, each once, with those that they are the better of.

    checkpoint: whether there is a trained agent.  None gives all but those on demand, "all"
    everything, without an agent none that needs one.

    Raises:
      InputError: an unknown name, one that needs a checkpoint, or a package that is missing.
    """
    known = contestants(domain)
    possible = known if checkpoint else tuple(name for name in known if name not in LEARNED)
    option = f"--{domain.words.solver}s"
    if names is None:
        return tuple(name for name in possible if not _is_on_demand(domain, name))
    chosen = possible if names == "all" else listed(names)
    for name in chosen:
        if name not in known:
            raise InputError(f"{option} {name!r}: must be one of {', '.join(known)}")
        if name not in possible:
            raise InputError(f"{option} {name}: needs --checkpoint")
        solver = domain.solvers.get(name)
        if solver and solver.package and importlib.util.find_spec(solver.package) is None:
            raise InputError(
                f"{option} {name}: {solver.package} is missing; "
                f"pip install '{domain.name}[{solver.extra}]'"
            )
    needed = set(chosen)
    pairs = better_of(domain)
    for name in reversed(pairs):
        needed |= set(pairs[name]) if name in needed else set()
    return (*chosen, *(name for name in known if name in needed and name not in chosen))


def listed(names: str) -> tuple[str, ...]:
    """The names of a comma-separated list, each once."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",")))


def _is_on_demand(domain: Domain, name: str) -> bool:
    return name in ON_DEMAND or (name in domain.solvers and domain.solvers[name].on_demand)


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
            raise InputError(f"--budget must be seconds, at least 0, got {budget}")
        budgets.append(budget)
    return tuple(dict.fromkeys(budgets))


def choose_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a comma-separated list, each once.

    Raises:
      InputError: one is no whole number from 0 to 2**31 - 1.
    """
    for word in text.split(","):
        if not re.fullmatch(r"\s*[0-9]+\s*", word) or int(word) >= 2**31:
            raise InputError(f"--seeds must be whole numbers from 0 to 2**31 - 1, got {word}")
    return tuple(dict.fromkeys(int(word) for word in text.split(",")))


def expand(
    domain: Domain, solvers: Sequence[str], budgets: Sequence[float], seeds: Sequence[int]
) -> tuple[Entry, ...]:
    """Every contestant with every budget and seed that it knows, in order."""
    entries = []
    for name in solvers:
        solver = domain.solvers.get(name)
        searches = name in SEARCHING or (solver is not None and solver.searches)
        is_seeded = name in SEEDED or (solver is not None and solver.seeded)
        of_solver: Sequence[float | None] = budgets if searches else (None,)
        for budget in of_solver:
            label = f"{name}@{budget:g}s" if len(of_solver) > 1 else name
            for seed in seeds if is_seeded else (None,):
                entries.append(Entry(name, label, budget, seed))
    return tuple(entries)


def load_subjects(domain: Domain, names: Sequence[str]) -> list[Instance]:
    """The instances of suites, folders and files.

    Raises:
      InputError: nothing is found, one is invalid, or two have the same name for files.
    """
    found: dict[str, Instance] = {}
    for instance in domain.instances(names):
        name = file_name(instance.name)
        if name in found:
            raise InputError(f"{instance.source}: name: {instance.name!r} is there twice")
        found[name] = instance
    return list(found.values())


def plan_jobs(
    domain: Domain, instances: Sequence[Instance], entries: Sequence[Entry], folder: Path
) -> list[Job]:
    """What has to be run, instance by instance; solutions' files go to `folder`."""
    derived = better_of(domain)
    return [
        Job(i.source, i.name, entry, folder / solution_name(domain, i.name, entry, entries))
        for i in instances
        for entry in entries
        if entry.solver not in derived
    ]


def solution_name(domain: Domain, instance: str, entry: Entry, entries: Sequence[Entry]) -> str:
    """The name of a solution's file, with the seed where there are several."""
    several = sum(other.label == entry.label for other in entries) > 1
    seed = f".seed{entry.seed}" if several else ""
    return f"{file_name(instance)}.{entry.label}{seed}.{domain.words.solution}.json.gz"
