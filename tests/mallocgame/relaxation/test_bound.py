"""The lower bound: below every mapping that the judge accepts, and tight where that is known."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.exact import milp
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.mappers.msa import msa, msa_library
from mallocgame.oracle import DROP, Oracle
from mallocgame.program import Access, Instruction, Loop, Program, Value, validate
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import DEFINED, Mapping, all_slow
from mallocgame.relaxation.bound import dual_bound, lower_bound
from mallocgame.relaxation.points import lives
from mallocgame.relaxation.relaxation import relax
from mallocgame.relaxation.rows import Rows
from mallocgame.synthetic.random_programs import known_optimum_program, random_program
from tests.support import handmade, judged
from tests.support.handmade import MARKER, Slot, value
from tests.support.packing import pack, packed_game

CONFIG = GameConfig(inert_fraction=0.0)
ABOVE = 1 + 1e-12


def _legal(oracle: Oracle) -> list[int]:
    return [action for action, legal in enumerate(oracle.legal) if legal]


def _played(program: Program, rng: np.random.Generator, eagerness: float) -> Mapping:
    """A game of the oracle with a random policy, as a mapping."""

    def player(oracle: Oracle) -> int:
        return _legal(oracle)[0] if rng.random() < eagerness else DROP

    return packed_game(program, player, CONFIG)[1]


def _mappings(program: Program, seed: int) -> list[Mapping]:
    rng = np.random.default_rng([7, seed])
    return [
        all_slow(program),
        *(_played(program, rng, eagerness) for eagerness in (1.0, 0.7, 0.4)),
        msa(program, CONFIG, 0.0, seed).mapping,
        msa_library(program, CONFIG, 0.0, seed).mapping,
        local_search(program, CONFIG, 0.15, seed).mapping,
    ]


def _check(seed: int, **sizes: Any) -> None:
    program = random_program(np.random.default_rng([11, seed]), **sizes)
    bound = lower_bound(program)
    assert bound.latency_s >= bound.floor_s
    for mapping in _mappings(program, seed):
        assert verify(program, mapping) == []
        latency_s = simulate(program, mapping).latency_s
        assert bound.latency_s <= latency_s * ABOVE, (seed, bound.latency_s, latency_s)


@pytest.mark.parametrize("seed", range(60))
def test_no_mapping_beats_the_bound(seed):
    _check(seed, instructions=6 + seed % 20, values=3 + seed % 11)


@pytest.mark.slow
def test_no_mapping_beats_the_bound_on_many_programs():
    for seed in range(1000, 1600):
        _check(seed, instructions=6 + seed % 30, values=3 + seed % 17)


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_model_is_bounded_and_legal(seed):
    program = random_program(np.random.default_rng([12, seed]), instructions=10, values=6)
    bound = lower_bound(program)
    mapped = milp(program, CONFIG, 1.5, seed)
    assert verify(program, mapped.mapping) == []
    latency_s = simulate(program, mapped.mapping).latency_s
    scale = simulate(program, all_slow(program)).latency_s
    assert mapped.info["bound_s"] <= latency_s * ABOVE
    assert mapped.info["bound_s"] >= bound.latency_s - 2e-5 * scale
    for mapping in _mappings(program, seed):
        assert mapped.info["bound_s"] <= simulate(program, mapping).latency_s * ABOVE
        if mapped.info["proven"]:
            assert latency_s <= simulate(program, mapping).latency_s + 4e-5 * scale


def test_any_multipliers_give_a_bound():
    program = random_program(np.random.default_rng(3), instructions=14, values=8)
    model = relax(program)
    assert model is not None
    best = lower_bound(program).latency_s / model.scale_s
    rng = np.random.default_rng(0)
    for scale in (0.0, 1e-3, 1.0):
        of_ub = rng.normal(size=len(model.b_ub)) * scale
        of_eq = rng.normal(size=len(model.b_eq)) * scale
        # Weak duality: never above what the best multipliers prove (but for rounding).
        assert dual_bound(model, of_ub, of_eq) <= best + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_large_models_have_the_same_bound(seed, monkeypatch, recwarn):
    """The interior-point method, which large models get, proves what the simplex method does."""
    program = random_program(np.random.default_rng([13, seed]), instructions=40, values=25)
    bound = lower_bound(program)
    monkeypatch.setattr("mallocgame.relaxation.bound.LARGE", 0)
    interior = lower_bound(program)
    scale = simulate(program, all_slow(program)).latency_s
    assert interior.latency_s == pytest.approx(bound.latency_s, abs=1e-6 * scale)
    for mapping in _mappings(program, seed):
        assert interior.latency_s <= simulate(program, mapping).latency_s * ABOVE
    assert not recwarn.list


def test_rows_add_up_what_a_column_has_several_times():
    rows = Rows()
    rows.add([(2, 1.0), (0, 0.5), (2, 3.0)], 7.0)
    rows.add([])
    rows.add([(1, -1.0)])
    assert rows.matrix(4).toarray().tolist() == [[0.5, 0, 4, 0], [0, 0, 0, 0], [0, -1, 0, 0]]
    assert rows.right == [7.0, 0.0, 0.0]
    assert Rows().matrix(3).shape == (0, 3)


@pytest.mark.parametrize("seed", range(6))
def test_known_optima_are_not_cut_off(seed):
    program, optimum, _ = known_optimum_program(np.random.default_rng(seed), turns=6, lanes=3)
    bound = lower_bound(program)
    slow = simulate(program, all_slow(program)).latency_s
    assert bound.latency_s <= slow * (1 - optimum) * (1 + 1e-9)
    assert bound.latency_s >= slow * (1 - optimum) * (1 - 1e-9)  # the floor


def _pair(capacity: int) -> Program:
    """Two values of 10 bytes, each written and then read twice; one byte a second, fast for free.

    Both are alive all the time, so that fast memory of less than 20 bytes holds one of them.
    """
    machine = Machine("m", capacity, 1, 1.0, 1e6)
    values = (Value("a", 10), Value("b", 10))
    slots = [(0, "write"), (1, "write"), (0, "read"), (1, "read"), (0, "read"), (1, "read")]
    accesses = tuple(
        Access(t, v, kind, (), 10, defines=kind == "write") for t, (v, kind) in enumerate(slots)
    )
    program = Program(
        "pair", machine, tuple(Instruction(f"i{t}") for t in range(6)), values, accesses
    )
    validate(program)
    return program


@pytest.mark.parametrize(("capacity", "latency_s"), [(20, 0.0), (19, 30.0), (10, 30.0), (9, 60.0)])
def test_a_bound_worked_out_by_hand(capacity, latency_s):
    program = _pair(capacity)
    mapped = milp(program, CONFIG, 2.0, 0)
    assert simulate(program, mapped.mapping).latency_s == pytest.approx(latency_s, abs=0.01)
    assert mapped.info["proven"]
    bound = lower_bound(program).latency_s
    assert bound <= latency_s + 0.01
    if capacity in (20, 9):
        assert bound == pytest.approx(latency_s, abs=0.01)


def _all_games(program: Program) -> float:
    """The best latency over all games of the oracle."""
    best = np.inf
    stack: list[tuple[int, ...]] = [()]
    while stack:
        moves = stack.pop()
        oracle = Oracle(program, CONFIG)
        for move in moves:
            oracle.step(move)
        if oracle.question is None:
            offsets = pack(program, oracle.residencies())
            if isinstance(offsets, list):
                best = min(best, simulate(program, oracle.mapping(offsets)).latency_s)
        else:
            stack += [(*moves, action) for action in _legal(oracle)]
    return float(best)


def test_the_exact_model_is_no_worse_than_the_best_of_all_games():
    compared = 0
    for seed in itertools.count():
        program = random_program(
            np.random.default_rng([13, seed]), instructions=5, values=3, loop_depth=seed % 2
        )
        moves, oracle = 0, Oracle(program, CONFIG)
        while oracle.question is not None:
            moves += 1
            oracle.step(DROP)
        if not 2 <= moves <= 7:
            continue
        best = _all_games(program)
        mapped = milp(program, CONFIG, 0.6, 0)
        scale = simulate(program, all_slow(program)).latency_s
        latency_s = simulate(program, mapped.mapping).latency_s
        if mapped.info["proven"]:
            assert latency_s <= best + 4e-5 * scale, seed
        assert lower_bound(program).latency_s <= best * ABOVE
        compared += 1
        if compared == 12:
            break


def test_multipliers_of_the_wrong_sign_prove_nothing():
    """x >= 1 and x <= 5: the least x is 1, whatever a multiplier of the second row claims."""
    model = relax(random_program(np.random.default_rng(3), instructions=14, values=8))
    assert model is not None
    small = dataclasses.replace(
        model,
        cost=np.array([1.0]),
        a_ub=sparse.csr_array([[-1.0], [1.0]]),
        b_ub=np.array([-1.0, 5.0]),
        a_eq=sparse.csr_array((0, 1)),
        b_eq=np.zeros(0),
        upper=np.array([10.0]),
        constant=0.5,
    )
    none = np.zeros(0)
    assert dual_bound(small, np.array([-1.0, 0.0]), none) == 1.5
    for wrong in (0.1, 0.5, 1.0, 2.0):
        assert dual_bound(small, np.array([0.0, wrong]), none) == 0.5
        assert dual_bound(small, np.array([-1.0, wrong]), none) == 1.5
        assert dual_bound(small, np.array([wrong, 0.0]), none) == 0.5


def _unread_carry(read: bool) -> tuple[Program, Mapping]:
    """A loop that makes r, which becomes p, anew; and a mapping that holds r, but not p.

    read: whether the body reads p, so that it must be where r leaves the body.
    """
    values = {"p": value(4, is_input=True), "x": value(1, is_input=True), "r": value(4)}
    slots = [Slot(reads="p"), MARKER, Slot(reads="p" if read else "x"), Slot(defines="r"), MARKER]
    slots += [Slot(reads="r"), Slot(reads="r")]
    program = handmade.program(8, values, slots, (Loop(1, 4, 5),), ((0, "p", "r"),))
    return program, judged.mapping([(2, 0, 3, 7, DEFINED)])


def test_a_parameter_that_nobody_reads_need_not_enter():
    """The judge lets the result leave the body alone then, and the bound must allow it."""
    program, mapping = _unread_carry(read=False)
    assert verify(program, mapping) == []
    latency_s = simulate(program, mapping).latency_s
    assert lower_bound(program).latency_s <= latency_s * ABOVE
    others = _mappings(program, 0)
    assert latency_s <= min(simulate(program, m).latency_s for m in others) + 4  # x's seconds


def test_a_parameter_that_is_read_enters_where_the_result_leaves():
    program, mapping = _unread_carry(read=True)
    assert {v.kind for v in verify(program, mapping)} == {"carried"}


def test_only_parameters_that_a_body_accesses_have_a_boundary_at_its_entry():
    """So that the rows of groups ask for nothing that the judge does not ask for."""
    seen = {True: 0, False: 0}
    for seed in range(400):
        program = random_program(np.random.default_rng([14, seed]), instructions=20, values=10)
        crossed = {
            (life.value, point.slot)
            for life in lives(program)
            for point in life.points
            if not point.accesses
        }
        for group in program.carried:
            loop = program.loops[group.loop]
            accessed = any(
                loop.entry < a.instruction < loop.exit
                for a in program.accesses
                if a.value == group.parameter
            )
            enters = (group.parameter, loop.entry + 1) in crossed
            assert accessed or not enters
            seen[accessed] += 1
    assert min(seen.values()) > 5
