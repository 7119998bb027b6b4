"""A small program, a mapping of it and rows of results, for the tests of the report."""

from __future__ import annotations

from mallocgame.program import Access, Instruction, Loop, Program, Value
from mallocgame.program.machine import Machine
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer
from mallocgame.report import summarize

MACHINE = Machine("small", 1 << 20, 1024, 1e9, 1e10)


def program(name: str = "small <&> program") -> Program:
    """Three values and a loop, with names that HTML and TeX would take for markup."""
    values = (Value("w$x$", 500_000, is_input=True), Value("a<b>", 300_000), Value("back", 200_000))
    accesses = (
        Access(0, 1, "write", bytes=300_000, defines=True),
        Access(0, 2, "write", bytes=200_000, defines=True),
        Access(3, 0, "read", bytes=500_000),
        Access(3, 1, "read", bytes=300_000),
        Access(5, 2, "read", bytes=200_000),
    )
    compute = (1e-4, 1e-3, 0.0, 1e-4, 0.0, 1e-4)
    instructions = tuple(
        Instruction(f"i{t}", compute_s=s, reserved_bytes=4096 * (t == 5))
        for t, s in enumerate(compute)
    )
    return Program(name, MACHINE, instructions, values, accesses, (Loop(2, 4, 3),))


MAPPING = Mapping(
    "small",
    "",
    (
        Residency(0, 0, 1, 5, COPIED),
        Residency(1, 500_736, 0, 5, DEFINED),
        Residency(2, 801_792, 4, 6, COPIED),
    ),
    (Transfer(0, 1, 2), Transfer(2, 4, 5)),
)


def row(program: str, mapper: str, latency: float, production: float | None, **more) -> dict:
    """A row of results.json; all slow takes two seconds."""
    return {
        "program": program,
        "mapper": mapper,
        "latency_s": latency,
        "all_slow_latency_s": 2.0,
        "saved_fraction": 1 - latency / 2.0,
        "speedup_vs_production": production and production / latency - 1,
        "stall_fraction": 0.01,
        "gap_to_bound_closed": None,
        "verified": True,
        "status": "ok",
        "reason": "",
        "seconds": 0.5,
        "decisions": 0,
        "drop_backups": 0,
    } | more


ROWS = [
    row("one", "production", 1.6, 1.6, gap_to_bound_closed=0.0),
    row("one", "agent", 1.25, 1.6, gap_to_bound_closed=0.5, decisions=1234, drop_backups=7),
    row("one", "bound", 1.0, 1.6),
    row("two", "production", 1.0, 1.0, gap_to_bound_closed=0.0, verified=False),
    row("two", "agent", 1.25, 1.0, gap_to_bound_closed=-0.1),
    row("three", "agent", 1.0, None),
]
RESULTS = {
    "suite": "<suite>",
    "machine": ["small"],
    "versions": {"python": "3", "jax": "0"},
    "command": ["evaluate.py", "--suite", "a & b"],
    "rows": ROWS,
    "summary": summarize(ROWS),
}
