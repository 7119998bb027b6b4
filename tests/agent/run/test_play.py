"""Play by budget, the store of best solutions, demonstrations, fine-tuning."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agent import improve
from agent.config import save_config
from agent.learning.learner import make_iteration
from agent.learning.state import init_state
from agent.run.best_store import BestStore
from agent.run.checkpoint import Checkpoints, Counters, load_agent
from agent.run.loaded import untrained
from agent.run.play import play
from agent.run.shipped import save_shipped
from agent.run.warm_start import all_lessons, start_from, taught
from agent.selfplay.best import Best
from gamekit.checked import checked
from gamekit.domain import Instance, Made
from gamekit.errors import InputError
from gamekit.observation import plain
from gamekit.probe import DECLINE, FIRST, ProbeGame, delayed, together
from mallocgame.domain import DOMAIN
from mallocgame.game.finish import finish_game
from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.in_game.imitate import imitate
from mallocgame.program import save_program
from mallocgame.program.mapping import all_slow, load_mapping
from mallocgame.suites import find_programs
from tests.support.agent_setup import one_device, small_config

ROOT = Path(__file__).parents[3]

REAL = "tpu_v4_sample/lstm_scan_v4_64mib"


@pytest.fixture(scope="module")
def instance() -> Instance:
    return DOMAIN.instances([REAL])[0]


def demonstrated(instance: Instance, names: list[str], folder: Path) -> Best:
    """The best game in which mappers' mappings of a program are imitated."""
    config = small_config(
        game={"name": "mallocgame"},
        programs=[REAL],
        demonstrations=names,
        demonstration_seconds=0.5,
        rollout={"games": 2, "moves": 4},
        replay={"moves": 8},
    )
    game = DOMAIN.build([instance], GameConfig())
    state = init_state(config, checked(game), jax.random.key_data(jax.random.key(0)), 2)
    return taught(game, state, all_lessons(config, [instance], folder)).best


def test_openings_are_followed_to_their_end():
    """Of three openings the best one counts; a fresh agent by itself finds nothing as good."""
    game = together(delayed(30, delay=5))
    config = small_config(search={"simulations": 0})
    agent = untrained(config, game.spec)
    count, rng = game.spec.num_questions, np.random.default_rng(0)
    openings = [rng.integers(0, 3, count).astype(np.int8) for _ in range(3)]
    seen = checked(game)
    scores = []
    for opening in openings:
        state = seen.init(jnp.zeros(1, jnp.int32))
        while not bool(seen.done(state)[0]):
            legal = np.asarray(seen.legal_actions(state))[0]
            told = int(opening[int(seen.question(state).number[0])])
            accepting = [a for a in range(3) if legal[a] and a != DECLINE]
            told = told if legal[told] else (accepting or [DECLINE])[0]
            state, _ = seen.step(state, jnp.array([told], jnp.int32))
        scores.append(float(seen.score(state)[0]))
    key = jax.random.key(1)
    played = play(game, agent, config, 0, key, games=8, openings=openings)
    np.testing.assert_allclose(played.every[1:4], scores, atol=1e-6)
    half = play(game, agent, config, 0, key, games=4, openings=openings)
    np.testing.assert_allclose(half.every[1:3], scores[:2], atol=1e-6)
    assert half.every[3] != pytest.approx(scores[2])


def test_more_seconds_are_more_rounds_and_never_worse(monkeypatch):
    # A clock that goes on by a second whenever it is read, so that no machine is too slow.
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    game = together(delayed(30, delay=5))
    config = small_config(search={"simulations": 2, "max_depth": 2})
    agent = untrained(config, game.spec)
    # With time for rounds nothing is searched.
    policy = small_config(search={"simulations": 0})
    once = play(game, agent, policy, 0, jax.random.key(1), games=8)
    longer = play(game, agent, config, 0, jax.random.key(1), games=8, seconds=60.0)
    assert once.rounds == 1 < longer.rounds
    assert once.every.shape == (8,) and longer.every.shape == (8 * longer.rounds,)
    np.testing.assert_array_equal(once.every, longer.every[:8])
    # A fresh agent guesses; leaving the best game at one decision after the other climbs from it.
    assert longer.score == longer.every.max() > once.score + 0.02
    state = game.init(jnp.zeros(1, jnp.int32))
    for move in longer.moves:
        state, _ = game.step(state, jnp.full(1, int(move)))
    assert bool(game.done(state)[0])
    assert float(game.score(state)[0]) == pytest.approx(longer.score)


def test_the_best_game_is_the_judges_who_sees_each_once_and_few_a_round(monkeypatch):
    """A judge that likes what it likes, below every score, so that no estimate rules a game out."""
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    game = together(delayed(30, delay=5))
    agent = untrained(small_config(), game.spec)
    seen: dict[bytes, float] = {}

    def judge(moves: np.ndarray) -> float:
        assert moves.tobytes() not in seen
        digest = hashlib.sha256(moves.tobytes()).digest()
        seen[moves.tobytes()] = -2 - digest[0] / 256
        return seen[moves.tobytes()]

    config = small_config(search={"simulations": 0})
    played = play(game, agent, config, 0, jax.random.key(1), games=16, seconds=30.0, judge=judge)
    assert played.rounds > 1 and 4 < len(seen) <= 8 * played.rounds
    assert played.score == max(seen.values()) == seen[played.moves.tobytes()]


def test_a_game_that_cannot_be_better_is_not_judged():
    """Without an estimate of the game's own no solution is worth more than its game."""
    game = together(delayed(30, delay=5))
    agent, config = untrained(small_config(), game.spec), small_config(search={"simulations": 0})
    count: list[float] = []

    def judge(moves: np.ndarray) -> float:
        count.append(1e9)
        return 1e9

    played = play(game, agent, config, 0, jax.random.key(1), games=16, seconds=2.0, judge=judge)
    assert played.score == 1e9 and len(count) == 1


def test_the_store_never_takes_a_worse_mapping_or_a_wrong_one(tmp_path, instance):
    slow, good = all_slow(instance.content), instance.reference
    assert good is not None and not verify(instance.content, good)
    store = BestStore(DOMAIN, tmp_path / "best")
    assert store.score(instance) is None
    score = simulate(instance.content, good).saved_fraction
    assert store.offer(instance, Made(slow), 0.0)
    assert store.offer(instance, Made(good), score)
    assert not store.offer(instance, Made(slow), 0.0)
    assert not store.offer(instance, Made(good), score)
    assert BestStore(DOMAIN, tmp_path / "best").score(instance) == score > 0
    wrong = dataclasses.replace(good, residencies=good.residencies * 2)
    with pytest.warns(UserWarning, match="the judge rejects a mapping"):
        assert not store.offer(instance, Made(wrong), score)
    assert load_mapping(store.path(instance), instance.content) == good
    # What is damaged is worth nothing.
    store.path(instance).write_text("{")
    assert store.score(instance) is None
    assert store.offer(instance, Made(slow), 0.0)


def test_a_game_that_its_judge_gives_less_is_said(tmp_path, instance):
    store, slow = BestStore(DOMAIN, tmp_path / "best"), all_slow(instance.content)
    said = "the game says 0.5 and its judge 0; one of them is wrong"
    with pytest.warns(UserWarning, match=said):
        assert store.offer(instance, Made(slow), 0.5)
    # What counts is what the game says of the moves that were made into the solution.
    with pytest.warns(UserWarning, match=said):
        store.offer(instance, Made(slow, score=0.5, backtracks=1), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.offer(instance, Made(slow, score=0.0, backtracks=1), 0.5)


def test_demonstrations_are_imitated_and_the_best_counts(instance, tmp_path):
    program, game = instance.content, DOMAIN.build([instance], GameConfig())
    found = {}
    for names in (("production",), ("random",), ("random", "production")):
        shown = demonstrated(instance, list(names), tmp_path / "-".join(names))
        score, length = float(shown.score[0]), int(shown.length[0])
        made = finish_game(game, program, np.asarray(shown.moves[0, :length]))
        assert made.backups == 0 and made.saved_fraction == pytest.approx(score, abs=1e-6)
        assert verify(program, made.mapping) == []
        assert simulate(program, made.mapping).saved_fraction >= score - 1e-5
        imitated = imitate(program, GameConfig(), instance.reference)
        if names == ("production",):
            assert simulate(program, imitated.mapping).saved_fraction >= score - 1e-5
            assert imitated.decisions == length
        found[names] = score
    assert found["random", "production"] == max(found["production",], found["random",])
    said = "demonstrations: must be of production, .*, got 'oracle'"
    with pytest.raises(InputError, match=said):
        DOMAIN.lessons(instance, GameConfig(), ["msa", "oracle"], 0.5, 0)


def test_a_demonstration_replaces_only_what_is_worse():
    """Two lessons for two instances of a probe: DECLINE everywhere, FIRST everywhere."""
    probe = delayed(7, delay=3)
    game = checked(together(probe, probe))
    config = small_config(rollout={"games": 2, "moves": 4}, replay={"moves": 8})
    state = init_state(config, game, jax.random.key_data(jax.random.key(0)), 2)
    count = game.spec.num_questions
    declines, accepts = (np.full((1, count), x, np.int8) for x in (DECLINE, FIRST))
    low = taught(game, state, [declines, np.zeros((0, 0), np.int8)])
    assert np.isfinite(low.best.score[0]) and (low.lessons[0] == DECLINE).all()
    assert low.lessons[1].tolist() == [-1] * count
    both = taught(game, low, [np.concatenate([accepts, declines]), accepts])
    assert both.best.score[0] == max(float(low.best.score[0]), float(both.best.score[1]))
    better = FIRST if both.best.score[1] > low.best.score[0] else DECLINE
    assert (both.lessons[0] == better).all()
    again = taught(game, both, [declines, declines])
    for one, other in zip(jax.tree.leaves(both.best), jax.tree.leaves(again.best), strict=True):
        np.testing.assert_array_equal(one, other)


def test_lessons_are_kept_in_a_folder(instance, tmp_path, monkeypatch):
    config = small_config(
        game={"name": "mallocgame"}, programs=[REAL], demonstrations=["production"]
    )
    (made,) = all_lessons(config, [instance], tmp_path / "kept")
    monkeypatch.setattr("agent.run.warm_start.lessons_of", lambda *_: pytest.fail("made again"))
    (kept,) = all_lessons(config, [instance], tmp_path / "kept")
    np.testing.assert_array_equal(made, kept)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="damaged; remove it"):
        all_lessons(config, [instance], tmp_path / "kept")


def fresh_run(folder, game: ProbeGame, **sections):
    """A run with one checkpoint of a fresh state."""
    config = small_config(**sections)
    iteration = make_iteration(config, game, one_device())
    state = iteration.init(game, jax.random.key_data(jax.random.key(9)))
    scale = dataclasses.replace(state.scale, baseline=state.scale.baseline + 0.5)
    state = dataclasses.replace(state, scale=scale, typical_advantage=jnp.float32(0.2))
    folder.mkdir()
    save_config(config, folder / "config.yaml")
    checkpoints = Checkpoints(folder / "checkpoints", game.spec)
    checkpoints.save(1, state, Counters(instances=("a",)))
    checkpoints.close()
    return state


def test_fine_tuning_begins_with_the_networks_and_nothing_else(tmp_path):
    game = together(delayed(5))
    trained = fresh_run(tmp_path / "base", game)
    config = small_config(train={"start_from": str(tmp_path / "base")})
    iteration = make_iteration(config, game, one_device())
    fresh = iteration.init(game, jax.random.key_data(jax.random.key(1)))
    state = start_from(config, game.spec, fresh)
    assert jax.tree.structure(state) == jax.tree.structure(fresh)
    for a, b in zip(*map(jax.tree.leaves, (state.params, trained.params)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(state.typical_advantage) == pytest.approx(0.2)
    assert float(state.scale.baseline[0]) == pytest.approx(0.5)
    for name in ("optimiser", "replay", "lanes", "best", "key"):
        pairs = zip(
            *map(jax.tree.leaves, (getattr(state, name), getattr(fresh, name))), strict=True
        )
        assert all(a is b for a, b in pairs)
    save_shipped(tmp_path / "shipped", load_agent(tmp_path / "base"), {})
    config = small_config(train={"start_from": str(tmp_path / "shipped")})
    pairs = zip(*map(jax.tree.leaves, (start_from(config, game.spec, fresh), state)), strict=True)
    assert all(np.array_equal(jax.device_get(a), jax.device_get(b)) for a, b in pairs)
    _refused(tmp_path, game)


def _refused(tmp_path, game: ProbeGame) -> None:
    for sections, message in (
        ({"network": {"latent": 16}}, r"network\.latent must be as in that run, 32, got 16"),
        ({"train": {"start_from": str(tmp_path / "none")}}, "none: no training run"),
        ({}, "observation must be as in that run, .*'label', .*, got .*name='features', "),
    ):
        train = {"start_from": str(tmp_path / "base")} | sections.get("train", {})
        config = small_config(**(sections | {"train": train}))
        seen = game.spec.observation if sections else plain(game.spec.observation.size)
        spec = dataclasses.replace(game.spec, observation=seen)
        with pytest.raises(InputError, match=message) as caught:
            start_from(config, spec, None)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_programs_of_very_different_length_and_a_run_from_end_to_end(tmp_path, capsys):
    """Demonstrations, the store and play, on two real programs, the long one 25 times as long."""
    names = [REAL, "tpu_v4_sample/gpt2_decode_v4_4mib"]
    instances = DOMAIN.instances(names)
    config = small_config(
        game={"name": "mallocgame"},
        programs=names,
        demonstrations=["production"],
        rollout={"games": 16, "moves": 64, "guided_fraction": 0.3},
        replay={"moves": 512},
        learner={"batch_size": 64, "updates": 4},
        train={"iterations": 6, "checkpoint_every": 3},
    )
    path = tmp_path / "config.yaml"
    save_config(config, path)
    runs = tmp_path / "runs"
    # A process of its own: the number of devices is chosen before JAX is used.
    command = [sys.executable, ROOT / "train.py", "--config", path, "--runs", runs]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    lines = [
        json.loads(line) for line in (runs / "test" / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines[0]["best_saved"] is not None, "the demonstrations are the first best games"
    assert all(b["best_saved"] >= a["best_saved"] for a, b in itertools.pairwise(lines))
    assert np.isfinite(lines[-1]["loss"])
    store = BestStore(DOMAIN, runs / "test" / "best")
    before = [store.score(instance) for instance in instances]
    for instance, score in zip(instances, before, strict=True):
        shown = demonstrated(instance, ["production"], tmp_path / "shown")
        assert score is not None and score >= float(shown.score[0]) - 1e-5
    capsys.readouterr()
    assert improve.main([str(runs / "test"), "--seconds", "2", "--games", "4"]) == 0
    assert capsys.readouterr().out.count(" rounds of 4 games") == 2
    after = [store.score(instance) for instance in instances]
    assert all(
        a is not None and b is not None and a >= b for a, b in zip(after, before, strict=True)
    )


def test_improving_nothing_is_one_line(tmp_path, capsys):
    assert improve.main([str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path}: no training run (it has no config.yaml)\n"
    )


def test_splits_of_a_suite(tmp_path, instance):
    program = instance.content
    for name in ("one", "two", "unlisted"):
        save_program(dataclasses.replace(program, name=name), tmp_path / f"{name}.program.json.gz")
    with pytest.raises(InputError, match=r"the suite has no suite\.json"):
        find_programs([f"{tmp_path}:train"])
    entries = {"one": "train", "two": "test", "three": "train"}
    index = {
        "format": "mallocgame.suite",
        "version": 1,
        "programs": {name: {"entry": {"split": split}} for name, split in entries.items()},
    }
    (tmp_path / "suite.json").write_text(json.dumps(index))
    assert [p.name for p in find_programs([f"{tmp_path}:train"])] == ["one.program.json.gz"]
    assert len(find_programs([str(tmp_path)])) == 3
    with pytest.raises(InputError, match="no such split; the suite has test, train"):
        find_programs([f"{tmp_path}:validation"])
    train = {p.name for p in find_programs(["tpu_v4:train"])}
    test = {p.name for p in find_programs(["tpu_v4:test"])}
    assert train and test and not train & test


def test_an_agent_plays_instances_it_was_not_trained_on():
    config = small_config(search={"simulations": 2, "max_depth": 2})
    game = together(delayed(6))
    agent = untrained(config, game.spec, instances=5)
    played = play(game, agent, config, 0, jax.random.key(0), games=2)
    assert len(played.moves) == 6
