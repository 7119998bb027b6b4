"""Problem and solution files: what is read, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamekit.errors import InputError
from games.graphs.problem import load_problem, load_solution, save_problem, save_solution
from games.graphs.problem.solution import Solution, Subgraph
from games.graphs.synthetic.random_problems import random_problem, random_solution

# h = relu(x @ w), y = h @ v.
MLP: dict[str, Any] = {
    "widths": [64, 32, 32, 32, 16, 16],
    "heights": [8, 64, 8, 8, 32, 8],
    "inputs": [[0, 1], [2], [3, 4]],
    "outputs": [[2], [3], [5]],
    "base_costs": [100, 10, 50.5],
    "op_types": ["MatMul", "Pointwise", "MatMul"],
    "fast_memory_capacity": 4096,
    "slow_memory_bandwidth": 8,
    "native_granularity": [16, 16],
}
PLAN: dict[str, Any] = {
    "subgraphs": [[0, 1], [2]],
    "granularities": [[16, 8, 16], [16, 8, 16]],
    "tensors_to_retain": [[3], []],
    "traversal_orders": [[1, 0], None],
    "subgraph_latencies": [100.0, 50],
}


def write(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def changed(data: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy with one field, or one entry "field[i]" of it, changed; ... removes the field."""
    data = copy.deepcopy(data)
    name, _, index = field.partition("[")
    if index:
        data[name][int(index[:-1])] = value
    elif value is ...:
        del data[name]
    else:
        data[name] = value
    return data


def test_a_problem_is_read(tmp_path):
    problem = load_problem(write(tmp_path / "mlp.json", MLP))
    assert (problem.name, problem.num_ops, problem.num_tensors) == ("mlp", 3, 6)
    assert problem.reduction(0) == 64 and problem.size(1) == 2048
    assert problem.graph_inputs == {0, 1, 4} and problem.graph_outputs == {5}
    assert problem.order == (0, 1, 2) and problem.consumers[2] == (1,)
    # Two native tiles across for the first two, without padding below: they feed a MatMul.
    assert problem.compute_bound == 100 * 2 * 0.5 + 10 * 2 * 0.5 + 50.5


def test_files_there_and_back(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        problem = random_problem(rng)
        save_problem(problem, tmp_path / "random.json")
        again = load_problem(tmp_path / "random.json")
        assert again == problem and again.fingerprint == problem.fingerprint
        solution = random_solution(problem, rng)
        save_solution(solution, tmp_path / f"{number}.json")
        assert load_solution(tmp_path / f"{number}.json", problem) == solution


def test_a_solution_is_read(tmp_path):
    problem = load_problem(write(tmp_path / "mlp.json", MLP))
    solution = load_solution(write(tmp_path / "plan.json", PLAN), problem)
    assert solution == Solution(
        (
            Subgraph((0, 1), (16, 8, 16), (3,), (1, 0), 100.0),
            Subgraph((2,), (16, 8, 16), (), None, 50.0),
        )
    )
    short = changed(changed(PLAN, "traversal_orders", ...), "subgraph_latencies", ...)
    assert load_solution(write(tmp_path / "short.json", short), problem).subgraphs[0].order is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("widths", ..., "widths: is missing"),
        ("widths", 3, "widths: must be a list of integers, got 3"),
        ("widths[0]", -64, "widths[0]: must be in 1..16777216, got -64"),
        ("heights[5]", 0, "heights[5]: must be in 1..16777216, got 0"),
        ("heights", [8], "heights: must have as many entries as widths, got 1 and 6"),
        ("op_types", ["MatMul"], "op_types: must have as many entries as outputs, got 1 and 3"),
        ("op_types[1]", "Conv", "op_types[1]: must be one of MatMul, Pointwise, got 'Conv'"),
        ("op_types[1]", 4, "op_types[1]: must be a string, got 4"),
        ("inputs[1]", [17], "inputs[1]: must be tensors below 6, got 17"),
        ("inputs[1]", [-1], "inputs[1]: must be tensors below 6, got -1"),
        ("inputs[1]", [], "inputs[1]: must be at least one tensor, got none"),
        ("inputs[1]", ["a"], "inputs[1]: must be a list of integers, got 'a'"),
        ("inputs[0]", [0], "inputs[0]: must be two tensors of a MatMul, got 1"),
        (
            "inputs[0]",
            [1, 0],
            "inputs[0]: a MatMul's left width must be its right height, got 32 and 8",
        ),
        (
            "inputs[1]",
            [0],
            "inputs[1]: a Pointwise operation's tensor 0 must be 32 x 8 as its output, got 64 x 8",
        ),
        ("outputs[2]", [3], "outputs[2]: must be 16 x 8, got 32 x 8"),
        ("outputs[1]", [2], "outputs[1]: tensor 2 must have one producer, 0 is one"),
        ("outputs[1]", [2, 3], "outputs[1]: must be one tensor, got 2"),
        ("outputs", [], "outputs: must have at least one operation"),
        ("inputs[1]", [3], "inputs: must be without cycles, got one through operation 1"),
        ("base_costs[0]", -1, "base_costs[0]: must be at least 0, got -1.0"),
        ("base_costs[0]", "x", "base_costs[0]: must be a number, got 'x'"),
        ("fast_memory_capacity", 0, "fast_memory_capacity: must be positive, got 0"),
        (
            "fast_memory_capacity",
            2,
            "fast_memory_capacity: must hold 3 elements for operation 0, got 2",
        ),
        ("slow_memory_bandwidth", 0, "slow_memory_bandwidth: must be positive, got 0.0"),
        ("native_granularity", [16], "native_granularity: must be [width, height], got [16]"),
    ],
)
def test_bad_problems_are_named(tmp_path, field, value, message):
    path = write(tmp_path / "bad.json", changed(MLP, field, value))
    with pytest.raises(InputError) as error:
        load_problem(path)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("subgraphs", ..., "subgraphs: is missing"),
        ("subgraphs[0]", [0, 3], "subgraphs[0]: must be operations below 3, got 3"),
        ("tensors_to_retain[0]", [6], "tensors_to_retain[0]: must be tensors below 6, got 6"),
        (
            "granularities[1]",
            [4, 4],
            "granularities[1]: must be [width, height, depth], got [4, 4]",
        ),
        (
            "granularities",
            [[1, 1, 1]],
            "granularities: must have as many entries as subgraphs, got 1 and 2",
        ),
        ("traversal_orders[0]", 7, "traversal_orders[0]: must be a list of integers, got 7"),
        ("subgraph_latencies[1]", "x", "subgraph_latencies[1]: must be a number, got 'x'"),
    ],
)
def test_bad_solutions_are_named(tmp_path, field, value, message):
    problem = load_problem(write(tmp_path / "mlp.json", MLP))
    path = write(tmp_path / "bad.json", changed(PLAN, field, value))
    with pytest.raises(InputError) as error:
        load_solution(path, problem)
    assert str(error.value) == f"{path}: {message}"


def test_damaged_files_are_refused_in_one_line(tmp_path):
    """Truncated texts, and values of any kind anywhere, never raise anything but InputError."""
    problem = load_problem(write(tmp_path / "mlp.json", MLP))
    rng = np.random.default_rng(1)
    junk = (None, True, -1, 10**30, 1e400, "x", [], [[]], {}, [None], [[1, None]], 0.5)

    def damaged(data: dict[str, Any]) -> str:
        if rng.random() < 0.3:
            text = json.dumps(data)
            return text[: int(rng.integers(len(text)))]
        data = copy.deepcopy(data)
        field = str(rng.choice(list(data)))
        value = junk[int(rng.integers(len(junk)))]
        if isinstance(data[field], list) and data[field] and rng.random() < 0.6:
            data[field][int(rng.integers(len(data[field])))] = value
        else:
            data[field] = value
        return json.dumps(data)

    refused = 0
    for _ in range(600):
        for data, load in ((MLP, load_problem), (PLAN, lambda p: load_solution(p, problem))):
            path = write(tmp_path / "damaged.json", damaged(data))
            try:
                load(path)
            except InputError as error:
                refused += 1
                assert "\n" not in str(error) and str(error).startswith(f"{path}: ")
    assert refused > 900
