"""Finished games are packed, with Drop-backup where they do not pack (docs/game.md, section 6).

Packers that fail on purpose are compared with the oracle, which is told which questions are forced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mallocgame.game import finish
from mallocgame.game.environment import Game, build_game
from mallocgame.game.finish import FinishedGame, finish_game
from mallocgame.game.options import GameConfig
from mallocgame.game.tables import ENTRY, NEVER, StopRow
from mallocgame.judge import simulate, verify
from mallocgame.oracle import COPY, DROP, NO_COPY, Oracle, Origin, Question, Stay
from mallocgame.packing.host import pack
from mallocgame.packing.problem import Packed, PackingProblem, check
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping
from mallocgame.synthetic.random_programs import random_program
from tests.support import handmade
from tests.support.handmade import FREE, Slot, all_programs, value

PROGRAMS = 40
CONFIG = GameConfig(inert_fraction=0.0)
Chooser = Callable[[PackingProblem], int]


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    """Random programs, and small ones with groups and write-backs that are waited for."""
    random = [
        random_program(np.random.default_rng([31, seed]), instructions=28, values=12)
        for seed in range(PROGRAMS)
    ]
    return [*random, *all_programs()]


@pytest.fixture(scope="module")
def game(programs) -> Game:
    return build_game(programs, CONFIG)


@pytest.fixture(autouse=True)
def as_played(monkeypatch):
    """Copies keep the windows that the game gave them; `test_retime.py` is about other ones."""
    monkeypatch.setattr(finish, "retime", lambda program, mapping: mapping)


@dataclasses.dataclass
class Played:
    """A game of the oracle: its moves, and what it answered to each question."""

    oracle: Oracle
    moves: list[int]
    answers: dict[Question, int]


def played(
    program: Program, answer: Callable[[Oracle], int], forced: frozenset[Origin] = frozenset()
) -> Played:
    """The oracle's game; an answer that is not legal is DROP."""
    oracle, moves, answers = Oracle(program, CONFIG, forced), [], {}
    while (question := oracle.question) is not None:
        wanted = answer(oracle)
        answers[question] = wanted if oracle.legal[wanted] else DROP
        moves.append(answers[question])
        oracle.step(answers[question])
    return Played(oracle, moves, answers)


def at_random(program: Program, seed: int) -> Played:
    """A game that mostly says yes."""
    rng = np.random.default_rng(seed)
    return played(program, lambda _: int(rng.choice(3, p=[0.6, 0.3, 0.1])))


def as_before(program: Program, before: Played, forced: frozenset[Origin]) -> Played:
    """The game by the answers of an earlier one; what was not asked there is DROP.

    Raises:
      AssertionError: it is not the game in which the forced questions are not asked.
    """

    def answer(oracle: Oracle) -> int:
        is_forced = origin(_asked(oracle), program) in forced
        return DROP if is_forced else before.answers.get(_asked(oracle), DROP)

    again = played(program, answer)
    silent = played(program, answer, forced)
    assert again.oracle.residencies() == silent.oracle.residencies()
    assert again.oracle.saved_ticks == silent.oracle.saved_ticks
    assert len(again.moves) <= len(silent.moves) + len(forced)
    return again


def origin(question: Question, program: Program) -> Origin | None:
    """The question as Drop-backup forces it; a departure is not, but at an entry marker."""
    if any(loop.entry == question.slot for loop in program.loops):
        return Origin("enter", question.value, question.slot)
    if question.kind == "depart":
        return None
    return Origin("arrival", question.value, question.slot)


def _asked(oracle: Oracle) -> Question:
    assert oracle.question is not None
    return oracle.question


def items(stays: tuple[Stay, ...]) -> list[list[int]]:
    """The residencies by the item that they are: those that are tied share one."""
    roots: list[int] = []
    for i, stay in enumerate(stays):
        roots.append(i if stay.tied is None else roots[stay.tied])
    return [[i for i, r in enumerate(roots) if r == root] for root in sorted(set(roots))]


def fail(monkeypatch: pytest.MonkeyPatch, times: int, choose: Chooser) -> list[int]:
    """Has the packer declare the item that is chosen unplaced, for so many games.

    Returns:
      A list that takes up the items, and after them those that have no place indeed.
    """
    chosen: list[int] = []

    def failing(problem: PackingProblem, *arguments: float) -> Packed:
        assert len(chosen) < 100, "Drop-backup does not end"
        if 0 <= times <= len(chosen) or not len(problem.size):
            packed = pack(problem, *arguments)
            chosen.extend(packed.unplaced[:1])
            return packed
        chosen.append(choose(problem))
        offsets = np.where(np.arange(len(problem.size)) == chosen[-1], -1, 0)
        return Packed(offsets, (chosen[-1],), 1, 0.0)

    monkeypatch.setattr(finish, "pack", failing)
    return chosen


def assert_same(made: FinishedGame, program: Program, expected: Played) -> None:
    """What was made is the oracle's game, and the judge accepts it and gives it no less."""
    oracle = expected.oracle
    assert made.moves.tolist() == expected.moves
    saved = oracle.saved_ticks / max(oracle.total_ticks, 1)
    assert made.saved_fraction == pytest.approx(saved, abs=1e-12)
    # The packer's offsets, but everything else is the oracle's.
    stays = sorted((s.value, s.start, s.end, s.arrival) for s in oracle.residencies())
    assert sorted((r.value, r.start, r.end, r.arrival) for r in made.mapping.residencies) == stays
    key = dataclasses.astuple
    assert made.mapping.prefetches == tuple(sorted(oracle.prefetches, key=key))
    assert made.mapping.evictions == tuple(sorted(oracle.evictions, key=key))
    assert [str(v) for v in verify(program, made.mapping)] == []
    judged = simulate(program, made.mapping).saved_fraction
    assert judged >= saved - 1e-5 * max(1, 1 - saved)
    if oracle.stall_ticks == oracle.overdraft_ticks == 0:
        assert judged <= saved + 1e-5 * max(1, 1 - saved)


def is_there(mapping: Mapping, origin: Origin) -> bool:
    """Whether fast memory serves the value at the stop, or holds it over the loop entered there.

    A copy that is on its way to a later stop serves nothing yet.
    """
    beyond = 1 if origin.kind == "enter" else 0
    copied = {(c.value, c.start): c.end for c in mapping.prefetches}
    return any(
        r.value == origin.value
        and copied.get((r.value, r.start), r.start) <= origin.slot
        and r.end > origin.slot + beyond
        for r in mapping.residencies
    )


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_game_that_does_not_pack_is_played_again(programs, game, monkeypatch, times):
    rng = np.random.default_rng(times)
    kinds, changed = set(), 0
    for number in range(times * len(programs)):
        index = number % len(programs)
        program, first = programs[index], at_random(programs[index], number)
        chosen = fail(monkeypatch, times, lambda problem: int(rng.integers(len(problem.size))))
        made = finish_game(game, program, first.moves, index)
        forced: frozenset[Origin] = frozenset()
        last = first
        for item in chosen:
            stays = last.oracle.residencies()
            culprit = stays[items(stays)[item][0]].origin
            assert culprit not in forced
            forced |= {culprit}
            last = as_before(program, first, forced)
        assert made.backups == len(chosen)
        assert_same(made, program, last)
        saved = [p.oracle.saved_ticks / max(p.oracle.total_ticks, 1) for p in (first, last)]
        assert made.lost == pytest.approx(saved[0] - saved[1], abs=1e-12)
        assert not forced & {stay.origin for stay in last.oracle.residencies()}
        if len(forced) == 1:
            assert not is_there(made.mapping, *forced)
        kinds |= {culprit.kind for culprit in forced}
        changed += len(first.moves) != len(last.moves)
    # Other questions follow from what is forced, and both kinds are forced.
    assert changed > 10
    assert kinds == {"arrival", "enter"} or times == 1


def test_a_held_loop_that_does_not_pack_is_not_held(programs, game, monkeypatch):
    """Whether the question at the entry marker is a read or a departure, it is forced."""
    seen = set()
    for index, program in enumerate(programs):
        first = at_random(program, index)
        stays = first.oracle.residencies()
        groups = items(stays)
        for item, members in enumerate(groups):
            culprit = stays[members[0]].origin
            if culprit.kind != "enter":
                continue
            fail(monkeypatch, 1, lambda _, item=item: item)
            made = finish_game(game, program, first.moves, index)
            if made.backups == 1:
                assert_same(made, program, as_before(program, first, frozenset({culprit})))
                assert not is_there(made.mapping, culprit)
                seen.add(len(members) > 1)
    assert seen == {False, True}  # values, and groups


@pytest.mark.parametrize("choose", [lambda problem: 0, lambda problem: len(problem.size) - 1])
def test_a_packer_that_never_places_anything_leaves_nothing(programs, game, monkeypatch, choose):
    for index, program in enumerate(programs):
        first = at_random(program, index)
        chosen = fail(monkeypatch, -1, choose)
        made = finish_game(game, program, first.moves, index)
        assert made.backups == len(chosen) >= bool(first.oracle.residencies())
        assert made.mapping.residencies == made.mapping.prefetches == ()
        assert made.saved_fraction == 0 and (made.moves == DROP).all()
        assert made.lost == pytest.approx(
            first.oracle.saved_ticks / max(first.oracle.total_ticks, 1), abs=1e-12
        )


def reservations() -> Program:
    """x and y fit in every slot, but both must lie above a reservation, and share a slot.

    Slots: 0 defines x, 1 is reserved, 2 reads x and defines y, 3 is reserved, 4 reads y.
    """
    slots = [Slot(defines="x"), Slot(reserved=4), Slot(reads="x", defines="y")]
    slots += [Slot(reserved=4), Slot(reads="y")]
    return handmade.program(8, {"x": value(4), "y": value(4)}, slots)


def test_what_fits_but_does_not_pack_is_backed_up(monkeypatch):
    program = reservations()
    game = build_game([program], FREE)
    moves = [NO_COPY] * 4  # x and y are defined in fast memory and held
    oracle = Oracle(program, FREE)
    for move in moves:
        oracle.step(move)
    assert oracle.done and max(oracle.used) == 8
    unplaced = fail(monkeypatch, 0, lambda problem: 0)
    made = finish_game(game, program, moves)
    assert made.backups == len(unplaced) == 1 and len(made.mapping.residencies) == 1
    assert verify(program, made.mapping) == []
    # Slots 0, 2 and 4 take 4 s each; slot 2 as long as one of its values is in slow memory.
    assert made.saved_fraction == pytest.approx(1 / 3) and made.lost == pytest.approx(2 / 3)
    assert simulate(program, made.mapping).saved_fraction == pytest.approx(1 / 3)
    assert made.seconds > 0


def test_a_game_that_packs_is_left_as_it_was(programs, game, monkeypatch):
    packed = 0
    for index, program in enumerate(programs):
        first = at_random(program, index)
        unplaced = fail(monkeypatch, 0, lambda problem: 0)
        made = finish_game(game, program, first.moves, index)
        if not unplaced:
            assert_same(made, program, first)
            assert made.backups == made.lost == 0
            packed += 1
    assert packed > PROGRAMS // 2


def test_the_packing_problem_is_that_of_the_residencies(programs, game):
    """Sizes, floors and times by plain loops; what is tied is one item."""
    tied = floors = 0
    for index, program in enumerate(programs):
        first = at_random(program, index)
        made = finish.transcribe(game, index, first.moves)
        problem, item = finish.packing_problem(program, made)
        stays, machine = first.oracle.residencies(), program.machine
        for number, members in enumerate(items(stays)):
            assert np.flatnonzero(item == number).tolist() == members
            size = machine.align(program.values[stays[members[0]].value].size_bytes)
            slots = [t for i in members for t in range(stays[i].start, stays[i].end)]
            floor = max(machine.align(program.instructions[t].reserved_bytes) for t in slots)
            assert (problem.size[number], problem.floor[number]) == (size, floor)
            found = zip(problem.lower[item == number], problem.upper[item == number], strict=True)
            assert sorted(t for a, b in found for t in range(a, b)) == sorted(slots)
            tied += len(members) > 1
            floors += floor > 0
        assert problem.capacity == machine.fast_capacity_bytes
        offsets = pack(problem, 1.0).offsets
        if (offsets >= 0).all():
            assert check(problem, offsets) is None
    assert tied > 3 and floors > 3


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_unfinished_moves_are_refused(programs, game, cut):
    first = at_random(programs[0], 0)
    moves = first.moves[:cut]
    with pytest.raises(ValueError, match=f"must finish a game, got {len(moves)} that do not"):
        finish_game(game, programs[0], moves)


def test_games_of_several_programs_are_finished_by_their_index(programs, game):
    """The same game alone and among others."""
    index = 3
    alone = build_game([programs[index]], CONFIG)
    state, moves = jax.jit(Game.init)(alone, jnp.int32(0)), []
    step = jax.jit(Game.step)
    while not bool(state.done):
        moves.append(COPY if bool(alone.legal_actions(state)[COPY]) else NO_COPY)
        state, _ = step(alone, state, jnp.int32(moves[-1]))
    one = finish_game(alone, programs[index], moves)
    many = finish_game(game, programs[index], moves, index)
    assert one.mapping == many.mapping and one.mapping.residencies
    assert one.saved_fraction == many.saved_fraction == pytest.approx(float(alone.score(state)))


def test_both_questions_of_an_entry_marker_are_one(game):
    kinds = np.asarray(game.stops)[:, :, StopRow._fields.index("kind")]
    slots = np.asarray(game.stops)[:, :, StopRow._fields.index("slot")]
    entries = 0
    for index, stop in np.argwhere(slots < NEVER):
        arrival, departure = 2 * stop, 2 * stop + 1
        if kinds[index, stop] == ENTRY:
            entries += 1
            for number in (arrival, departure):
                assert finish._question(game, index, number) == {arrival, departure}
        else:
            assert finish._question(game, index, arrival) == {arrival}
            assert finish._question(game, index, departure) == {departure}
    assert entries
