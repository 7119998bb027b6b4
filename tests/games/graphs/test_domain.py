"""The graph game in the game kit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from gamekit.conformance import check_domain, check_environment
from gamekit.errors import InputError
from gamekit.registry import load_domain
from games.graphs.closed_form import Costs
from games.graphs.domain import DOMAIN, naive_latency
from games.graphs.game.environment import build_game
from games.graphs.game.options import GraphsConfig
from games.graphs.judge import evaluate
from games.graphs.mappers.merging import merging
from games.graphs.problem import Problem, save_problem
from games.graphs.replay import moves_of_plan, plan_of_moves
from games.graphs.synthetic.families import FAMILIES, generate, generate_many
from tests.support.graphs import diamond, one_matmul, two_matmuls


@pytest.mark.slow
def test_the_game_keeps_the_protocol():
    instances = DOMAIN.instances(["small/mlp_102", "small/gated_102", "small/graph_network_100"])
    options = GraphsConfig(largest_group=8)
    check_environment(DOMAIN.build(instances, options))
    check_domain(DOMAIN, instances, options)


def test_names_lead_to_instances(tmp_path):
    save_problem(diamond(), tmp_path / "b10.json")
    save_problem(diamond(), tmp_path / "b9.json")
    assert [i.name for i in DOMAIN.instances([str(tmp_path)])] == ["b9", "b10"]
    assert [i.name for i in DOMAIN.instances([str(tmp_path / "b9.json")])] == ["b9"]
    assert len(DOMAIN.instances(["small"])) == 15
    generated = DOMAIN.instances(["generated:3:7"])
    assert [i.name for i in generated] == ["attention_7", "mlp_7", "gated_7"]
    assert DOMAIN.knows("small/mlp_100") and DOMAIN.knows("generated:2")
    assert not DOMAIN.knows("tpu_v4_sample")
    assert load_domain("games.graphs.domain:DOMAIN") is DOMAIN


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere"], "problem must be a file, a folder, a suite .* got 'nowhere'"),
        (["generated:0"], "generated:0: must be 1..100000 problems"),
        (["small/mlp_100", "small/mlp_100"], "the name 'mlp_100' is there twice"),
    ],
)
def test_unknown_names_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        DOMAIN.instances(names)


def test_references_are_naive_and_scores_are_what_is_saved():
    (instance,) = DOMAIN.instances(["small/gated_102"])
    verdict = DOMAIN.judge(instance, instance.reference)
    assert verdict.valid and verdict.score == pytest.approx(0, abs=1e-9)
    solved = DOMAIN.solvers["merging"].run(instance, GraphsConfig(), 5.0, 0)
    assert solved is not None
    merged = DOMAIN.judge(instance, solved.solution)
    assert merged.valid and merged.score > 0
    assert merged.score <= DOMAIN.limit(instance, {"bound": instance.content.compute_bound}).score
    polished = DOMAIN.polish(instance, [solved.solution], 0.5, 0)
    assert DOMAIN.judge(instance, polished.solution).score >= merged.score - 1e-9


def test_solutions_there_and_back(tmp_path):
    (instance,) = DOMAIN.instances(["small/graph_network_100"])
    DOMAIN.save(instance.reference, tmp_path / "s.json")
    assert DOMAIN.load(tmp_path / "s.json", instance) == instance.reference


def test_the_suite_is_what_the_generator_makes():
    made = {problem.name: problem for problem in generate_many(15, 100, 24)}
    found = {i.name: i.content for i in DOMAIN.instances(["small"])}
    assert found == made


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_problems_are_valid_and_differ(family, tmp_path):
    made = [generate(family, seed) for seed in range(12)]
    assert len({problem.fingerprint for problem in made}) == 12
    for problem in made:
        save_problem(problem, tmp_path / f"{problem.name}.json")
        assert problem.num_ops <= 64
        assert len(problem.graph_outputs) == 1
    assert {i.content for i in DOMAIN.instances([str(tmp_path)])} == set(made)
    assert generate(family, 3) == made[3]


def test_variants_depend_on_seed_and_number_alone():
    instances = DOMAIN.instances(["small/mlp_102", "small/gated_102"])
    three, four = DOMAIN.variants(instances, 3, 1), DOMAIN.variants(instances, 4, 1)
    assert [i.content for i in three] == [i.content for i in four[:3]]
    assert len({i.fingerprint for i in four}) == 4
    assert DOMAIN.variants(instances, 1, 2)[0].content != three[0].content
    with pytest.raises(InputError, match="at least one problem"):
        DOMAIN.variants([], 1, 0)


def test_moves_make_solutions():
    """Closing at once is naive; joining everything is one subgraph."""
    costs = Costs(diamond())
    alone = plan_of_moves(costs, GraphsConfig(), [0, 0, 0, 0, 0, 0])
    assert alone.latency == pytest.approx(sum(costs.naive(op) for op in range(3)))
    joined = plan_of_moves(costs, GraphsConfig(), [0, 3, 0])
    assert joined.groups == (frozenset([0, 2, 1]),) or len(joined.groups) == 1


def test_plans_are_played_by_moves():
    """The game makes merging's plan to the operation where it retains one tensor at most."""
    config, exact = GraphsConfig(), 0
    for instance in DOMAIN.instances(["small"]):
        costs = Costs(instance.content)
        plan = merging(costs)
        found = plan_of_moves(costs, config, moves_of_plan(costs, config, plan))
        narrow = all(len(kept) <= 1 for kept in plan.retains)
        if narrow and set(found.groups) == set(plan.groups):
            assert found.latency == pytest.approx(plan.latency)
            exact += 1
        assert found.latency <= sum(costs.naive(op) for op in range(instance.content.num_ops))
    assert exact >= 11


def test_lessons_are_games_of_the_environment():
    instances = DOMAIN.instances(["small/mlp_102", "small/gated_102"])
    game = DOMAIN.build(instances, GraphsConfig())
    init, step = jax.jit(game.init), jax.jit(game.step)
    look = jax.jit(lambda state: (game.done(state)[0], game.legal_actions(state)[0]))
    for number, instance in enumerate(instances):
        plan = merging(Costs(instance.content))
        (lesson,) = DOMAIN.lessons(instance, GraphsConfig(), ["merging"], 1.0, 0)
        state = init(jnp.array([number]))
        for move in lesson[lesson >= 0].tolist():
            done, legal = look(state)
            assert not done and legal[move]
            state, _ = step(state, jnp.array([move]))
        assert game.done(state)[0]
        saved = 1 - plan.latency / naive_latency(instance.content)
        assert float(game.score(state)[0]) == pytest.approx(saved, abs=1e-5)
    with pytest.raises(InputError, match=r"demonstrations: must be of .*, got 'oracle'"):
        DOMAIN.lessons(instances[0], GraphsConfig(), ["oracle"], 1.0, 0)


def test_the_game_refuses_what_it_cannot_play():
    squared = Problem(
        "squared", (8, 8), (8, 8), ((0, 0),), (1,), (1.0,), ("MatMul",), 100, 1.0, (8, 8)
    )
    with pytest.raises(InputError, match=r"inputs\[0\]: the game plays MatMuls of two different"):
        build_game([squared], GraphsConfig())
    three = Problem(
        "three", (8,) * 4, (8,) * 4, ((0, 1, 2),), (3,), (1.0,), ("Pointwise",), 900, 1.0, (8, 8)
    )
    with pytest.raises(InputError, match="operations of at most two inputs"):
        build_game([three], GraphsConfig())
    with pytest.raises(InputError, match=r"largest_group: must be in 1..64, got 0"):
        GraphsConfig(largest_group=0)


def test_naive_times_of_game_and_closed_form_are_one():
    problems = [one_matmul(), two_matmuls(), generate("mlp", 5), generate("attention", 2)]
    game = build_game(problems, GraphsConfig())
    for row, problem in zip(game.tables.naive.tolist(), problems, strict=True):
        costs = Costs(problem)
        expected = [costs.naive(op) for op in problem.order]
        assert row[: len(expected)] == pytest.approx(expected, rel=1e-5)
        assert evaluate(problem, naive_solution(problem)).latency == pytest.approx(sum(expected))


def naive_solution(problem: Problem):
    from games.graphs.mappers.plans import solution_of
    from games.graphs.mappers.simple import naive

    costs = Costs(problem)
    return solution_of(costs, naive(costs))
