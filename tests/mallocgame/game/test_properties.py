"""Properties 2 to 4 of docs/game.md, section 9, on random programs and on a real one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mallocgame.game import finish
from mallocgame.game.environment import Game, build_game
from mallocgame.game.finish import finish_game
from mallocgame.game.options import GameConfig
from mallocgame.game.state import COPY, DROP, NO_COPY
from mallocgame.game.tables import ASK_DEPART, ASK_READ
from mallocgame.judge import simulate, verify
from mallocgame.oracle import Oracle
from mallocgame.program import Program
from mallocgame.program.mapping import load_mapping, save_mapping
from mallocgame.suites import load_programs
from mallocgame.synthetic.known_optimum import known_optimum_program
from mallocgame.synthetic.random_programs import random_program

PROGRAMS = 64
REAL = "tpu_v4_sample/resnet50_b1_inference_v4_4mib"


def _play(game: Game, state, seed: int, drop: float) -> tuple:
    """Plays games [B] to their end: random legal moves, DROP with weight `drop`.

    Returns:
      The last state, the rewards that were paid, and the least that score and headroom came to on
      the way.
    """

    def limit_of(state):
        return game.score(state) + game.headroom(state)

    def move(carry: tuple) -> tuple:
        state, key, total, least = carry
        key, pick = jax.random.split(key)
        weights = game.legal_actions(state) * jnp.array([1 - drop, 1 - drop, drop])
        action = jax.random.categorical(pick, jnp.log(weights))
        state, step = game.step(state, action)
        return state, key, total + step.reward, jnp.minimum(least, limit_of(state))

    zero = jnp.zeros(game.score(state).shape)
    carry = (state, jax.random.key(seed), zero, limit_of(state))
    state, _, total, least = jax.lax.while_loop(lambda c: ~jnp.all(c[0].done), move, carry)
    return state, total, least


play_on = jax.jit(_play)
init, step, reset = jax.jit(Game.init), jax.jit(Game.step), jax.jit(Game.reset)
observe = jax.jit(Game.observe)


def play(game: Game, index, seed: int, drop: float) -> tuple:
    """Games from the start: the last state and the rewards."""
    return play_on(game, init(game, index), seed, drop)[:2]


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    # The last one is longer, so that the others are padded.
    short = [random_program(np.random.default_rng(seed)) for seed in range(PROGRAMS - 1)]
    return [*short, random_program(np.random.default_rng(99), instructions=90, values=40)]


@pytest.fixture(scope="module", params=["full", "paper"])
def config(request):
    return GameConfig(rules=request.param)


@pytest.fixture(scope="module")
def game(programs, config):
    return build_game(programs, config)


def moves_of(game: Game, state, lane: int) -> np.ndarray:
    history = game.history(state)
    return np.asarray(history.moves)[lane, : int(history.length[lane])]


def has_no_stall(program: Program, config: GameConfig, moves: np.ndarray) -> bool:
    """Whether nothing waits in a game, and no copy is overdrawn."""
    oracle = Oracle(program, config)
    for move in moves:
        oracle.step(int(move))
    assert oracle.done
    return oracle.stall_ticks == oracle.overdraft_ticks == 0


def test_mappings_are_verified_and_no_slower_than_the_game_says(programs, config, game):
    saves = packed = equal = 0
    for drop in (0.3, 0.8):
        state, total = play(game, jnp.arange(PROGRAMS), 0, drop)
        saved = np.asarray(game.score(state))
        assert np.allclose(np.asarray(total), saved, atol=1e-6)
        saves += (saved != 0).sum()
        for i, program in enumerate(programs):
            moves = moves_of(game, state, i)
            made = finish_game(game, program, moves, i)
            assert [str(v) for v in verify(program, made.mapping)] == []
            if made.backups == 0:
                assert made.saved_fraction == pytest.approx(saved[i], abs=1e-6) and made.lost == 0
                np.testing.assert_array_equal(made.moves, moves)
                packed += 1
            # Copies that share their supply may stall for less under the judge, never for more.
            found, said = simulate(program, made.mapping).saved_fraction, made.saved_fraction
            tolerance = 1e-5 * max(1, 1 - said)
            assert found >= said - tolerance
            if has_no_stall(program, config, made.moves):
                assert found <= said + tolerance
                equal += said != 0
    assert min(saves, packed) > PROGRAMS and equal > PROGRAMS // 16


def test_what_is_accepted_is_in_fast_memory_for_as_long_as_was_said(
    programs, config, game, monkeypatch
):
    # As played: copies keep the windows that the game gave them.
    monkeypatch.setattr(finish, "retime", lambda program, mapping: mapping)

    @jax.jit
    def look(state):
        kind, value, slot = game.asked(state)
        question = game.question(state)
        stop = game.question_of(state.program, question.number)
        asked = kind, value, slot, question, stop
        return state.done, game.legal_actions(state), game.takes_room(question.number), asked

    state, rng = init(game, jnp.arange(PROGRAMS)), np.random.default_rng(0)
    said: list[list[tuple]] = [[] for _ in programs]
    while True:
        done, legal, arrives, asked = jax.tree.map(np.asarray, look(state))
        kind, value, slot, question, stop = asked
        if done.all():
            break
        assert (arrives == (kind != ASK_DEPART))[~done].all()
        assert (question.topic == value)[~done].all() and (stop.topic == value)[~done].all()
        assert (stop.number == question.number).all()
        assert (stop.begin == slot)[~done].all() and (stop.end == slot + 1)[~done].all()
        accepts = legal[:, :2].any(axis=1) & (rng.random(PROGRAMS) < 0.6)
        action = np.where(accepts, legal[:, :2].argmax(axis=1), DROP)
        # Now and then a copy in the reader's own slot.
        own = accepts & legal[:, NO_COPY] & (rng.random(PROGRAMS) < 0.3)
        action = np.where(own, NO_COPY, action)
        for b in np.flatnonzero(accepts & ~done):
            ahead = kind[b] != ASK_READ or action[b] == COPY
            begin = int(question.begin[b]) if ahead else int(slot[b])
            said[b].append((int(value[b]), begin, int(question.end[b]), bool(arrives[b])))
        state, _ = step(game, state, jnp.asarray(action))
    checked = 0
    for b, program in enumerate(programs):
        made = finish_game(game, program, moves_of(game, state, b), b)
        if made.backups:
            continue
        for value, begin, end, arrives in said[b]:
            covers = [
                r
                for r in made.mapping.residencies
                if r.value == value and r.start <= begin and r.end >= end
            ]
            assert len(covers) == 1 and (not arrives or covers[0].start == begin)
            checked += 1
    assert checked > 100


def test_all_drop_saves_exactly_nothing(game):
    state, total = play(game, jnp.arange(PROGRAMS), 0, 1.0)
    assert np.all(np.asarray(state.saved) == 0)
    assert np.all(np.asarray(total) == 0.0)


def test_all_drop_makes_the_empty_mapping(programs, game):
    state, _ = play(game, jnp.arange(PROGRAMS), 0, 1.0)
    made = finish_game(game, programs[0], moves_of(game, state, 0), 0)
    assert made.saved_fraction == made.backups == made.lost == 0
    assert made.mapping.residencies == made.mapping.prefetches == made.mapping.evictions == ()


@pytest.mark.parametrize("drop", [0.05, 0.5])
def test_nothing_beats_the_floor(game, drop):
    state, _ = play(game, jnp.arange(PROGRAMS), 1, drop)
    assert np.all(game.total_ticks - state.saved >= game.floor_ticks)


@pytest.mark.parametrize("drop", [0.02, 0.4])
def test_the_headroom_is_a_bound(game, drop):
    """No game from here on, whatever is played, ends above the score and the headroom."""
    state, rng = init(game, jnp.arange(PROGRAMS)), np.random.default_rng(0)
    told = 0
    for moves in range(24):
        if moves % 6 == 0:
            limit = np.asarray(game.score(state) + game.headroom(state))
            for seed in range(4):
                end, _, least = play_on(game, state, 10 * moves + seed, drop)
                final = np.asarray(game.score(end))
                assert np.all(final <= least + 1e-6) and np.all(least <= limit)
                assert np.all(np.asarray(game.headroom(end)) == 0)
                told += int((limit - final > 0.01).sum())
        legal = np.asarray(game.legal_actions(state))
        action = [rng.choice(np.flatnonzero(row)) for row in legal]
        state, _ = step(game, state, jnp.array(action, jnp.int32))
    assert told > PROGRAMS
    # At the start it is what the floor leaves.
    start = np.asarray(game.headroom(init(game, jnp.arange(PROGRAMS))))
    assert np.all(start <= 1 - np.asarray(game.floor_ticks / game.total_ticks) + 1e-6)


def test_padding_batches_vmap_and_scan_change_nothing(programs, game, config):
    single = build_game(programs[:1], config)
    assert single.stops.shape[1] < game.stops.shape[1]
    assert single.slots.shape[2] < game.slots.shape[2]
    vstep = jax.jit(jax.vmap(Game.step, in_axes=(None, 0, 0)))
    vinit = jax.jit(jax.vmap(Game.init, in_axes=(None, 0)))
    lone = init(single, jnp.int32(0))
    first = batch = init(game, jnp.arange(4))
    mapped = vinit(game, jnp.arange(4))
    rng = np.random.default_rng(3)
    actions, rewards = [], []
    for _ in range(40):
        legal = np.asarray(game.legal_actions(batch))
        assert np.array_equal(legal, np.asarray(jax.vmap(game.legal_actions)(mapped)))
        assert np.array_equal(legal[0], np.asarray(single.legal_actions(lone)))
        action = jnp.array([rng.choice(np.flatnonzero(row)) for row in legal], jnp.int32)
        batch, found = step(game, batch, action)
        mapped, of_mapped = vstep(game, mapped, action)
        lone, of_lone = step(single, lone, action[0])
        for one, same, alone in zip(found, of_mapped, of_lone, strict=True):
            assert np.array_equal(one, same)
            assert np.array_equal(one[0], alone)
        assert np.array_equal(batch.saved[0], lone.saved)
        actions.append(action)
        rewards.append(found.reward)
    last, scanned = jax.jit(lambda g, s, a: jax.lax.scan(lambda s, a: g.step(s, a), s, a))(
        game, first, jnp.stack(actions)
    )
    np.testing.assert_array_equal(scanned.reward, jnp.stack(rewards))
    for one, same in zip(jax.tree.leaves(last), jax.tree.leaves(batch), strict=True):
        np.testing.assert_array_equal(one, same)


def test_programs_of_similar_length_share_what_is_compiled():
    names = ["tpu_v4/t5_decode_b8", "tpu_v4/gpt2_decode_b32", "tpu_v4/moe_b1_inference"]
    games = [build_game([program], GameConfig()) for program in load_programs(names)]
    traces = []

    @jax.jit
    def counted(game):
        traces.append(1)
        return game.bound[0, 0], game.score(game.init(jnp.zeros(1, jnp.int32)))

    bounds = [float(counted(game)[0]) for game in games]
    assert len(traces) == 1 and len(set(bounds)) == 3
    longer = build_game(load_programs(["tpu_v4/llama_decode_b8"]), GameConfig())
    assert longer.stops.shape[1] == 2 * games[0].stops.shape[1] == 1024


def test_step_compiles_once(game):
    traces = []

    @jax.jit
    def counted(game, state, action):
        traces.append(1)
        return game.step(state, action)

    state = init(game, jnp.arange(8))
    for action in (0, 1, 2, 2, 1):
        state, _ = counted(game, state, jnp.full(8, action, jnp.int32))
    assert len(traces) == 1


def test_illegal_moves_are_drops(game):
    state = init(game, jnp.arange(PROGRAMS))
    for _ in range(12):
        illegal = ~np.asarray(game.legal_actions(state))
        action = np.where(illegal.any(axis=1), illegal.argmax(axis=1), DROP)
        found, _ = step(game, state, jnp.asarray(action))
        state, _ = step(game, state, jnp.full(PROGRAMS, DROP))
        for one, same in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(one, same)


def test_reset_restarts_only_the_masked_games(game):
    state, _ = play(game, jnp.arange(8), 0, 0.3)
    mask = jnp.arange(8) % 2 == 0
    fresh = init(game, jnp.arange(8)[::-1])
    mixed = reset(game, state, mask, jnp.arange(8)[::-1])
    for new, old, now in zip(*map(jax.tree.leaves, (fresh, state, mixed)), strict=True):
        np.testing.assert_array_equal(now, jnp.where(mask, new, old))
    same = reset(game, state, jnp.zeros(8, bool), jnp.arange(8))
    for old, now in zip(*map(jax.tree.leaves, (state, same)), strict=True):
        np.testing.assert_array_equal(now, old)
    assert np.array_equal(observe(game, mixed)[::2], observe(game, fresh)[::2])


@pytest.mark.parametrize("seed", range(3))
def test_known_optimum_is_reached_by_its_plan(seed):
    program, best, actions = known_optimum_program(np.random.default_rng(seed))
    made = finish_game(build_game([program], GameConfig()), program, actions)
    assert made.backups == 0 and made.saved_fraction == pytest.approx(best, abs=1e-5)
    assert verify(program, made.mapping) == []
    assert simulate(program, made.mapping).saved_fraction == pytest.approx(best, abs=1e-5)


def test_real_program_plays_to_a_verified_mapping(tmp_path):
    program = load_programs([REAL])[0]
    game = build_game([program], GameConfig())
    state, total = play(game, jnp.zeros(16, jnp.int32), 0, 0.1)
    best = int(np.argmax(total))
    made = finish_game(game, program, moves_of(game, state, best))
    if made.backups == 0:
        assert made.saved_fraction == pytest.approx(float(total[best]), abs=1e-5)
    assert verify(program, made.mapping) == []
    simulation = simulate(program, made.mapping)
    assert simulation.saved_fraction >= made.saved_fraction - 1e-5
    assert made.saved_fraction > 0 and simulation.stall_s.sum() > 0
    save_mapping(made.mapping, tmp_path / "m.json.gz")
    assert load_mapping(tmp_path / "m.json.gz", program) == made.mapping
