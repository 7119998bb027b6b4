"""What a game offers to whoever plays it.

An environment holds one or more instances of a game (for the mallocGame: programs).  Its methods
are pure functions of a state, which may be jitted, vmapped and scanned.  `[...]` stands for the
batch axes.

* In a state the batch axes come last in every array: sharding relies on it.
* In everything that a method returns they come first: observations are [..., F].
* Games are deterministic: `init` takes no key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from jax import Array

from gamekit.observation import ObservationSpec, Part

State = TypeVar("State")


@dataclasses.dataclass(frozen=True)
class Spec:
    """The fixed facts of an environment.

    name, version: of the game. The version grows with every change after which the same moves make
        another game, or an observation means something else.
    num_instances: P, how many instances it holds.
    action_names: one an action; A of them. They and the observation must not depend on which
        instances an environment holds: networks that learned on some play others.
    decline: the action that declines what is offered (for the mallocGame DROP), None without one.
    max_moves: M; no game has more moves.
    num_questions: Q; no instance has more different questions. Without questions: max_moves.
    observation: the parts of an observation, F numbers in all.
    guides: whether the environment also is a `GuidingEnvironment`.
    """

    name: str
    version: int
    num_instances: int
    action_names: tuple[str, ...]
    decline: int | None
    max_moves: int
    num_questions: int
    observation: ObservationSpec
    guides: bool = False

    @property
    def num_actions(self) -> int:
        """A."""
        return len(self.action_names)

    @property
    def has_topics(self) -> bool:
        """Whether questions have topics of the game's own, and can be declined."""
        return self.guides and self.decline is not None


class Step(NamedTuple):
    """What a move led to.

    reward: float32 [...]; the change of the score.
    done: bool [...]; whether the game has ended.
    undone_from: int32 [...]; the first move, by its number in the game, that this move undid.
        Where it undid none, the length of the history after the move.
    """

    reward: Array
    done: Array
    undone_from: Array


class History(NamedTuple):
    """The moves that led to a state, without those that were undone.

    moves: int32 [..., M]; valid below `length`.
    length: int32 [...]
    backtracks: int32 [...]; how often a move undid earlier ones.
    """

    moves: Array
    length: Array
    backtracks: Array


class Question(NamedTuple):
    """What a state asks, each int32 [...].

    number: below Q; the same question has the same number in every game of an instance.
    topic: what it is about; questions about one thing share it.
    begin, end: the interval of the game's own time, [begin, end), over which an answer other than
        `Spec.decline` would take room.
    """

    number: Array
    topic: Array
    begin: Array
    end: Array


class Environment(Protocol[State]):
    """A game that an agent can play."""

    @property
    def spec(self) -> Spec:
        """The fixed facts."""
        ...

    def init(self, instance: Array) -> State:
        """Starts games of the instances int32 [...]."""
        ...

    def reset(self, state: State, where: Array, instance: Array) -> State:
        """Starts new games of the instances int32 [...] where bool [...] holds; others go on."""
        ...

    def step(self, state: State, action: Array) -> tuple[State, Step]:
        """Plays an action, int32 [...], in every game; finished games stay as they are.

        Rewards sum up to the score.  Illegal actions are never played.
        """
        ...

    def observe(self, state: State) -> Array:
        """Float32 [..., F]."""
        ...

    def legal_actions(self, state: State) -> Array:
        """Bool [..., A]; at least one is legal, and in finished games all are."""
        ...

    def instance(self, state: State) -> Array:
        """Int32 [...]; the instance that each game is of."""
        ...

    def done(self, state: State) -> Array:
        """Bool [...]."""
        ...

    def score(self, state: State) -> Array:
        """Float32 [...]; the sum of the rewards so far. The best final score is to be found."""
        ...

    def headroom(self, state: State) -> Array:
        """Float32 [...]; how much the score can still grow at most, as far as that is known.

        It shapes the rewards and changes no optimum; zero everywhere is a valid answer.
        """
        ...

    def history(self, state: State) -> History:
        """The moves so far."""
        ...


class GuidingEnvironment(Environment[State], Protocol[State]):
    """A game whose questions have numbers and topics, so that one game can follow another one."""

    def question(self, state: State) -> Question:
        """The question that each state asks."""
        ...

    def question_of(self, instance: Array, number: Array) -> Question:
        """Questions by their numbers, int32 [...]: their topic, and as `begin` their time."""
        ...

    def takes_room(self, number: Array) -> Array:
        """Bool [...]; whether an answer other than `Spec.decline` brings something new in."""
        ...


class EstimatingEnvironment(Environment[State], Protocol[State]):
    """A game whose judge may give a solution more than the game that made it had as its score."""

    def estimate(self, state: State) -> Array:
        """Float32 [...]; what the judge may give the solutions of finished games, at least their
        score.  Games with the highest estimates are worth being judged."""
        ...


def spec_record(spec: Spec) -> dict[str, Any]:
    """A specification as plain data, for JSON."""
    return dataclasses.asdict(spec)


def spec_from_record(record: Mapping[str, Any]) -> Spec:
    """A specification from plain data.

    Raises:
      KeyError, TypeError, ValueError: it is no record of a specification.
    """
    parts = tuple(
        Part(str(p["name"]), tuple(int(n) for n in p["shape"]), str(p["kind"]))
        for p in record["observation"]["parts"]
    )
    names = tuple(str(name) for name in record["action_names"])
    changed = {"observation": ObservationSpec(parts), "action_names": names}
    spec = Spec(**{**record, **changed})
    for field in ("version", "num_instances", "decline", "max_moves", "num_questions"):
        value = getattr(spec, field)
        if type(value) is not int and not (field == "decline" and value is None):
            raise TypeError(f"{field} must be an integer")
    if type(spec.name) is not str or type(spec.guides) is not bool:
        raise TypeError("name must be a string, and guides true or false")
    return spec
