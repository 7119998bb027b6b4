"""Self-play in a scan against a plain loop, on a small game."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from agent.config.schedule import Exploration
from agent.networks import Agent, ValueScale, init_params
from agent.search import learned_model, search
from agent.selfplay.best import Best, init_best
from agent.selfplay.guidance import (
    MAKING_ROOM,
    NO_GOAL,
    OPEN_TOPIC,
    Guides,
    Plan,
    draw_guides,
    no_guides,
)
from agent.selfplay.rollout import draw_instances, init_lanes, play_moves
from gamekit.checked import checked
from gamekit.environment import GuidingEnvironment, Spec
from gamekit.probe import DECLINE, FIRST, SECOND, Probe, ProbeGame, delayed, together, trap
from tests.support.agent_setup import small_config

SCALE = ValueScale(jnp.ones(1), jnp.ones(1))


def setup(game: GuidingEnvironment, typical: float, **sections):
    config = small_config(
        **({"rollout": {"games": 4, "moves": 20}, "replay": {"moves": 20}} | sections)
    )
    params = init_params(config.network, game.spec, jax.random.key(0))
    lanes = init_lanes(game, config.rollout.games, jax.random.key(1))
    return config, Agent(params, SCALE, jnp.float32(typical)), lanes, init_best(game.spec)


def follow(probe: Probe, told: np.ndarray, guides: Guides | None = None, **rollout):
    """Lanes, best games and moves of a rollout behind the best game `told`; with `guides`, of games
    that follow it from the start."""
    replay, game = {"moves": rollout["moves"]}, checked(together(probe))
    config, agent, lanes, _ = setup(game, 1.0, rollout=rollout, replay=replay)
    if guides is not None:
        lanes = lanes.replace(guides=guides)
    return play_moves(config, game, agent, best_game(told), lanes, jax.random.key(3))[:3]


def plan(kind: Plan, games: int, **fields: int | bool) -> Guides:
    """Guides of games that all have one plan."""
    arrays = {name: jnp.full(games, value) for name, value in fields.items()}
    return no_guides(games).replace(plan=jnp.full(games, int(kind), jnp.int32), **arrays)


def accepting(probe: Probe) -> np.ndarray:
    """The answer other than DECLINE to every question; DECLINE where it alone is legal."""
    legal = probe.legal
    return np.where(legal[:, FIRST], FIRST, np.where(legal[:, SECOND], SECOND, DECLINE))


def test_scan_equals_a_plain_loop():
    game = checked(together(delayed(7, delay=3)))
    config, agent, lanes, best = setup(game, 0.1)
    key = jax.random.key(2)
    play = jax.jit(lambda *x: play_moves(config, *x))
    _, got_best, moves, _ = play(game, agent, best, lanes, key)
    look = jax.jit(
        lambda observation, legal, key: search(
            agent.params,
            observation,
            legal,
            key,
            config=config,
            spec=game.spec,
            model=learned_model(config, game.spec),
            typical_advantage=agent.typical_advantage,
        )
    )
    step, reset, observe = jax.jit(game.step), jax.jit(game.reset), jax.jit(game.observe)
    state = lanes.state
    finished = []
    for t, step_key in enumerate(jax.random.split(key, config.rollout.moves)):
        search_key, _, _ = jax.random.split(step_key, 3)
        observation = observe(state).astype(jnp.float16).astype(jnp.float32)
        legal = game.legal_actions(state)
        result = look(observation, legal, search_key)
        np.testing.assert_array_equal(moves.action[t], result.action)
        returns = result.value + game.headroom(state)
        np.testing.assert_allclose(moves.value[t], returns, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(moves.observation[t], observation.astype(jnp.float16))
        np.testing.assert_array_equal(moves.index[t], game.history(state).length)
        state, stepped = step(state, result.action)
        done = game.done(state)
        np.testing.assert_allclose(moves.reward[t], stepped.reward, atol=1e-7)
        np.testing.assert_array_equal(moves.done[t], done)
        np.testing.assert_array_equal(moves.undone_from[t], stepped.undone_from)
        finished += [float(s) for s, d in zip(game.score(state), done, strict=True) if d]
        state = reset(state, done, jnp.zeros(4, jnp.int32))
    assert len(finished) == 8  # 20 moves are two games of 7 in each of 4 lanes
    assert float(got_best.score[0]) == max(finished)


@pytest.mark.parametrize(("balance", "odds"), [(0.0, [1, 1, 1]), (1.0, [100, 10, 18.2])])
def test_short_instances_are_played_more_often(balance, odds):
    lengths = jnp.array([10, 100, 0])  # of the last one no game is known yet
    drawn = draw_instances(jax.random.key(0), jnp.arange(20_000), lengths, balance)
    shares = np.bincount(drawn, minlength=3) / 20_000
    np.testing.assert_allclose(shares, np.array(odds) / sum(odds), atol=0.02)
    none = draw_instances(jax.random.key(0), jnp.arange(20_000), jnp.zeros(3, jnp.int32), balance)
    np.testing.assert_allclose(np.bincount(none) / 20_000, 1 / 3, atol=0.02)


def test_the_best_moves_repeat_the_best_game():
    game = checked(together(trap()))
    config, agent, lanes, best = setup(
        game, 1.0, rollout={"games": 16, "moves": 40}, replay={"moves": 40}
    )
    _, best, moves, _ = play_moves(config, game, agent, best, lanes, jax.random.key(0))
    state = game.init(jnp.zeros(1, jnp.int32))
    step = jax.jit(game.step)
    # The forced answers are there too, so that repeating them springs no trap.
    for action in best.moves[0, : int(best.length[0])]:
        state, _ = step(state, action[None])
    assert bool(game.done(state)[0])
    assert int(game.history(state).backtracks[0]) == 0
    np.testing.assert_allclose(game.score(state)[0], best.score[0], rtol=1e-6)
    assert bool(jnp.any(moves.undone_from <= moves.index)), "no game sprang the trap"


def best_game(told: np.ndarray) -> Best:
    """A best game of a probe, whose questions are its decisions."""
    moves = jnp.asarray(told, jnp.int32)[None]
    return Best(jnp.array([9.0]), moves, jnp.array([len(told)]), moves, jnp.array([-1]))


def test_deviating_games_come_back_to_the_best_game():
    probe = delayed(30, delay=3)
    told = accepting(probe)
    guides = plan(Plan.WINDOW, 64, leave=10, width=12)
    after, _, moves = follow(probe, told, guides, games=64, moves=30)
    actions, branched = np.asarray(moves.action), np.asarray(moves.branched)
    other = actions != told[:, None]
    assert not other[:10].any() and not other[22:].any()
    # About three decisions of each game; half of them at random, the others the agent's own.
    assert 1.2 < other.sum(axis=0).mean() < 3.0
    assert 1.0 < branched.sum(axis=0).mean() < 2.0
    assert (actions[branched] != np.broadcast_to(told[:, None], actions.shape)[branched]).all()
    assert (other & ~branched).any() and (other.sum(axis=0) > 1).any()
    # New games begin without answers; those of the old ones are what was played.
    assert (np.asarray(after.answers) == -1).all() and (
        np.asarray(after.guides.plan) == Plan.NONE
    ).all()


@pytest.mark.parametrize("accepts", [False, True])
def test_games_with_a_topic_answer_all_questions_about_it_alike(accepts):
    probe = delayed(30, delay=3)
    yes = accepting(probe)
    told = np.where(np.random.default_rng(0).random(30) < 0.5, yes, DECLINE)
    told[10] = DECLINE if accepts else yes[10]
    _, _, moves = follow(probe, told, plan(Plan.TOPIC, 8, leave=10, width=1), games=8, moves=30)
    expected = told.copy()
    expected[10::3] = yes[10::3] if accepts else DECLINE  # every third question is about the topic
    assert 1 < (expected != told).sum() < 7
    np.testing.assert_array_equal(moves.action, np.repeat(expected[:, None], 8, 1))
    np.testing.assert_array_equal(moves.branched[:, 0], expected != told)


@pytest.mark.parametrize("beyond", [False, True])
def test_games_make_room_for_an_arrival(beyond):
    """What is accepted takes room for three decisions (`gamekit.probe.ROOM`)."""
    probe = delayed(30, delay=3)
    yes = accepting(probe)
    told, goal, room = yes.copy(), 20, 4
    told[goal] = DECLINE
    guides = plan(Plan.ROOM, 8, leave=0, width=1, goal=goal, room=room, beyond=beyond)
    guides = guides.replace(returns=jnp.arange(8) < 4)
    _, _, moves = follow(probe, told, guides, games=8, moves=30)
    expected = told.copy()
    expected[goal] = yes[goal]
    for at in range(30):
        meets = at <= goal and at + 3 > goal - room
        if meets and at % 3 != goal % 3 and (not beyond or at + 3 > goal + 1):
            expected[at] = DECLINE
    assert (expected != told).sum() == (2 if beyond else 5)
    actions = np.asarray(moves.action)
    np.testing.assert_array_equal(actions[:, :4], np.repeat(expected[:, None], 4, 1))
    np.testing.assert_array_equal(actions[: goal + 1, 4:], actions[: goal + 1, :4])
    assert (actions[goal + 1 :, 4:] != told[goal + 1 :, None]).any()
    np.testing.assert_array_equal(moves.branched[:, 0], expected != told)
    assert not np.asarray(moves.branched)[goal + 1 :].any()


def test_room_is_made_for_every_declined_arrival_alike_however_long_the_game_is():
    declined = np.zeros((1, 40), bool)
    declined[0, [3, 4, 5, 36]] = True
    games = jnp.arange(4000)

    def goals(rows: np.ndarray) -> np.ndarray:
        rows = jnp.asarray(np.repeat(rows, len(games), 0))
        lengths = jnp.full(len(games), 40)
        return np.asarray(draw_guides(jax.random.key(0), games, lengths, rows, 1.0, 1.0).goal)

    short, long = goals(declined), goals(np.pad(declined, ((0, 0), (0, 984))))
    np.testing.assert_array_equal(short, long)
    numbers, counts = np.unique(short[short != NO_GOAL], return_counts=True)
    assert numbers.tolist() == [3, 4, 5, 36]
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.05)
    assert (goals(np.zeros_like(declined)) == NO_GOAL).all()


def test_windows_of_deviations_have_all_lengths():
    everyone = {"games": 256, "moves": 30, "guided_fraction": 1.0, "deviating": 0.5}
    after, best, _ = follow(delayed(30, delay=3), np.full(30, DECLINE), **everyone)
    width, leave = np.asarray(after.guides.width), np.asarray(after.guides.leave)
    assert (leave >= 0).all() and (leave < 30).all()
    kind, goal = np.asarray(after.guides.plan), np.asarray(after.guides.goal)
    assert (kind != Plan.NONE).all()
    np.testing.assert_array_equal(width > 0, kind != Plan.LEAVE)
    assert 0.4 < (width > 0).mean() < 0.6
    np.testing.assert_array_equal(goal != NO_GOAL, kind == Plan.ROOM)
    assert len(set(goal[goal != NO_GOAL])) > 10
    assert abs((kind[width > 0] == Plan.ROOM).mean() - MAKING_ROOM) < 0.1
    alone = (width > 0) & (goal == NO_GOAL)
    assert 0.4 < (kind[alone] == Plan.TOPIC).mean() < 0.6
    np.testing.assert_array_equal(kind[alone] != Plan.TOPIC, kind[alone] == Plan.WINDOW)
    assert (np.asarray(after.guides.topic) == OPEN_TOPIC).all()
    chosen = width[width > 0]
    assert chosen.min() <= 2 and chosen.max() >= 20
    assert 3 < np.median(chosen) < 10  # of lengths equally likely in their logarithm
    assert float(best.score[0]) == 9.0


def test_guided_games_follow_the_best_game_and_leave_it_once():
    probe = delayed(7, delay=3)
    told = accepting(probe)
    assert (told != DECLINE).all()
    guides = plan(Plan.LEAVE, 4, leave=5)
    _, _, moves = follow(probe, told, guides, games=4, moves=20, guided_fraction=1.0)
    np.testing.assert_array_equal(np.asarray(moves.action)[:5], np.repeat(told[:5, None], 4, 1))
    assert np.all(np.asarray(moves.action)[5] != told[5])
    np.testing.assert_array_equal(np.asarray(moves.branched)[:7].sum(axis=0), 1)
    assert np.all(np.asarray(moves.branched)[5])


def test_lessons_are_a_share_of_the_policy_in_whatever_state_they_are_asked():
    """Half of the target is the best game's answer, or else the lesson's."""
    probe = delayed(7, delay=3)
    game = checked(together(probe))
    config, agent, lanes, best = setup(game, 1.0)
    key, explore = jax.random.key(5), Exploration(1.0, 0.0, 0.5)
    lessons = np.full((1, game.spec.num_questions), -1, np.int8)
    lessons[0, 2:5] = SECOND
    answers = best.answers.at[0, 4].set(DECLINE)
    best = dataclasses.replace(best, answers=answers)
    plain = play_moves(config, game, agent, best, lanes, key, explore)[2]
    taught = play_moves(config, game, agent, best, lanes, key, explore, jnp.asarray(lessons))[2]
    np.testing.assert_array_equal(plain.action, taught.action)
    for t in range(config.rollout.moves):
        for b in range(4):
            question = int(plain.index[t, b])  # a game of this probe asks each question once
            before, after = np.asarray(plain.policy[t, b]), np.asarray(taught.policy[t, b])
            legal = np.asarray(plain.legal[t, b])
            told = {2: SECOND, 3: SECOND, 4: DECLINE}.get(question)
            if told is None:
                np.testing.assert_array_equal(before, after)
                continue
            if told != DECLINE and not legal[told]:
                told = FIRST if legal[FIRST] else DECLINE
            np.testing.assert_allclose(after, 0.5 * before + 0.5 * np.eye(3)[told], atol=1e-6)


@struct.dataclass
class OnlyMoves(ProbeGame):
    """A probe whose questions have no numbers of their own."""

    @property
    def spec(self) -> Spec:
        return dataclasses.replace(super().spec, guides=False, decline=None)


def test_without_questions_a_lesson_ends_where_a_game_leaves_it():
    """Half of the target is what the best game or the lesson says, as long as that is the game."""
    probe = together(delayed(7, delay=3))
    game = checked(OnlyMoves(probe.rewards, probe.legal, probe.label, probe.delay))
    sections = {"rollout": {"games": 16, "moves": 7}, "replay": {"moves": 7}}
    config, agent, lanes, best = setup(game, 1.0, **sections)
    key, explore = jax.random.key(5), Exploration(1.0, 0.0, 0.5)
    known = np.full((1, game.spec.num_questions), -1, np.int32)
    known[0, 0] = DECLINE
    best = dataclasses.replace(best, answers=jnp.asarray(known))
    plain = play_moves(config, game, agent, best, lanes, key, explore)[2]
    lesson = np.asarray(plain.action)[:, :1].T  # one of the games
    given = jnp.asarray(lesson, jnp.int8)
    taught = play_moves(config, game, agent, best, lanes, key, explore, given)[2]
    np.testing.assert_array_equal(plain.action, taught.action)
    counts = {"told": 0, "left": 0}
    for b in range(16):
        played: list[int] = []
        for t in range(7):
            told = -1
            if not played:
                told = DECLINE
            elif played == lesson[0, :t].tolist():
                told = int(lesson[0, t])
            before, after = np.asarray(plain.policy[t, b]), np.asarray(taught.policy[t, b])
            if told >= 0:
                after_all = 0.5 * before + 0.5 * np.eye(3)[told]
                np.testing.assert_allclose(after, after_all, atol=1e-6)
            else:
                np.testing.assert_array_equal(before, after)
            counts["told" if told >= 0 else "left"] += t > 0
            played.append(int(plain.action[t, b]))
    assert min(counts.values()) > 5
