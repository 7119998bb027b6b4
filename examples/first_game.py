"""One game of five instructions, move by move (docs/concepts.md): `python examples/first_game.py`.

The machine is a toy: its slow memory moves one byte a second, its fast memory takes no time worth
counting, and five bytes fit.  So sizes are seconds.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from mallocgame.game.environment import ACTION_NAMES, Game, build_game
from mallocgame.game.finish import finish_game
from mallocgame.game.options import GameConfig
from mallocgame.game.state import COPY, DROP, NO_COPY, State
from mallocgame.judge import simulate, verify
from mallocgame.program import Access, Instruction, Program, Value
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import Mapping, all_slow

KINDS = ("read", "definition", "departure")
# What the game below answers, question by question.
ANSWERS = (NO_COPY, NO_COPY, COPY, DROP, NO_COPY, NO_COPY, NO_COPY, NO_COPY, DROP)


def make_program() -> Program:
    """Five instructions over five values.

    `load` takes long to compute, so that a copy can run meanwhile.
    """
    values = (
        Value("x", 1, is_input=True),
        Value("w", 3, is_input=True),
        Value("a", 2),
        Value("b", 2),
        Value("y", 1, is_output=True),
    )
    # Each instruction: name, seconds of computing, values read, value defined.
    rows = (
        ("load", 4, "x", "a"),
        ("scale", 3, "aw", ""),
        ("mix", 4, "a", "b"),
        ("join", 0, "abw", ""),
        ("store", 0, "b", "y"),
    )
    number = {value.name: i for i, value in enumerate(values)}
    accesses = []
    for slot, (_, _, reads, defines) in enumerate(rows):
        for operand, name in enumerate(reads):
            size = values[number[name]].size_bytes
            accesses.append(Access(slot, number[name], "read", (operand,), size))
        for name in defines:
            size = values[number[name]].size_bytes
            accesses.append(Access(slot, number[name], "write", (0,), size, defines=True))
    return Program(
        "five instructions",
        Machine("toy", 5, 1, 1.0, 1e9),
        tuple(Instruction(name, compute_s=float(seconds)) for name, seconds, _, _ in rows),
        values,
        tuple(accesses),
    )


def main() -> None:
    """Prints the program, the game, the mapping and what the judge says."""
    print("\n\n".join(sections().values()))


def sections() -> dict[str, str]:
    """What is printed, by name: program, game, timeline, judge."""
    program = make_program()
    game = build_game([program], GameConfig())
    moves, lines = play(game, program)
    mapping = finish_game(game, program, moves).mapping
    slow, fast = (simulate(program, m).latency_s for m in (all_slow(program), mapping))
    rules = len(verify(program, mapping))
    return {
        "program": table(program),
        "game": "\n".join(lines),
        "timeline": drawn(program, mapping),
        "judge": f"judge: {rules} rules broken, {fast:g} s instead of {slow:g} s",
    }


def table(program: Program) -> str:
    """What each instruction reads and writes, and what it takes with all of it in slow memory."""
    lines = ["slot  instruction  reads                      writes    compute  in slow memory"]
    for slot, instruction in enumerate(program.instructions):
        values: dict[str, list[Value]] = {"read": [], "write": []}
        for access in program.accesses_at[slot]:
            values[access.kind].append(program.values[access.value])
        reads, writes = (
            ", ".join(f"{v.name} ({v.size_bytes} B)" for v in values[kind]) or "-"
            for kind in ("read", "write")
        )
        seconds = [sum(v.size_bytes for v in values[kind]) for kind in ("read", "write")]
        compute = instruction.compute_s
        lines.append(
            f"{slot:<6}{instruction.name:<13}{reads:<27}{writes:<10}{f'{compute:g} s':<9}"
            f"{max(compute, *seconds):g} s"
        )
    return "\n".join(lines)


def play(game: Game, program: Program) -> tuple[list[int], list[str]]:
    """Plays `ANSWERS`; returns the moves, and a line a question."""
    init, look, step = jax.jit(Game.init), jax.jit(_look), jax.jit(Game.step)
    state, moves, lines = init(game, jnp.int32(0)), [], []
    while not bool(state.done):
        (kind, value, slot), mask = look(game, state)
        legal = [name for name, is_legal in zip(ACTION_NAMES, mask, strict=True) if is_legal]
        answer = ANSWERS[len(moves)]
        state, outcome = step(game, state, jnp.int32(answer))
        moves.append(answer)
        what = f"slot {int(slot)}, {KINDS[int(kind)]} of {program.values[int(value)].name}"
        saved = float(state.saved / game.total_ticks[0])
        lines.append(
            f"{what:<27} {', '.join(legal):<19} -> {ACTION_NAMES[answer]:<8} "
            f"reward {float(outcome.reward):.3f}, saved so far {saved:.3f}"
        )
    return moves, lines


def _look(game: Game, state: State) -> tuple[tuple[Array, Array, Array], Array]:
    return game.asked(state), game.legal_actions(state)


def drawn(program: Program, mapping: Mapping) -> str:
    """Fast memory over the slots, a line a residency.

    `>` a copy into fast memory that is under way, `=` resident, `<` resident while a copy out of
    fast memory is under way, `.` not there.
    """
    names = [instruction.name for instruction in program.instructions]
    lines = [" " * 10 + "".join(f"{name:<10}" for name in names).rstrip()]
    arrives = {(t.value, t.start): t.end for t in mapping.prefetches}
    leaves = {t.value: t for t in mapping.evictions}
    for residency in sorted(mapping.residencies, key=lambda r: (r.start, r.value)):
        value = program.values[residency.value]
        ready = arrives.get((residency.value, residency.start), residency.start)
        out = leaves.get(residency.value)
        marks = []
        for slot in range(len(names)):
            if not residency.start <= slot < residency.end:
                marks.append(".")
            elif slot < ready:
                marks.append(">")
            else:
                marks.append("<" if out and out.start <= slot < out.end else "=")
        name = f"{value.name}, {value.size_bytes} B"
        lines.append(f"{name:<10}" + " ".join(mark * 9 for mark in marks))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
