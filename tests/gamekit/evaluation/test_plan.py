"""Which contestants run, with which budgets and seeds."""

from __future__ import annotations

from gamekit.evaluation import plan
from gamekit.probe import DOMAIN as PROBES
from mallocgame.domain import DOMAIN


def test_plans():
    assert plan.choose_solvers(DOMAIN, None, False) == (
        "production", "imitated", "all_fast", "greedy", "random", "bound",
    )  # fmt: skip
    assert set(plan.choose_solvers(DOMAIN, "all", True)) == set(plan.contestants(DOMAIN))
    assert not set(plan.choose_solvers(DOMAIN, "all", False)) & set(plan.LEARNED)
    assert plan.choose_solvers(DOMAIN, "greedy, greedy", False) == ("greedy",)
    assert "played_on" not in plan.choose_solvers(DOMAIN, None, True)
    needed = plan.choose_solvers(DOMAIN, "hybrid", True)
    assert set(needed) == {"hybrid", "agent", "production", "played", "trained_best"}
    assert "polished" in plan.contestants(DOMAIN)
    assert "polished" not in plan.contestants(PROBES)
    assert plan.names_agent("greedy, played_on") == "played_on"
    assert plan.names_agent("all") is plan.names_agent(None) is None
    one = plan.expand(DOMAIN, ("milp", "msa"), (5.0,), (0, 3))
    assert [(e.label, e.budget_s, e.seed) for e in one] == [
        ("milp", 5.0, 0), ("milp", 5.0, 3), ("msa", None, None),
    ]  # fmt: skip
    labels = {e.label for e in plan.expand(DOMAIN, ("milp", "greedy"), (0.5, 60.0), (0,))}
    assert labels == {"milp@0.5s", "milp@60s", "greedy"}
