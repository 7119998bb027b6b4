"""Probes: small games with known values, to find out what an agent can learn.

Decision i of a probe pays `rewards[i, action]`, `delay` decisions later; what is still owed is paid
at the end.  With a trap, a game that reaches decision `trap_at` after answering decision
`trap_from` by anything but DECLINE is set back: `trap_from` is answered by DECLINE, and what was
paid since is refunded, as a Drop-backup of the mallocGame does.

    python train.py --config configs/probes.yaml
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gamekit.domain import Domain, Instance, Solved, Solver, Verdict
from gamekit.environment import History, Question, Spec, Step
from gamekit.errors import InputError
from gamekit.observation import ObservationSpec, Part

FIRST, SECOND, DECLINE = 0, 1, 2
ACTION_NAMES = ("first", "second", "decline")
# Every third decision is about the same topic; what is accepted takes room for three decisions.
TOPICS, ROOM = 3, 3
LABELS = 4


@dataclasses.dataclass(frozen=True)
class Probe:
    """One probe of N decisions: rewards float32 [N, 3]; legal bool [N, 3]; best: its best score.

    label: below `LABELS`, by which an observation tells the probe from others.
    """

    rewards: np.ndarray
    legal: np.ndarray
    best: float
    label: int = 0
    delay: int = 0
    trap_from: int = -1
    trap_at: int = -1


@struct.dataclass
class ProbeState:
    """Batch axes last: log int32 [N, ...], answers so far, -1 without; the others int32 [...].

    instance: which probe. position: the decision to be made. undone_from: see `Step`.
    sprung: how often the trap was sprung.
    """

    instance: jax.Array
    position: jax.Array
    log: jax.Array
    undone_from: jax.Array
    sprung: jax.Array


@struct.dataclass
class ProbeGame:
    """P probes of equal length, delay and trap: rewards [P, N, 3]; legal [P, N, 3]; label [P]."""

    rewards: jax.Array
    legal: jax.Array
    label: jax.Array
    delay: int = struct.field(pytree_node=False, default=0)
    trap_from: int = struct.field(pytree_node=False, default=-1)
    trap_at: int = struct.field(pytree_node=False, default=-1)

    @property
    def length(self) -> int:
        """N."""
        return self.rewards.shape[1]

    @property
    def spec(self) -> Spec:
        instances = self.rewards.shape[0]
        parts = (
            Part("label", (LABELS,)),
            Part("position", (self.length,)),
            Part("previous", (len(ACTION_NAMES),)),
            Part("owed", (1,)),
        )
        return Spec(
            name="probe",
            version=1,
            num_instances=instances,
            action_names=ACTION_NAMES,
            decline=DECLINE,
            max_moves=self.length,
            num_questions=self.length,
            observation=ObservationSpec(parts),
            guides=True,
        )

    def init(self, instance: jax.Array) -> ProbeState:
        zeros = jnp.zeros(instance.shape, jnp.int32)
        log = jnp.full((self.length, *instance.shape), -1, jnp.int32)
        return ProbeState(instance.astype(jnp.int32), zeros, log, zeros, zeros)

    def reset(self, state: ProbeState, where: jax.Array, instance: jax.Array) -> ProbeState:
        return jax.tree.map(lambda a, b: jnp.where(where, a, b), self.init(instance), state)

    def step(self, state: ProbeState, action: jax.Array) -> tuple[ProbeState, Step]:
        over, before = self.done(state), self.score(state)
        log = jnp.where((self._decisions(state) == state.position) & ~over, action, state.log)
        position = state.position + ~over
        undone_from, sprung = position, state.sprung
        if self.trap_at >= 0:
            springs = (position == self.trap_at) & (log[self.trap_from] != DECLINE) & ~over
            log = jnp.where(springs & (self._decisions(state) >= self.trap_from), -1, log)
            log = log.at[self.trap_from].set(jnp.where(springs, DECLINE, log[self.trap_from]))
            position = jnp.where(springs, self.trap_from + 1, position)
            undone_from = jnp.where(springs, self.trap_from, undone_from)
            sprung = sprung + springs
        state = ProbeState(state.instance, position, log, undone_from, sprung)
        return state, Step(self.score(state) - before, self.done(state), undone_from)

    def legal_actions(self, state: ProbeState) -> jax.Array:
        return self.legal[state.instance, self._asked(state)] | self.done(state)[..., None]

    def instance(self, state: ProbeState) -> jax.Array:
        return state.instance

    def done(self, state: ProbeState) -> jax.Array:
        return state.position >= self.length

    def score(self, state: ProbeState) -> jax.Array:
        paid = self._decisions(state) + self.delay < state.position
        return jnp.sum(jnp.where(paid | self.done(state), self._owed(state), 0.0), axis=0)

    def headroom(self, state: ProbeState) -> jax.Array:
        # As in the mallocGame, what was decided is still ahead until it is paid.
        ahead = (self._decisions(state) + self.delay >= state.position) & ~self.done(state)
        best = jnp.max(jnp.where(self.legal, self.rewards, 0.0), axis=-1)[state.instance]
        return jnp.sum(jnp.where(ahead, jnp.moveaxis(best, -1, 0), 0.0), axis=0)

    def observe(self, state: ProbeState) -> jax.Array:
        owed = jnp.sum(self._owed(state), axis=0) - self.score(state)
        before = jnp.maximum(self._asked(state) - 1, 0)
        previous = jnp.take_along_axis(state.log, before[None], axis=0)[0]
        return jnp.concatenate(
            [
                jax.nn.one_hot(self.label[state.instance], LABELS),
                jax.nn.one_hot(state.position, self.length),
                jax.nn.one_hot(previous, len(ACTION_NAMES)),
                owed[..., None],
            ],
            axis=-1,
        )

    def history(self, state: ProbeState) -> History:
        return History(jnp.moveaxis(state.log, 0, -1), state.position, state.sprung)

    def question(self, state: ProbeState) -> Question:
        at = self._asked(state)
        return Question(at, at % TOPICS, at, at + ROOM)

    def question_of(self, instance: jax.Array, number: jax.Array) -> Question:
        return Question(number, number % TOPICS, number, number + ROOM)

    def takes_room(self, number: jax.Array) -> jax.Array:
        return jnp.ones(number.shape, bool)

    def _asked(self, state: ProbeState) -> jax.Array:
        return jnp.minimum(state.position, self.length - 1)

    def _decisions(self, state: ProbeState) -> jax.Array:
        """Numbers of the decisions, [N, 1, ...]."""
        return jnp.arange(self.length).reshape(-1, *(1,) * state.position.ndim)

    def _owed(self, state: ProbeState) -> jax.Array:
        """What each decision pays sooner or later, [N, ...]; 0 where it was not made."""
        paid = self.rewards[state.instance, self._decisions(state), jnp.maximum(state.log, 0)]
        return jnp.where(state.log >= 0, paid, 0.0)


def together(*probes: Probe) -> ProbeGame:
    """One environment of probes of equal length, delay and trap.

    Raises:
      InputError: they differ in one of these.
    """
    first = probes[0]
    for field in ("delay", "trap_from", "trap_at"):
        if len({getattr(probe, field) for probe in probes}) > 1:
            raise InputError(f"probes of one game must have one {field}")
    if len({len(probe.rewards) for probe in probes}) > 1:
        raise InputError("probes of one game must be equally long")
    rewards, legal, label = (
        jnp.asarray(np.stack([getattr(p, name) for p in probes]))
        for name in ("rewards", "legal", "label")
    )
    return ProbeGame(rewards, legal, label, first.delay, first.trap_from, first.trap_at)


def delayed(decisions: int = 12, delay: int = 6, gain: float = 0.02, seed: int = 0) -> Probe:
    """Two legal actions a decision, one of which pays `gain`, `delay` decisions later."""
    rng = np.random.default_rng(seed)
    other = rng.integers(0, 2, decisions)
    good = np.where(rng.integers(0, 2, decisions) > 0, other, DECLINE)
    legal = np.zeros((decisions, 3), bool)
    legal[np.arange(decisions), other] = True
    legal[:, DECLINE] = True
    rewards = np.zeros((decisions, 3), np.float32)
    rewards[np.arange(decisions), good] = gain
    return Probe(rewards, legal, decisions * gain, seed % LABELS, delay)


def legality(decisions: int = 12, delay: int = 6) -> Probe:
    """The action that pays most is never legal."""
    rewards = np.zeros((decisions, 3), np.float32)
    rewards[:, FIRST], rewards[:, SECOND] = 0.1, 0.02
    legal = np.ones((decisions, 3), bool)
    legal[:, FIRST] = False
    return Probe(rewards, legal, 0.02 * decisions, LABELS - 1, delay)


def tiny_advantages(decisions: int = 100, seed: int = 0) -> Probe:
    """Every decision moves the score by a thousandth, and every other one pays as much whatever is
    chosen."""
    probe = delayed(decisions, delay=20, gain=1e-3, seed=seed)
    rewards = probe.rewards.copy()
    rewards[::2] += 1e-3
    return dataclasses.replace(probe, rewards=rewards, best=1e-3 * (decisions + len(rewards[::2])))


def trap() -> Probe:
    """Accepting decision 1 pays at once and springs a trap at decision 4."""
    rewards = np.zeros((6, 3), np.float32)
    rewards[:, DECLINE] = 0.1
    rewards[1] = (0.5, 0.5, 0.0)
    return Probe(rewards, np.ones((6, 3), bool), 0.5, trap_from=1, trap_at=4)


def _random(instance: Instance, options: Any, budget_s: float, seed: int) -> Solved:
    """Legal actions by chance."""
    started, rng = time.perf_counter(), np.random.default_rng(seed)
    probe: Probe = instance.content
    moves = [int(rng.choice(np.flatnonzero(legal))) for legal in probe.legal]
    if probe.trap_at >= 0:
        moves[probe.trap_from] = DECLINE
    return Solved(moves, time.perf_counter() - started, len(moves))


class ProbeDomain(Domain):
    """Instances are probes by name, solutions lists of answers; the references are optimal."""

    name = "probe"
    version = 1
    suite: Mapping[str, Probe] = {
        "delayed": delayed(),
        "legality": legality(),
        "tiny_advantages": tiny_advantages(),
        "trap": trap(),
    }
    solvers: Mapping[str, Solver] = {"random": Solver(_random, seeded=True)}

    def instances(self, names: Sequence[str]) -> list[Instance]:
        found = super().instances(names)
        return [dataclasses.replace(i, reference=_best(i.content)) for i in found]

    def build(self, instances: Sequence[Instance], options: Any) -> ProbeGame:
        return together(*(instance.content for instance in instances))

    def judge(self, instance: Instance, solution: list[int]) -> Verdict:
        probe: Probe = instance.content
        if len(solution) != len(probe.rewards):
            return Verdict(0.0, False, f"has {len(solution)} answers, not {len(probe.rewards)}")
        score = 0.0
        for number, (answer, legal) in enumerate(zip(solution, probe.legal, strict=True)):
            if answer not in range(len(legal)) or not legal[answer]:
                return Verdict(score, False, f"answer {number} is not legal")
            score += float(probe.rewards[number, answer])
        if probe.trap_at >= 0 and solution[probe.trap_from] != DECLINE:
            return Verdict(score, False, f"answer {probe.trap_from} springs the trap")
        return Verdict(score)


def _best(probe: Probe) -> list[int]:
    """The best answers."""
    payoff = np.where(probe.legal, probe.rewards, -np.inf)
    answers = [int(np.argmax(row)) for row in payoff]
    if probe.trap_at >= 0:
        answers[probe.trap_from] = DECLINE
    return answers


DOMAIN = ProbeDomain()
