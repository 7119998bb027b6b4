"""Problem and schedule files: there and back, and one line for whatever is wrong with them."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from gamekit.errors import InputError
from games.cores.problem import load_problem, problem_from_record, save_problem
from games.cores.problem.problem import record_of
from games.cores.problem.schedule import load_schedule, save_schedule
from games.cores.suites import HERE, suites
from games.cores.synthetic.chains import Branches, chain_problem
from games.cores.synthetic.random_problems import random_problem

SINGLE = chain_problem("single", Branches(0, 1), 1, [(4000, 1000.0)])


def test_files_there_and_back(tmp_path):
    for seed in range(20):
        problem = random_problem(seed)
        path = tmp_path / f"{problem.name}.json"
        save_problem(problem, path)
        assert load_problem(path) == problem
        schedule = problem.naive.schedule
        save_schedule(schedule, tmp_path / "s.json")
        assert load_schedule(tmp_path / "s.json", problem) == schedule


def test_suites_are_what_their_code_makes():
    for name, problems in suites().items():
        assert [load_problem(HERE / name / f"{p.name}.json") for p in problems] == problems
        assert len(list((HERE / name).glob("*.json"))) == len(problems)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("values", 0, "bits"), -1, r"values\[0\]\.bits: must be in 0\.\.2\^40, got -1"),
        (("values", 1, "inputs"), ["z"], r"values\[1\]\.inputs\[0\]: must be one of the values"),
        (("values", 1, "inputs"), ["y"], r"must be without cycles, got one through 'y'"),
        (("values", 1, "name"), "x", r"values\[1\]: must be a name of its own, got 'x' again"),
        (("memories", 1, "bits"), None, "one must be without bits .*, got 2"),
        (("memories", 1, "bits"), 700, "'y' can run nowhere: memory 'memory 0' of 700 bits must"),
        (("channels", 0, "target"), "external", "must be another memory than the source"),
        (("channels", 0, "time_per_bit"), -1, "time_per_bit: must be at least 0, got -1"),
        (("channels",), [], "there must be a way from 'external' to 'memory 0'"),
        (("allocations", 0, "group"), "gpu", r"allocations\[0\]\.group: must be one of the groups"),
        (("allocations", 0, "inputs"), [], "must be a memory for each of 1 inputs, got 0"),
        (("allocations", 0, "time"), 1.5, "time: must be an integer, got 1.5"),
        (("allocations",), [], "must be given or have an allocation, 'y' has none"),
        (("given",), [], "must be given or have an allocation, 'x' has none"),
        (("wanted",), [], "must lead to a wanted value, 'y' does not"),
        (("weights",), {"time": 0}, "weights: one must be positive"),
    ],
)
def test_a_bad_field_is_one_line(path, value, message):
    record = json.loads(json.dumps(record_of(SINGLE)))
    place: Any = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message):
        problem_from_record(record, "p", "p.json")


NASTY: list[Any] = [
    None, True, -1, 0, 1, 2**63, 1e300, float("nan"), "", "x", "external", [], {}, [[]], ["x", "x"],
]  # fmt: skip


def test_damaged_files_are_refused_in_one_line(tmp_path):
    rng = random.Random(0)
    problem = random_problem(3)
    save_problem(problem, tmp_path / "p.json")
    save_schedule(problem.naive.schedule, tmp_path / "s.json")
    for name, read in (
        ("p.json", load_problem),
        ("s.json", lambda path: load_schedule(path, problem)),
    ):
        valid = json.loads((tmp_path / name).read_text())
        refused = 0
        for _ in range(400):
            record = copy.deepcopy(valid)
            place: Any = record
            while isinstance(place, dict | list) and place:
                key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
                if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.9:
                    place = place[key]
                    continue
                place[key] = copy.deepcopy(rng.choice(NASTY))
                break
            text = json.dumps(record)
            if rng.random() < 0.1:
                text = text[: rng.randrange(len(text))]
            (tmp_path / "bad.json").write_text(text)
            try:
                read(tmp_path / "bad.json")
            except InputError as error:
                refused += 1
                assert "\n" not in str(error)
        assert refused > 200
