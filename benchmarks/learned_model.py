"""How good a learned model is, and what a search in it brings, on programs that it has not seen.

    python benchmarks/learned_model.py --checkpoint RUN [--suite tpu_v4:test] [--games 16]
        [--depth 6] [--seed 1]

Prints one JSON object for each program, and their means at the end.

- `gain`: speed over production, in per cent, of one noiseless game (no openings) whose search is
  none (`policy`), in the learned model 8 simulations of the depth of the training (`learned_8`),
  and in the game, with the same networks, one ply and 8 simulations of that depth (`game_8`).
- `answers`: in states that games of the policy with noise come to, by how much the best and the
  worst legal answer differ in value.  `gap` is the root-mean-square gap by the game, one ply ahead
  and valued by the networks; `error` is the learned model's error of these differences, each
  answer's against the mean of all legal ones, and `correlation` theirs with the game's; `same` is
  the share of states in which both prefer the same answer, and `policy_same` that in which the
  policy prefers what the game does.  Values are in units of `agent.networks.ValueScale`.
- `by_depth`: errors after 0, 1, ... steps of the learned model along the answers that were given.
  `reward`: root-mean-square error of the reward of the step, and `reward_size` the rewards' own;
  `value`: of the value against the networks' value of the real state, and `value_size` that value's
  deviation; `legality`: share of answers whose legality is predicted wrongly; `policy`: share of
  states in which the policy prefers another legal answer than in the real state.  Nothing is
  counted behind the end of a game.  Correlations are Pearson's: networks do not know the unit of
  an instance that they were not trained on.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agent.config import Config
from agent.networks import Agent, Model, decode_reward, decode_value
from agent.run.play import play
from agent.run.shipped import load_either
from agent.search import observe, search, tree_model
from gamekit.checked import checked
from gamekit.compiled import forget_if_full
from gamekit.domain import Instance
from gamekit.errors import InputError
from mallocgame.domain import DOMAIN
from mallocgame.judge import simulate


class Seen(NamedTuple):
    """What games pass through: [T, B, ...] each, in the networks' units.

    by_game, by_model: float32 [T, B, A], values of all answers, their rewards included.
    """

    observation: Any
    legal: Any
    action: Any
    reward: Any
    playing: Any
    by_game: Any
    by_model: Any


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--suite", nargs="+", default=["tpu_v4:test"])
    parser.add_argument("--games", type=int, default=16)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        agent, config, _ = load_either(options.checkpoint)
        instances = DOMAIN.instances(options.suite)
    except InputError as error:
        parser.error(str(error))
    if not config.learner.unroll:
        parser.error(f"--checkpoint {options.checkpoint}: no model was trained (learner.unroll: 0)")
    agent = dataclasses.replace(agent, scale=jax.tree.map(_mean_of_all, agent.scale))
    rows = []
    for instance in instances:
        forget_if_full()
        rows.append(_row(instance, agent, config, options))
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"program": "mean"} | _means(rows)))


def _mean_of_all(x: jax.Array) -> jax.Array:
    return x.mean()[None]


def _means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        part: {k: statistics.fmean(row[part][k] for row in rows) for k in rows[0][part]}
        for part in ("gain", "answers")
    }
    depths = range(len(rows[0]["by_depth"]))
    found["better"] = {k: sum(row["gain"][k] > 0 for row in rows) for k in rows[0]["gain"]}
    found["by_depth"] = [
        {k: statistics.fmean(row["by_depth"][d][k] for row in rows) for k in rows[0]["by_depth"][d]}
        for d in depths
    ]
    return found


def _row(
    instance: Instance, agent: Agent, config: Config, options: argparse.Namespace
) -> dict[str, Any]:
    assert instance.reference is not None, f"{instance.name}: has no production mapping"
    production = simulate(instance.content, instance.reference).saved_fraction
    game = DOMAIN.build([instance], config.game.options)
    gains = {}
    for name, settings in _searches(config).items():
        search = dataclasses.replace(config.search, **settings)
        played = play(
            game,
            agent,
            dataclasses.replace(config, search=search),
            0,
            jax.random.key(options.seed),
            games=2,
        )
        gains[name] = 100 * DOMAIN.gain(played.greedy, production)
    seen = jax.device_get(_look(config, game, agent, options.games, jax.random.key(options.seed)))
    return {
        "program": instance.name,
        "gain": gains,
        "answers": _answers(config, agent, game.spec, seen),
        "by_depth": _by_depth(config, agent, game.spec, seen, options.depth),
    }


def _searches(config: Config) -> dict[str, dict[str, Any]]:
    depth = max(config.search.max_depth, 2)
    return {
        "policy": {"simulations": 0},
        "learned_8": {"model": "learned", "simulations": 8, "max_depth": depth},
        "one_ply": {"model": "game", "simulations": 3, "max_depth": 1},
        "game_8": {"model": "game", "simulations": 8, "max_depth": depth},
    }


def _look(config: Config, environment: Any, agent: Agent, games: int, key: jax.Array) -> Seen:
    """Games of the policy, with noise, to the end of the longest."""
    one_ply = dataclasses.replace(config.search, model="game", simulations=3, max_depth=1)
    return _scan(
        dataclasses.replace(config, search=one_ply), checked(environment), agent, games, key
    )


@functools.partial(jax.jit, static_argnums=(0, 3))
def _scan(config: Config, game: Any, agent: Agent, games: int, key: jax.Array) -> Seen:
    params, spec = agent.params, game.spec
    networks = Model(config.network, spec, params)
    alone = dataclasses.replace(config, search=dataclasses.replace(config.search, simulations=0))

    def step(state: Any, key: jax.Array) -> tuple[Any, Seen]:
        observation, legal = observe(game, state), game.legal_actions(state)
        model, play = tree_model(config, game, state, agent.scale)
        assert model.one_ply is not None
        latent = networks.represent(observation)
        answers = [
            _ahead(networks, latent, jnp.full(games, a, jnp.int32)) for a in range(spec.num_actions)
        ]
        result = search(
            params,
            observation,
            legal,
            key,
            config=alone,
            spec=spec,
            model=model,
            typical_advantage=agent.typical_advantage,
        )
        after, made = play(result.action)
        lost = game.headroom(state) - game.headroom(after)
        seen = Seen(
            observation=observation,
            legal=legal,
            action=result.action,
            reward=agent.scale.of_return(made.reward, game.instance(state), lost),
            playing=~game.done(state),
            by_game=model.one_ply(params),
            by_model=jnp.stack(answers, axis=-1),
        )
        return after, seen

    start = game.init(jnp.zeros(games, jnp.int32))
    return jax.lax.scan(step, start, jax.random.split(key, spec.max_moves))[1]


def _ahead(networks: Model, latent: jax.Array, action: jax.Array) -> jax.Array:
    """The learned model's value of an answer [B]."""
    latent, reward = networks.dynamics(latent, action)
    return decode_reward(reward) + decode_value(networks.predict(latent).value_logits)


def _answers(config: Config, agent: Agent, spec: Any, seen: Seen) -> dict[str, float]:
    """What the games' states say of the answers' values; see above."""
    counted = seen.playing & (seen.legal.sum(axis=-1) > 1)
    legal, by_game, by_model = (x[counted] for x in (seen.legal, seen.by_game, seen.by_model))
    networks = Model(config.network, spec, agent.params)
    latent = networks.represent(jnp.asarray(seen.observation[counted]))
    logits = np.asarray(networks.predict(latent).policy_logits)
    differences = [_less_their_mean(x, legal) for x in (by_game, by_model)]
    masked = [np.where(legal, x, -np.inf) for x in (by_game, by_model, logits)]
    best, by_model_best, policy_best = (x.argmax(axis=-1) for x in masked)
    lowest = np.where(legal, by_game, np.inf).min(axis=-1)
    gap = masked[0].max(axis=-1) - lowest
    error = (differences[0] - differences[1])[legal]
    return {
        "gap": _size(gap),
        "difference": _size(differences[0][legal]),
        "error": _size(error),
        "correlation": _correlation(differences[0][legal], differences[1][legal]),
        "same": float((best == by_model_best).mean()),
        "policy_same": float((best == policy_best).mean()),
    }


def _less_their_mean(values: np.ndarray, legal: np.ndarray) -> np.ndarray:
    mean = np.where(legal, values, 0.0).sum(axis=-1) / legal.sum(axis=-1)
    return values - mean[:, None]


def _by_depth(
    config: Config, agent: Agent, spec: Any, seen: Seen, depth: int
) -> list[dict[str, float]]:
    """Errors after 0 to `depth` steps of the learned model."""
    networks = Model(config.network, spec, agent.params)
    predict, dynamics = jax.jit(networks.predict), jax.jit(networks.dynamics)
    latent = jax.jit(networks.represent)(jnp.asarray(seen.observation))
    real = predict(latent)
    real_value = np.asarray(decode_value(real.value_logits))
    real_best = _preferred(np.asarray(real.policy_logits), seen.legal)
    began, rows = seen.playing.copy(), []
    for k in range(depth + 1):
        # Rows are those of the games' moves from now on; those of the first k moves come last.
        now = Seen(*(np.roll(x, -k, axis=0) for x in seen))
        playing = began & now.playing
        playing[len(playing) - k :] = False
        predicted = predict(latent)
        value = np.asarray(decode_value(predicted.value_logits))
        real_now = np.roll(real_value, -k, axis=0)
        best = _preferred(np.asarray(predicted.policy_logits), now.legal)
        wrong = (np.asarray(predicted.legal_logits) > 0) != now.legal
        latent, reward_logits = dynamics(latent, jnp.asarray(now.action))
        reward = np.asarray(decode_reward(reward_logits))
        rows.append(
            {
                "value": _size((value - real_now)[playing]),
                "value_size": float(real_now[playing].std()),
                "value_correlation": _correlation(value[playing], real_now[playing]),
                "legality": float(wrong[playing].mean()),
                "policy": float((best != np.roll(real_best, -k, axis=0))[playing].mean()),
                "reward": _size((reward - now.reward)[playing]),
                "reward_size": _size(now.reward[playing]),
                "reward_correlation": _correlation(reward[playing], now.reward[playing]),
            }
        )
    return rows


def _preferred(logits: np.ndarray, legal: np.ndarray) -> np.ndarray:
    return np.where(legal, logits, -np.inf).argmax(axis=-1)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's; 0 where one of the two is constant."""
    return float(np.corrcoef(x, y)[0, 1]) if len(x) and x.std() and y.std() else 0.0


def _size(x: np.ndarray) -> float:
    """Root-mean-square."""
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


if __name__ == "__main__":
    main()
