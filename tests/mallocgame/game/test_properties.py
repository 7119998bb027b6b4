"""Properties 2 to 5 of docs/game.md, section 9, on random programs and on a real one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mallocgame.game.environment import Game, build_game
from mallocgame.game.observe.plain import feature_names
from mallocgame.game.options import GameConfig
from mallocgame.game.state import ASK_DEPART
from mallocgame.game.transcript import replay, replay_game
from mallocgame.judge import simulate, verify
from mallocgame.program.mapping import load_mapping, save_mapping
from mallocgame.suites import load_programs
from mallocgame.synthetic.known_optimum import known_optimum_program
from mallocgame.synthetic.random_programs import random_program

PROGRAMS = 64
REAL = "tpu_v4_sample/resnet50_b1_inference_v4_4mib"


def _play(game: Game, index: jax.Array, seed: int, drop: float) -> tuple:
    """Plays games [B] to their end: random legal moves, DROP with weight `drop`."""

    def move(carry: tuple) -> tuple:
        state, key, total = carry
        key, pick = jax.random.split(key)
        weights = game.legal_actions(state) * jnp.array([1 - drop, 1 - drop, drop])
        action = jax.random.categorical(pick, jnp.log(weights))
        state, step = game.step(state, action)
        return state, key, total + step.reward

    carry = (game.init(index), jax.random.key(seed), jnp.zeros(index.shape))
    state, _, total = jax.lax.while_loop(lambda c: ~jnp.all(c[0].done), move, carry)
    return state, total


play = jax.jit(_play)
init, step, reset = jax.jit(Game.init), jax.jit(Game.step), jax.jit(Game.reset)
observe = jax.jit(Game.observe)


@pytest.fixture(scope="module")
def programs():
    return [random_program(np.random.default_rng(seed)) for seed in range(PROGRAMS)]


@pytest.fixture(scope="module", params=[("stay", "stall"), ("backup", "illegal")])
def config(request):
    late_eviction, late_prefetch = request.param
    return GameConfig(late_eviction=late_eviction, late_prefetch=late_prefetch)


@pytest.fixture(scope="module")
def game(programs, config):
    return build_game(programs, config)


@pytest.fixture(scope="module")
def played(game):
    return play(game, jnp.arange(PROGRAMS), 0, 0.3)


def test_mappings_are_verified_and_simulate_to_the_return(programs, config, game, played):
    state, total = played
    logs = np.asarray(game.history(state).moves)
    saved = np.asarray(game.score(state))
    assert np.allclose(np.asarray(total), saved, atol=1e-6)
    assert (saved != 0).sum() > PROGRAMS // 2
    for i, program in enumerate(programs):
        mapping, _ = replay_game(game, program, logs[i, : int(state.length[i])], i)
        assert [str(v) for v in verify(program, mapping)] == []
        # Late copies that share their supply may stall for less under the judge, never for more.
        saving, tolerance = simulate(program, mapping).saved_fraction, 1e-5 * max(1, 1 - saved[i])
        assert saving >= saved[i] - tolerance
        if config.late_prefetch == "illegal":
            assert saving <= saved[i] + tolerance


def test_backups_happen_and_refund(game, played):
    state, total = played
    assert int(state.backups.sum()) > 0
    backed = np.asarray(state.backups) > 0
    # Every reward and refund added up is what the final branch saves.
    assert np.allclose(np.asarray(total)[backed], np.asarray(game.score(state))[backed],
                       atol=1e-6)  # fmt: skip


def test_after_a_backup_the_state_is_as_if_drop_had_been_played(programs, config, game, played):
    state, _ = played
    log, length = state.log, state.length

    def follow(carry):
        replayed, _ = carry
        action = log[jnp.minimum(replayed.length, log.shape[0] - 1), jnp.arange(PROGRAMS)]
        after, step = game.step(replayed, action.astype(jnp.int32))
        return after, step.reward

    @jax.jit
    def follow_all(start):
        return jax.lax.while_loop(lambda c: ~jnp.all(c[0].done), follow, start)

    again, _ = follow_all((init(game, jnp.arange(PROGRAMS)), jnp.zeros(PROGRAMS)))
    assert int(again.backups.sum()) == 0
    assert np.array_equal(again.length, length)
    assert np.array_equal(again.saved, state.saved)
    for name in state.table:
        assert np.array_equal(again.table[name], state.table[name]), name


def test_what_is_accepted_is_in_fast_memory_for_as_long_as_was_said(programs, config, game):
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
        # A departure after an eviction is asked later than its stop.
        assert np.where(arrives, stop.begin == slot, stop.begin <= slot)[~done].all()
        accepts = legal[:, :2].any(axis=1) & (rng.random(PROGRAMS) < 0.6)
        for b in np.flatnonzero(accepts & ~done):
            stays = int(question.begin[b]), int(question.end[b])
            said[b].append((int(value[b]), *stays, bool(arrives[b])))
        action = np.where(accepts, legal[:, :2].argmax(axis=1), 2)
        state, _ = step(game, state, jnp.asarray(action))
    checked = 0
    for b in np.flatnonzero(np.asarray(state.backups) == 0):
        moves = np.asarray(game.history(state).moves[b][: int(state.length[b])])
        mapping, _ = replay_game(game, programs[b], moves, int(b))
        for value, begin, end, arrives in said[b]:
            # A value may come back while its last stay has not ended: it is copied ahead of time.
            covers = [
                r
                for r in mapping.residencies
                if r.value == value and r.start <= begin and r.end >= end
            ]
            assert covers and (not arrives or covers[-1].start == begin)
            checked += 1
    assert checked > 10


def test_all_drop_saves_exactly_nothing(game):
    state, total = play(game, jnp.arange(PROGRAMS), 0, 1.0)
    assert np.all(np.asarray(state.saved) == 0)
    assert np.all(np.asarray(total) == 0.0)


@pytest.mark.parametrize("drop", [0.05, 0.5])
def test_nothing_beats_the_floor(game, drop):
    state, _ = play(game, jnp.arange(PROGRAMS), 1, drop)
    assert np.all(game.total_ticks - state.saved >= game.floor_ticks)


def test_padding_batches_and_vmap_change_nothing(programs, game, config):
    single = build_game(programs[:1], config)
    assert single.events.shape[1] < game.events.shape[1]
    vstep = jax.jit(jax.vmap(Game.step, in_axes=(None, 0, 0)))
    vinit = jax.jit(jax.vmap(Game.init, in_axes=(None, 0)))
    lone = init(single, jnp.int32(0))
    batch = init(game, jnp.arange(4))
    mapped = vinit(game, jnp.arange(4))
    rng = np.random.default_rng(3)
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


def test_programs_of_similar_length_share_what_is_compiled():
    names = ["tpu_v4/llama_decode_b16", "tpu_v4/gpt2_decode_b32", "tpu_v4/moe_b1_inference"]
    games = [build_game([program], GameConfig()) for program in load_programs(names)]
    traces = []

    @jax.jit
    def counted(game):
        traces.append(1)
        return game.bound[0, 0], game.score(game.init(jnp.zeros(1, jnp.int32)))

    bounds = [float(counted(game)[0]) for game in games]
    assert len(traces) == 1 and len(set(bounds)) == 3
    longer = build_game(load_programs(["tpu_v4/llama_decode_b8"]), GameConfig())
    assert longer.events.shape[1] == 2 * games[0].events.shape[1] == 1024


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


def test_reset_restarts_only_the_masked_games(game):
    state, _ = play(game, jnp.arange(8), 0, 0.3)
    mask = jnp.arange(8) % 2 == 0
    fresh = init(game, jnp.arange(8))
    mixed = reset(game, state, mask, jnp.arange(8))
    assert np.array_equal(mixed.done, jnp.where(mask, fresh.done, True))
    assert np.array_equal(mixed.length, jnp.where(mask, fresh.length, state.length))
    assert np.array_equal(observe(game, mixed)[::2], observe(game, fresh)[::2])


def test_observations_are_finite_and_bounded(game, played):
    state, _ = played
    for s in (state, init(game, jnp.arange(PROGRAMS))):
        seen = np.asarray(observe(game, s))
        assert seen.shape == (PROGRAMS, game.spec.observation.size)
        assert np.isfinite(seen).all()


def test_every_feature_has_a_name(game):
    names = feature_names()
    assert len(set(names)) == len(names) == game.spec.observation.size
    fresh = dict(zip(names, np.asarray(observe(game, init(game, jnp.arange(1))))[0], strict=True))
    kinds = [fresh[f"question.{kind}"] for kind in ("asks_read", "asks_define", "asks_depart")]
    assert sorted(kinds) == [0, 0, 1]
    assert fresh["question.progress"] < 1 and fresh["question.saved"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_known_optimum_is_reached_by_its_plan(seed):
    program, best, actions = known_optimum_program(np.random.default_rng(seed))
    mapping = replay(program, GameConfig(), actions)
    assert verify(program, mapping) == []
    assert simulate(program, mapping).saved_fraction == pytest.approx(best, abs=1e-5)


def test_unfinished_moves_are_refused():
    program, _, actions = known_optimum_program(np.random.default_rng(0))
    with pytest.raises(ValueError, match="must finish a game, got"):
        replay(program, GameConfig(), actions[:-1])


def test_real_program_plays_to_a_verified_mapping(tmp_path):
    program = load_programs([REAL])[0]
    game = build_game([program], GameConfig())
    state, total = play(game, jnp.zeros(16, jnp.int32), 0, 0.1)
    best = int(np.argmax(total))
    actions = np.asarray(game.history(state).moves)[best, : int(state.length[best])]
    mapping = replay(program, GameConfig(), actions)
    assert verify(program, mapping) == []
    simulation = simulate(program, mapping)
    assert simulation.saved_fraction == pytest.approx(float(total[best]), abs=1e-5)
    assert simulation.stall_s.sum() > 0
    save_mapping(mapping, tmp_path / "m.json.gz")
    assert load_mapping(tmp_path / "m.json.gz", program) == mapping
