"""Rows that are made from others'."""

from __future__ import annotations

from gamekit.evaluation import plan
from gamekit.evaluation.evaluation import evaluate
from mallocgame.domain import DOMAIN
from mallocgame.judge import simulate
from mallocgame.program import load_program
from mallocgame.program.mapping import load_mapping
from tests.support.evaluations import PATH, an_evaluation, rows_of
from tests.support.faulty_games import Learned


def test_the_better_of_two_by_seed(tmp_path):
    """`agent` and `hybrid` are made from others' rows, seed by seed, and written as such."""
    solvers = plan.choose_solvers(DOMAIN, "hybrid,bound", checkpoint=True)
    entries = plan.expand(DOMAIN, solvers, (1.0,), (0, 1))
    evaluation = an_evaluation(
        tmp_path / "out", (), game="mallocgame", player=Learned(), entries=entries
    )
    assert evaluate(evaluation) == 0
    rows = {(row["mapper"], row["seed"]): row for row in rows_of(tmp_path / "out")}
    production = rows["production", None]["latency_s"]
    assert rows["agent", 0]["saved_fraction"] == 0 and rows["agent", 1]["latency_s"] == production
    assert rows["hybrid", 0]["latency_s"] == production
    assert ("trained_best", None) not in rows  # it does not apply
    program = load_program(PATH)
    hybrid = load_mapping(tmp_path / "out" / "mappings" / rows["hybrid", 0]["mapping"], program)
    assert simulate(program, hybrid).latency_s == production
