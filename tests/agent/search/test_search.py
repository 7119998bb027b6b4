"""Networks' coding of scalars, and the search."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from agent.networks import ValueScale, networks
from agent.run.loaded import untrained
from agent.run.play import play
from agent.search import (
    Path,
    game_model,
    learned_model,
    observe,
    scaled_values,
    search,
    tree_model,
    walk,
)
from gamekit.checked import checked
from gamekit.probe import delayed, together, trap
from tests.support.agent_setup import disturbed, small_config, small_spec

SPEC = small_spec()


@pytest.mark.parametrize("atoms", [32, 64])
def test_scalars_survive_their_coding(atoms):
    values = jnp.linspace(-1.2, 1.2, 101)

    @jax.jit
    def code_value(values: jax.Array):
        probabilities = networks.encode_value(values, atoms)
        return probabilities, networks.decode_value(jnp.log(probabilities + 1e-12))

    @jax.jit
    def code_reward(rewards: jax.Array):
        return networks.decode_reward(jnp.log(networks.encode_reward(rewards, atoms) + 1e-12))

    probabilities, decoded = code_value(values)
    np.testing.assert_allclose(np.asarray(probabilities.sum(-1)), 1, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(decoded), np.asarray(values), atol=1e-3)
    rewards = jnp.array([-1.0, -0.01, 0.0, 0.001, 0.02, 0.5])
    np.testing.assert_allclose(np.asarray(code_reward(rewards)), np.asarray(rewards), atol=2e-4)


def test_values_outside_the_range_are_clipped():
    probabilities = networks.encode_value(jnp.array([-9.0, 9.0]), 64)
    assert np.isfinite(np.asarray(probabilities)).all()
    decoded = np.asarray(networks.decode_value(jnp.log(probabilities + 1e-12)))
    low, high = networks.VALUE_RANGE
    assert abs(decoded[0] - low) < 0.05 and abs(decoded[1] - high) < 0.05


def test_search_plays_legal_moves_only():
    config = small_config()
    params = networks.init_params(config.network, SPEC, jax.random.key(0))
    key = jax.random.key(1)
    observation = jax.random.normal(key, (64, 5))
    legal = jax.random.bernoulli(key, 0.5, (64, 3)).at[:, 2].set(True)
    result = jax.jit(
        lambda p, k: search(
            p,
            observation,
            legal,
            k,
            config=config,
            spec=SPEC,
            model=learned_model(config, SPEC),
            typical_advantage=jnp.float32(0.1),
        )
    )(params, key)
    chosen = np.take_along_axis(np.asarray(legal), np.asarray(result.action)[:, None], axis=1)
    assert chosen.all()
    policy = np.asarray(result.policy)
    np.testing.assert_allclose(policy.sum(-1), 1, rtol=1e-5)
    assert (policy[~np.asarray(legal)] < 1e-6).all()
    assert np.isfinite(np.asarray(result.value)).all()


def test_without_noise_search_is_deterministic():
    config = small_config()
    params = networks.init_params(config.network, SPEC, jax.random.key(0))
    observation = jax.random.normal(jax.random.key(1), (16, 5))
    legal = jnp.ones((16, 3), bool)

    @jax.jit
    def act(seed: int, noise: float) -> jax.Array:
        return search(
            params,
            observation,
            legal,
            jax.random.key(seed),
            config=config,
            spec=SPEC,
            model=learned_model(config, SPEC),
            typical_advantage=jnp.float32(0.1),
            noise=noise,
        ).action

    np.testing.assert_array_equal(act(0, 0.0), act(1, 0.0))
    assert (act(0, 1.0) != act(1, 1.0)).any()


def test_the_game_as_model_finds_what_pays_at_once_without_training():
    game = together(delayed(8, delay=0))
    found = {}
    for model in ("game", "learned"):
        config = small_config(search={"simulations": 16, "model": model})
        agent = untrained(config, game.spec)
        found[model] = play(game, agent, config, 0, jax.random.key(0), games=4).greedy
    assert found["game"] == pytest.approx(8 * 0.02, abs=1e-6)
    assert found["learned"] < 8 * 0.02 - 1e-3


def test_the_game_as_model_sees_through_a_trap():
    # What a trap refunds is taken back inside the tree as in the game.
    game = together(trap())
    config = small_config(search={"model": "game", "simulations": 32, "max_depth": 6})
    agent = untrained(config, game.spec)
    played = play(game, agent, config, 0, jax.random.key(0), games=4)
    assert played.greedy == pytest.approx(0.5, abs=1e-6)


def test_the_tree_is_built_with_the_model_of_the_configuration():
    game = checked(together(delayed(8)))
    state, scale = game.init(jnp.zeros(2, jnp.int32)), ValueScale(jnp.zeros(1), jnp.ones(1))
    latent = jnp.zeros((2, 32))
    roots = [
        tree_model(small_config(search={"model": model}), game, state, scale)[0].root(latent)
        for model in ("learned", "game")
    ]
    assert roots[0] is latent
    assert isinstance(roots[1], Path) and roots[1].length.tolist() == [0, 0]


def test_paths_are_walked_as_the_game_is_played():
    game = checked(together(trap()))
    step = jax.jit(game.step)
    rng = np.random.default_rng(0)
    games, longest = 64, 5
    root = game.init(jnp.zeros(games, jnp.int32))
    for _ in range(2):
        root, _ = step(root, jnp.asarray(rng.integers(0, 3, games), jnp.int32))
    actions = rng.integers(0, 3, (games, longest)).astype(np.int32)
    length = rng.integers(1, longest + 1, games)
    path = Path(jnp.asarray(actions), jnp.asarray(length))
    walked = jax.jit(lambda root, path: walk(game, root, path))(root, path)
    state, ends = root, {}
    for k in range(longest):
        after, stepped = step(state, actions[:, k])
        end = after, stepped.reward, game.headroom(state) - game.headroom(after)
        for i in np.flatnonzero(length == k + 1):
            ends[int(i)] = jax.tree.map(lambda x, i=i: np.asarray(x)[..., i], end)
        state = after
    sprung = 0
    for i, end in ends.items():
        jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[..., i], y), walked, end)
        sprung += int(end[0].sprung)
    assert len(ends) == games and 0 < sprung < games


def test_one_ply_in_the_game_is_a_look_at_every_answer():
    game = checked(together(delayed(8, delay=2)))
    config = small_config(search={"model": "game", "simulations": 2, "max_depth": 1})
    params = disturbed(config, game.spec)
    scale, typical = ValueScale(jnp.full(1, 0.3), jnp.full(1, 0.5)), 0.1

    def networks_of(state):
        model = networks.Model(config.network, game.spec, params)
        prediction = model.predict(model.represent(observe(game, state)))
        return prediction.policy_logits, networks.decode_value(prediction.value_logits)

    @jax.jit
    def both(state):
        """What the search says, and what it should say, of a state [B]."""
        legal = game.legal_actions(state)
        result = search(
            params,
            observe(game, state),
            legal,
            jax.random.key(9),
            config=config,
            spec=game.spec,
            model=tree_model(config, game, state, scale)[0],
            typical_advantage=jnp.float32(typical),
            noise=0.0,
        )
        values = []
        for action in range(3):
            after, step = game.step(state, jnp.full(16, action, jnp.int32))
            lost = game.headroom(state) - game.headroom(after)
            ahead = jnp.where(step.done, 0.0, networks_of(after)[1])
            values.append((step.reward - 0.3 * lost) / 0.5 + ahead)
        scores = config.search.advantage_logits / typical * jnp.stack(values, axis=1)
        scores += networks_of(state)[0]
        return result, legal, jax.nn.softmax(jnp.where(legal, scores, -jnp.inf))

    state, answers = game.init(jnp.zeros(16, jnp.int32)), set()
    for seed in range(8):
        result, legal, expected = both(state)
        assert (np.asarray(legal).sum(axis=1) == 2).all()
        np.testing.assert_allclose(np.asarray(result.policy), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(result.action), np.argmax(expected, axis=1))
        answers |= set(np.asarray(result.action).tolist())
        noise = jax.random.gumbel(jax.random.key(seed), legal.shape)
        state, _ = game.step(state, jnp.argmax(jnp.where(legal, noise, -jnp.inf), axis=1))
    assert bool(game.done(state).all()) and len(answers) > 1


def test_random_numbers_belong_to_the_game():
    config = small_config()
    params = networks.init_params(config.network, SPEC, jax.random.key(0))
    observation = jax.random.normal(jax.random.key(1), (8, 5))
    legal = jnp.ones((8, 3), bool)

    @jax.jit
    def look(rows: jax.Array):
        return search(
            params,
            observation[rows],
            legal[rows],
            jax.random.key(2),
            config=config,
            spec=SPEC,
            model=learned_model(config, SPEC),
            typical_advantage=jnp.float32(0.1),
            number=rows,
        )

    whole = look(np.arange(8))
    for rows in (np.arange(4, 8), np.array([6, 1, 3])):
        part = look(rows)
        for a, b in zip(part, whole, strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b)[rows], rtol=1e-5, atol=1e-6)
    repeated = look(np.zeros(8, int))
    assert np.unique(np.asarray(repeated.action)).size == 1


def test_gumbel_search_is_mctx_gumbel_muzero():
    config = small_config(search={"simulations": 16})
    params = disturbed(config, SPEC)
    observation = jax.random.normal(jax.random.key(1), (64, 5))
    legal = jax.random.bernoulli(jax.random.key(2), 0.7, (64, 3)).at[:, 2].set(True)
    typical = jnp.float32(0.1)
    ours = search(
        params,
        observation,
        legal,
        jax.random.key(3),
        config=config,
        spec=SPEC,
        model=learned_model(config, SPEC),
        typical_advantage=typical,
        noise=0.0,
    )
    model = networks.Model(config.network, SPEC, params)
    latent = model.represent(observation)
    prediction = model.predict(latent)
    root = mctx.RootFnOutput(
        prior_logits=prediction.policy_logits,
        value=networks.decode_value(prediction.value_logits),
        embedding=latent,
    )
    scale = config.search.advantage_logits / typical
    theirs = mctx.gumbel_muzero_policy(
        params,
        jax.random.key(4),
        root,
        learned_model(config, SPEC).recurrent,
        config.search.simulations,
        invalid_actions=~legal,
        max_depth=config.search.max_depth,
        qtransform=functools.partial(scaled_values, scale=scale),
        gumbel_scale=0.0,
    )
    np.testing.assert_array_equal(np.asarray(ours.action), np.asarray(theirs.action))
    np.testing.assert_allclose(
        np.asarray(ours.policy), np.asarray(theirs.action_weights), rtol=1e-4, atol=1e-6
    )
    assert len(np.unique(np.asarray(ours.action))) > 1


def test_bfloat16_computes_in_bfloat16_and_keeps_float32():
    params = disturbed(small_config(), SPEC, by=0.1)
    observation = jax.random.normal(jax.random.key(1), (16, 5))

    def outputs(dtype: str):
        def run(params, observation):
            model = networks.Model(small_config(network={"dtype": dtype}).network, SPEC, params)
            latent = model.represent(observation)
            latent, reward = model.dynamics(latent, jnp.zeros(16, jnp.int32))
            return latent, reward, *model.predict(latent)

        dots = str(jax.make_jaxpr(run)(params, observation)).count("bf16[16,32] = dot_general")
        return run(params, observation), dots

    (exact, none), (rough, some) = outputs("float32"), outputs("bfloat16")
    assert none == 0 and some > 4
    for a, b in zip(rough, exact, strict=True):
        assert a.dtype == b.dtype == jnp.float32
        difference = np.abs(np.asarray(a - b))
        assert 0 < difference.max() < 0.1 * np.abs(np.asarray(b)).max()


def test_one_ply_needs_no_tree():
    """The same as mctx's tree of as many simulations as there are answers."""
    game = checked(together(delayed(8, delay=2)))
    config = small_config(search={"model": "game", "simulations": 2, "max_depth": 1})
    params = disturbed(config, game.spec)
    scale = ValueScale(jnp.full(1, 0.3), jnp.full(1, 0.5))
    state = game.init(jnp.zeros(16, jnp.int32))

    def look(model):
        return search(
            params,
            observe(game, state),
            game.legal_actions(state),
            jax.random.key(9),
            config=config,
            spec=game.spec,
            model=model,
            typical_advantage=jnp.float32(0.1),
        )

    model, play = tree_model(config, game, state, scale)
    assert model.one_ply is not None
    tree = game_model(config, game, state, scale)
    for one, other in zip(look(model), look(tree), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    action = look(model).action
    for one, other in zip(
        jax.tree.leaves(play(action)), jax.tree.leaves(game.step(state, action)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    deeper = small_config(search={"model": "game", "max_depth": 2})
    assert tree_model(deeper, game, state, scale)[0].one_ply is None


def test_without_simulations_the_policy_is_the_networks():
    game = checked(together(delayed(8, delay=2)))
    config = small_config(search={"model": "game", "simulations": 0})
    params = disturbed(config, game.spec)
    state = game.init(jnp.zeros(16, jnp.int32))
    legal = game.legal_actions(state)
    result = search(
        params,
        observe(game, state),
        legal,
        jax.random.key(9),
        config=config,
        spec=game.spec,
        model=tree_model(config, game, state, ValueScale(jnp.zeros(1), jnp.ones(1)))[0],
        typical_advantage=jnp.float32(0.1),
        noise=0.0,
    )
    model = networks.Model(config.network, game.spec, params)
    prediction = model.predict(model.represent(observe(game, state)))
    expected = jax.nn.softmax(jnp.where(legal, prediction.policy_logits, -jnp.inf))
    np.testing.assert_allclose(result.policy, expected, atol=1e-6)
    np.testing.assert_array_equal(result.action, jnp.argmax(expected, axis=1))
    np.testing.assert_allclose(result.value, result.raw_value, rtol=1e-5)
    assert not result.advantage.any()
