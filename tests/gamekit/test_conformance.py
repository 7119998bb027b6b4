"""Every game keeps the protocol, and games that break it are found out."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from gamekit import probe
from gamekit.conformance import check_domain, check_environment
from gamekit.domain import Made, NoOptions, Verdict
from gamekit.environment import History, Spec, Step
from gamekit.errors import InputError
from gamekit.observation import ObservationSpec, Part
from gamekit.probe import DECLINE, ProbeGame, ProbeState
from gamekit.registry import load_domain
from mallocgame.game.environment import build_game
from mallocgame.game.options import GameConfig
from tests.support.handmade import FREE
from tests.support.probe_programs import PAPER, PROBES, hold_over_loop

GAMES = {
    "two_probes": lambda: probe.together(probe.delayed(), probe.legality()),
    "trap": lambda: probe.together(probe.trap()),
    "mallocgame": lambda: build_game([hold_over_loop()], FREE),
    "several": lambda: build_game([make() for make in PROBES], FREE),
    "paper": lambda: build_game([hold_over_loop()], PAPER),
}
SLOW = ("several", "paper")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in GAMES]
)
def test_games_keep_the_protocol(name):
    check_environment(GAMES[name]())


@pytest.mark.parametrize("names", [["delayed", "legality"], ["trap"]])
def test_judge_and_probes_agree(names):
    check_domain(probe.DOMAIN, probe.DOMAIN.instances(names), NoOptions())


def test_judge_and_mallocgame_agree():
    domain = load_domain("mallocgame")
    instances = domain.instances(["tpu_v4_sample/lstm_scan_v4_64mib"])
    for rules in ("full", "paper"):
        check_domain(domain, instances, GameConfig(rules))


@struct.dataclass
class BatchFirst(ProbeGame):
    """The log has its batch axis first."""

    def init(self, instance: Any) -> ProbeState:
        state = super().init(instance)
        return dataclasses.replace(state, log=jnp.moveaxis(state.log, 0, -1))


@struct.dataclass
class PaysTwice(ProbeGame):
    """A declined decision pays a little, of which the score knows nothing."""

    def step(self, state: ProbeState, action: Any) -> tuple[ProbeState, Step]:
        after, step = super().step(state, action)
        return after, step._replace(reward=step.reward + 0.01 * (action == DECLINE))


@struct.dataclass
class AnythingGoes(ProbeGame):
    """The mask lets illegal moves through."""

    def legal_actions(self, state: ProbeState) -> Any:
        return jnp.ones_like(super().legal_actions(state))


@struct.dataclass
class NothingGoes(ProbeGame):
    """The mask leaves no move at the third decision."""

    def legal_actions(self, state: ProbeState) -> Any:
        return super().legal_actions(state) & (state.position != 2)[..., None]


@struct.dataclass
class GoesOn(ProbeGame):
    """A game that is over goes on to count its moves."""

    def step(self, state: ProbeState, action: Any) -> tuple[ProbeState, Step]:
        after, step = super().step(state, action)
        return dataclasses.replace(after, position=state.position + 1), step


@struct.dataclass
class Retraced(ProbeGame):
    """The first states have another dtype than those that a step leads to."""

    def init(self, instance: Any) -> ProbeState:
        state = super().init(instance)
        return dataclasses.replace(state, sprung=state.sprung.astype(jnp.int16))

    def step(self, state: ProbeState, action: Any) -> tuple[ProbeState, Step]:
        after, step = super().step(state, action)
        return dataclasses.replace(after, sprung=after.sprung.astype(jnp.int32)), step

    def history(self, state: ProbeState) -> History:
        history = super().history(state)
        return history._replace(backtracks=history.backtracks.astype(jnp.int32))


@struct.dataclass
class ResetsAll(ProbeGame):
    """All games start anew, wherever a reset is asked for."""

    def reset(self, state: ProbeState, where: Any, instance: Any) -> ProbeState:
        return self.init(instance)


@struct.dataclass
class UndoesUnseen(ProbeGame):
    """What a trap undid is not told."""

    def step(self, state: ProbeState, action: Any) -> tuple[ProbeState, Step]:
        after, step = super().step(state, action)
        return after, step._replace(undone_from=state.position + 1)


@struct.dataclass
class TooLittleHeadroom(ProbeGame):
    """The headroom is half of what a game can gain."""

    def headroom(self, state: ProbeState) -> Any:
        return super().headroom(state) / 2


@struct.dataclass
class TooLowEstimate(ProbeGame):
    """A solution is expected to be worth less than its game."""

    def estimate(self, state: ProbeState) -> Any:
        return self.score(state) - 0.1


@struct.dataclass
class Float16(ProbeGame):
    """Observations have another dtype than the protocol's."""

    def observe(self, state: ProbeState) -> Any:
        return super().observe(state).astype(jnp.float16)


@struct.dataclass
class ForgetsTopics(ProbeGame):
    """A question's number leads to another topic."""

    def question_of(self, instance: Any, number: Any) -> Any:
        question = super().question_of(instance, number)
        return question._replace(topic=question.topic + 1)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (BatchFirst, "the batch axis must come last"),
        (PaysTwice, "the reward must be the change of the score"),
        (NothingGoes, "a game without a legal action"),
        (GoesOn, "finished games must stay as they are"),
        (Retraced, "must be traced once"),
        (ResetsAll, "reset: must leave the other games alone"),
        (UndoesUnseen, "history: must keep the moves not undone"),
        (TooLittleHeadroom, "headroom: a game gained more"),
        (TooLowEstimate, "estimate: must be finite, and at least the score"),
        (Float16, "observe"),
        (ForgetsTopics, "question_of: must give the topic"),
    ],
)
def test_broken_games_are_found_out(broken, message):
    whole = probe.together(probe.trap())
    with pytest.raises(AssertionError, match=message):
        check_environment(broken(**vars(whole)))


def test_a_mask_that_lets_illegal_moves_through_is_found_out():
    class Lenient(probe.ProbeDomain):
        def build(self, instances: Any, options: Any) -> ProbeGame:
            return AnythingGoes(**vars(super().build(instances, options)))

    domain = Lenient()
    with pytest.raises(AssertionError, match="the judge rejects a game of legal moves"):
        check_domain(domain, domain.instances(["legality"]), NoOptions())


class Judged(probe.ProbeDomain):
    """A judge that gives more or less than the game; `made` is what solutions say of themselves."""

    more = 0.0
    made: float | None = None

    def judge(self, instance: Any, solution: Any) -> Verdict:
        verdict = super().judge(instance, solution)
        return dataclasses.replace(verdict, score=verdict.score + self.more)

    def solution(self, *arguments: Any) -> Made:
        made = super().solution(*arguments)
        return dataclasses.replace(made, score=self.made)


@pytest.mark.parametrize(
    ("more", "is_bound", "agree"),
    [(0.0, False, True), (0.1, False, False), (0.1, True, True), (-0.1, False, False),
     (-0.1, True, False)],
)  # fmt: skip
def test_a_judge_that_gives_more_agrees_where_the_game_is_a_bound(more, is_bound, agree):
    domain = Judged()
    domain.more, domain.score_is_bound = more, is_bound
    context = nullcontext() if agree else pytest.raises(AssertionError, match="judge and game")
    with context:
        check_domain(domain, domain.instances(["legality"]), NoOptions())


def test_what_is_judged_is_what_was_made_of_the_moves():
    domain = Judged()
    domain.made = 99.0
    with pytest.raises(AssertionError, match=r"score of judge and game: .* is not 99\.0"):
        check_domain(domain, domain.instances(["legality"]), NoOptions())


def test_a_spec_of_another_game_is_found_out():
    class Renamed(probe.ProbeDomain):
        version = 2

    domain = Renamed()
    with pytest.raises(AssertionError, match="is not the domain's"):
        check_domain(domain, domain.instances(["trap"]), NoOptions())


def test_an_observation_that_depends_on_the_instances_is_found_out():
    @struct.dataclass
    class Numbered(ProbeGame):
        @property
        def spec(self) -> Spec:
            spec = super().spec
            parts = (*spec.observation.parts, Part("number", (self.rewards.shape[0],)))
            return dataclasses.replace(spec, observation=ObservationSpec(parts))

    class Growing(probe.ProbeDomain):
        def build(self, instances: Any, options: Any) -> ProbeGame:
            return Numbered(**vars(super().build(instances, options)))

    domain = Growing()
    instances = domain.instances(["delayed", "legality"])
    with pytest.raises(AssertionError, match="must not depend on the instances: delayed"):
        check_domain(domain, instances, NoOptions())


def test_instances_are_named_once():
    with pytest.raises(InputError, match="instance 'trap' is there twice"):
        probe.DOMAIN.instances(["trap", "trap"])
    with pytest.raises(InputError, match=r"instance must be one of delayed, .*, got 'nothing'"):
        probe.DOMAIN.instances(["nothing"])


def test_specs_survive_as_plain_data():
    from gamekit.environment import spec_from_record, spec_record

    for name in ("trap", "mallocgame"):
        spec = GAMES[name]().spec
        assert isinstance(spec, Spec)
        assert spec_from_record(spec_record(spec)) == spec


def test_known_best_scores_are_what_search_by_hand_finds():
    """Every probe's best score, by trying all answers of short ones."""
    short = probe.trap()
    best = -np.inf
    for code in range(3 ** len(short.rewards)):
        answers = [code // 3**n % 3 for n in range(len(short.rewards))]
        verdict = probe.DOMAIN.judge(probe.DOMAIN.instances(["trap"])[0], answers)
        best = max(best, verdict.score if verdict.valid else -np.inf)
    assert best == pytest.approx(short.best)
