"""Small games with known values and the interface of the mallocGame, for tests of the agent.

Decision i of program p pays `rewards[p, i, action]`, `delay` decisions later (what is still owed is
paid at the end).  With a trap, reaching decision `trap_at` after having answered decision
`trap_from` by anything but DROP rewinds the game to `trap_from`, answers it by DROP, and refunds
what was paid since, as a Drop-backup does.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

COPY, NO_COPY, DROP = 0, 1, 2


@struct.dataclass
class ProbeState:
    """All arrays have the batch axis last: log [N, B], the others [B]."""

    program: jax.Array
    position: jax.Array
    log: jax.Array
    sprung: jax.Array
    kept: jax.Array


@struct.dataclass
class ProbeGame:
    """rewards [P, N, 3]; legal [P, N, 3]; delay, trap_from and trap_at are decisions."""

    rewards: jax.Array
    legal: jax.Array
    delay: int = struct.field(pytree_node=False, default=0)
    trap_from: int = struct.field(pytree_node=False, default=-1)
    trap_at: int = struct.field(pytree_node=False, default=-1)

    @property
    def num_programs(self) -> int:
        return self.rewards.shape[0]

    @property
    def max_decisions(self) -> int:
        return self.rewards.shape[1]

    @property
    def observation_size(self) -> int:
        return self.num_programs + self.max_decisions + 4

    @property
    def num_questions(self) -> int:
        return self.max_decisions

    def question_index(self, state: ProbeState) -> jax.Array:
        return jnp.minimum(state.position, self.max_decisions - 1)

    def question(self, state: ProbeState) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Every third decision is about the same value."""
        at = self.question_index(state)
        return jnp.zeros_like(at), at % 3, at

    def is_arrival(self, question: jax.Array) -> jax.Array:
        return jnp.ones_like(question, bool)

    def occupied(self, state: ProbeState) -> tuple[jax.Array, jax.Array]:
        """Every decision is a slot; what is accepted stays for three."""
        at = self.question_index(state)
        return at, at + 3

    def stop(self, program: jax.Array, question: jax.Array) -> tuple[jax.Array, jax.Array]:
        return question, question % 3

    def init(self, index: jax.Array) -> ProbeState:
        games = index.shape[0]
        zeros = jnp.zeros(games, jnp.int32)
        log = jnp.full((self.max_decisions, games), -1, jnp.int32)
        return ProbeState(index.astype(jnp.int32), zeros, log, zeros, zeros)

    def reset(self, state: ProbeState, mask: jax.Array, index: jax.Array) -> ProbeState:
        return jax.tree.map(lambda a, b: jnp.where(mask, a, b), self.init(index), state)

    def step(self, state: ProbeState, action: jax.Array) -> tuple[ProbeState, jax.Array]:
        over = self.done(state)
        before = self.saved_fraction(state)
        here = jnp.arange(self.max_decisions)[:, None] == state.position
        log = jnp.where(here & ~over, action, state.log)
        position = state.position + ~over
        kept = position
        count = state.sprung
        if self.trap_at >= 0:
            sprung = (position == self.trap_at) & (log[self.trap_from] != DROP) & ~over
            later = jnp.arange(self.max_decisions)[:, None] >= self.trap_from
            log = jnp.where(sprung & later, -1, log)
            log = log.at[self.trap_from].set(jnp.where(sprung, DROP, log[self.trap_from]))
            position = jnp.where(sprung, self.trap_from + 1, position)
            kept = jnp.where(sprung, self.trap_from, kept)
            count = count + sprung
        state = state.replace(position=position, log=log, sprung=count, kept=kept)
        return state, self.saved_fraction(state) - before

    def legal_actions(self, state: ProbeState) -> jax.Array:
        at = jnp.minimum(state.position, self.max_decisions - 1)
        return self.legal[state.program, at] | self.done(state)[:, None]

    def done(self, state: ProbeState) -> jax.Array:
        return state.position >= self.max_decisions

    def saved_fraction(self, state: ProbeState) -> jax.Array:
        decisions = jnp.arange(self.max_decisions)[:, None]
        paid = (decisions + self.delay < state.position) | self.done(state)
        paid &= state.log >= 0
        rewards = self.rewards[state.program[None, :], decisions, jnp.maximum(state.log, 0)]
        return jnp.sum(jnp.where(paid, rewards, 0.0), axis=0)

    def remaining_bound(self, state: ProbeState) -> jax.Array:
        # As in the mallocGame, what was decided is still ahead until it is paid.
        ahead = jnp.arange(self.max_decisions)[:, None] + self.delay >= state.position
        ahead &= ~self.done(state)
        best = jnp.max(jnp.where(self.legal, self.rewards, 0.0), axis=-1)[state.program]  # [B, N]
        return jnp.sum(jnp.where(ahead.T, best, 0.0), axis=1)

    def observe(self, state: ProbeState) -> jax.Array:
        at = jnp.minimum(state.position, self.max_decisions - 1)
        owed = self._total(state) - self.saved_fraction(state)
        previous = jnp.take_along_axis(state.log, jnp.maximum(at - 1, 0)[None, :], axis=0)[0]
        return jnp.concatenate(
            [
                jax.nn.one_hot(state.program, self.num_programs),
                jax.nn.one_hot(state.position, self.max_decisions),
                jax.nn.one_hot(previous, 3),
                owed[:, None],
            ],
            axis=1,
        )

    def decision_index(self, state: ProbeState) -> jax.Array:
        return state.position

    def kept_index(self, state: ProbeState) -> jax.Array:
        return state.kept

    def action_log(self, state: ProbeState) -> jax.Array:
        """The decisions in order, forced ones too, [B, N]; behind decision_index meaningless."""
        return state.log.T.astype(jnp.int8)

    def backups(self, state: ProbeState) -> jax.Array:
        return state.sprung

    def _total(self, state: ProbeState) -> jax.Array:
        decisions = jnp.arange(self.max_decisions)[:, None]
        rewards = self.rewards[state.program[None, :], decisions, jnp.maximum(state.log, 0)]
        return jnp.sum(jnp.where(state.log >= 0, rewards, 0.0), axis=0)


def delayed(decisions: int = 12, delay: int = 6, gain: float = 0.02, seed: int = 0) -> ProbeGame:
    """Two legal actions a decision, one of them pays `gain`, `delay` decisions later.

    The best return is decisions * gain.
    """
    rng = np.random.default_rng(seed)
    other = rng.integers(0, 2, decisions)
    good = np.where(rng.integers(0, 2, decisions) > 0, other, DROP)
    legal = np.zeros((1, decisions, 3), bool)
    legal[0, np.arange(decisions), other] = True
    legal[0, :, DROP] = True
    rewards = np.zeros((1, decisions, 3), np.float32)
    rewards[0, np.arange(decisions), good] = gain
    return ProbeGame(jnp.asarray(rewards), jnp.asarray(legal), delay=delay)


def legality(decisions: int = 12) -> ProbeGame:
    """The action that pays most is never legal; the best legal return is 0.02 * decisions."""
    rewards = np.zeros((1, decisions, 3), np.float32)
    rewards[0, :, COPY] = 0.1
    rewards[0, :, NO_COPY] = 0.02
    legal = np.ones((1, decisions, 3), bool)
    legal[0, :, COPY] = False
    return ProbeGame(jnp.asarray(rewards), jnp.asarray(legal))


def several(*games: ProbeGame) -> ProbeGame:
    """One game of several programs with as many decisions each, and the first one's delay."""
    rewards, legal = (
        jnp.concatenate(x) for x in zip(*[(g.rewards, g.legal) for g in games], strict=True)
    )
    return games[0].replace(rewards=rewards, legal=legal)


def tiny_advantages(decisions: int = 100, seed: int = 0) -> ProbeGame:
    """Every decision moves the return by a thousandth, half of it for nothing (COPY always pays).

    The best return is about 0.0015 * decisions.
    """
    game = delayed(decisions, delay=20, gain=1e-3, seed=seed)
    base = jnp.zeros((1, decisions, 3)).at[:, ::2, :].set(1e-3)
    return game.replace(rewards=game.rewards + base)


def trap() -> ProbeGame:
    """COPY at decision 1 pays at once and springs a trap at decision 4; the best return is 0.5."""
    rewards = np.zeros((1, 6, 3), np.float32)
    rewards[0, :, DROP] = 0.1
    rewards[0, 1] = (0.5, 0.5, 0.0)
    return ProbeGame(jnp.asarray(rewards), jnp.ones((1, 6, 3), bool), trap_from=1, trap_at=4)
