"""What every game must keep to be played by the agent: one test for all of them.

    check_environment(environment)
    check_domain(domain, domain.instances(["tiny"]), domain.options())

Both play games by chance and raise an AssertionError that says which rule is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamekit.checked import Checked, checked
from gamekit.domain import Domain, Instance, Verdict
from gamekit.environment import Environment, GuidingEnvironment, State, Step

TOLERANCE = 1e-5


class Seen(NamedTuple):
    """What a batch of states [B] shows, as NumPy arrays."""

    observation: np.ndarray
    legal: np.ndarray
    done: np.ndarray
    score: np.ndarray
    headroom: np.ndarray
    instance: np.ndarray
    moves: np.ndarray
    length: np.ndarray
    backtracks: np.ndarray
    number: np.ndarray
    topic: np.ndarray
    topic_of_number: np.ndarray


class Move(NamedTuple):
    """One step of a batch of games: what was seen before, the actions, and what came of them."""

    before: Seen
    action: np.ndarray
    reward: np.ndarray
    undone_from: np.ndarray
    after: Seen


def check_environment(environment: Environment[Any], games: int = 8, seed: int = 0) -> None:
    """Plays `games` games by chance to their end, and asserts what the protocol promises.

    Raises:
      AssertionError: a promise is broken.
    """
    game = checked(environment)
    check_spec(game)
    check_batch_axes(game)
    runner = Runner(game)
    moves, state = play_by_chance(runner, games, seed)
    for move in moves:
        check_masks(move.before)
        check_rewards(move)
        check_branch(move)
        check_questions(game, move.before)
    check_masks(moves[-1].after)
    check_headroom(moves)
    check_estimate(game, state, moves[-1].after)
    check_frozen(runner, state, moves[-1].after)
    check_reset(runner, state, moves[-1].after)
    check_replay(runner, moves[-1].after)
    check_scan(runner, moves)
    check_vmap(runner, moves)


def check_domain(
    domain: Domain, instances: Sequence[Instance], options: Any, games: int = 8, seed: int = 0
) -> None:
    """Has solutions of games by chance judged: they must be valid, and score as in the game.

    Raises:
      AssertionError: game and judge disagree.
    """
    environment = domain.build(instances, options)
    spec = environment.spec
    facts = (domain.name, domain.version, len(instances))
    assert (spec.name, spec.version, spec.num_instances) == facts, "spec: is not the domain's"
    for instance in instances:
        alone = domain.build([instance], options).spec
        same = (alone.action_names, alone.observation) == (spec.action_names, spec.observation)
        assert same, (
            f"spec: actions and observation must not depend on the instances: {instance.name}"
        )
    moves, _ = play_by_chance(Runner(checked(environment)), games, seed)
    end = moves[-1].after
    for number in range(games):
        index, length = int(end.instance[number]), int(end.length[number])
        instance = instances[index]
        made = domain.solution(environment, instance, index, end.moves[number, :length])
        verdict = domain.judge(instance, made.solution)
        name = f"{instance.name}: game {number}"
        assert verdict.valid, f"{name}: the judge rejects a game of legal moves: {verdict.why}"
        check_figures(domain, verdict, name)
        score = made.score_or(float(end.score[number]))
        found = min(verdict.score, score) if domain.score_is_bound else verdict.score
        _close(found, score, f"{name}: score of judge and game")


def check_figures(domain: Domain, verdict: Verdict, name: str) -> None:
    """An interrupted evaluation reads figures back: they must be of the kinds that it expects."""
    for figure, value in verdict.figures.items():
        assert figure in domain.blank_figures, f"{name}: {figure}: is not among blank_figures"
        is_bool = isinstance(domain.blank_figures[figure], bool)
        kind = bool if is_bool else (int, float, np.integer, np.floating)
        right = isinstance(value, kind) and (is_bool or not isinstance(value, bool))
        assert right, f"{name}: {figure}: must be {'a boolean' if is_bool else 'a number'}"


class Runner:
    """The jitted functions of a game, each with a look at what it leads to.

    traces: how often `step` was traced.
    """

    def __init__(self, game: GuidingEnvironment[Any]):
        self.game, self.traces = game, 0
        self._init = jax.jit(lambda instance: self._with_look(game.init(instance)))
        self._step = jax.jit(self._stepped)
        self._reset = jax.jit(lambda *arguments: self._with_look(game.reset(*arguments)))
        self.look = jax.jit(lambda state: look(game, state))

    def init(self, instance: Any) -> tuple[Any, Seen]:
        state, seen = self._init(jnp.asarray(instance, jnp.int32))
        return state, _numpy(seen)

    def step(self, state: Any, action: Any) -> tuple[Any, Step, Seen]:
        state, outcome, seen = self._step(state, jnp.asarray(action, jnp.int32))
        return state, jax.tree.map(np.asarray, outcome), _numpy(seen)

    def reset(self, state: Any, where: Any, instance: Any) -> Seen:
        return _numpy(self._reset(state, jnp.asarray(where), jnp.asarray(instance, jnp.int32))[1])

    def _with_look(self, state: Any) -> tuple[Any, Seen]:
        return state, look(self.game, state)

    def _stepped(self, state: Any, action: jax.Array) -> tuple[Any, Step, Seen]:
        self.traces += 1
        after, outcome = self.game.step(state, action)
        return after, outcome, look(self.game, after)


def play_by_chance(runner: Runner, games: int, seed: int) -> tuple[list[Move], Any]:
    """Plays games of all instances by random legal actions; the moves and the last state."""
    rng, spec = np.random.default_rng(seed), runner.game.spec
    state, seen = runner.init(np.arange(games) % spec.num_instances)
    moves: list[Move] = []
    while not seen.done.all():
        assert len(moves) < 4 * spec.max_moves, "done: games must end within max_moves"
        dice = np.where(seen.legal, rng.random(seen.legal.shape), -1.0)
        action = np.argmax(dice, axis=-1)
        state, outcome, after = runner.step(state, action)
        assert (outcome.done == after.done).all(), "step: done must be that of the state"
        reward, undone_from = np.asarray(outcome.reward), np.asarray(outcome.undone_from)
        moves.append(Move(seen, action, reward, undone_from, after))
        seen = after
    assert moves, "init: games must not be over at once"
    assert runner.traces == 1, f"step: must be traced once, was traced {runner.traces} times"
    return moves, state


def look(game: GuidingEnvironment[State], state: State) -> Seen:
    """What states show; the fields are JAX arrays as long as they are traced."""
    history, question = game.history(state), game.question(state)
    of_number = game.question_of(game.instance(state), question.number)
    found: Any = (
        game.observe(state),
        game.legal_actions(state),
        game.done(state),
        game.score(state),
        game.headroom(state),
        game.instance(state),
        *history,
        question.number,
        question.topic,
        of_number.topic,
    )
    return Seen(*found)


def check_spec(game: GuidingEnvironment[State]) -> None:
    """Names, counts and parts fit together."""
    spec = game.spec
    assert spec.num_instances >= 1 and spec.max_moves >= 1, "spec: counts must be positive"
    assert len(set(spec.action_names)) == spec.num_actions >= 2, "spec: action_names must differ"
    assert spec.decline is None or 0 <= spec.decline < spec.num_actions, (
        "spec: decline is no action"
    )
    assert spec.num_questions >= 1, "spec: num_questions must be positive"
    assert hash(spec) == hash(game.spec) and spec == game.spec, "spec: must be the same every time"


def check_batch_axes(game: GuidingEnvironment[State]) -> None:
    """Batch axes come last in every array of the state, and a single game has none."""

    def shapes(*batch: int) -> list[tuple[int, ...]]:
        start = jax.ShapeDtypeStruct(batch, jnp.int32)
        return [x.shape for x in jax.tree.leaves(jax.eval_shape(game.init, start))]

    for single, five, seven in zip(shapes(), shapes(5), shapes(7), strict=True):
        right = five == (*single, 5) and seven == (*single, 7)
        assert right, f"state: the batch axis must come last, got {five} for five games of {single}"


def check_masks(seen: Seen) -> None:
    """Every running game has a legal action; in finished ones all are legal."""
    assert seen.legal.any(axis=-1).all(), "legal_actions: a game without a legal action"
    assert seen.legal[seen.done].all(), "legal_actions: all must be legal in finished games"
    assert np.isfinite(seen.observation).all(), "observe: must be finite"


def check_rewards(move: Move) -> None:
    """Rewards are the changes of the score."""
    change = move.after.score - move.before.score
    _close(move.reward, change, "step: the reward must be the change of the score")


def check_branch(move: Move) -> None:
    """The history keeps what was not undone, and takes up the new move."""
    before, after = move.before, move.after
    for game in np.flatnonzero(~before.done):
        index, undone_from = int(before.length[game]), int(move.undone_from[game])
        undoes = undone_from <= index
        kept = [*before.moves[game, :index], move.action[game]][:undone_from]
        found = after.moves[game, : min(undone_from, index + 1)]
        assert list(found) == [int(m) for m in kept], "history: must keep the moves not undone"
        more = after.backtracks[game] > before.backtracks[game]
        assert more == undoes, (
            f"step: undone_from must be the history's length after a move that undid nothing, "
            f"{index + 1}, got {undone_from}"
            if undoes
            else "step: undone_from must tell what a backtrack undid"
        )
        # Answers that a backtrack forces may follow; else the move is the last one.
        assert undoes or after.length[game] >= index + 1, "history: must take up the move"


def check_questions(game: GuidingEnvironment[State], seen: Seen) -> None:
    """Numbers of questions are in range, and a number leads back to its topic."""
    inside = (seen.number >= 0) & (seen.number < game.spec.num_questions)
    assert inside.all(), "question: numbers must be below num_questions"
    running = ~seen.done
    same = seen.topic[running] == seen.topic_of_number[running]
    assert same.all(), "question_of: must give the topic of the question"


def check_headroom(moves: Sequence[Move]) -> None:
    """No game gains more than the headroom; zero everywhere says nothing."""
    if not any(move.before.headroom.any() for move in moves):
        return
    end = moves[-1].after
    for move in moves:
        limit = move.before.score + move.before.headroom + TOLERANCE
        assert (end.score <= limit).all(), "headroom: a game gained more than it"
    assert (end.headroom == 0).all(), "headroom: must be zero in finished games"


def check_estimate(game: Checked[Any], state: Any, seen: Seen) -> None:
    """What finished games may be worth to the judge is no less than their scores."""
    estimate = np.asarray(jax.jit(game.estimate)(state))
    right = np.isfinite(estimate) & (estimate >= seen.score - TOLERANCE)
    assert right.all(), "estimate: must be finite, and at least the score in finished games"


def check_frozen(runner: Runner, state: Any, seen: Seen) -> None:
    """Finished games stay as they are, whatever is played."""
    for action in range(runner.game.spec.num_actions):
        _, outcome, after = runner.step(state, np.full(seen.done.shape, action))
        assert not np.any(outcome.reward), "step: finished games must pay nothing"
        _same(after, seen, "step: finished games must stay as they are")


def check_reset(runner: Runner, state: Any, seen: Seen) -> None:
    """New games where asked for, the others go on."""
    games = np.arange(len(seen.done))
    pick, instance = games % 2 == 0, games % runner.game.spec.num_instances
    found, (_, fresh) = runner.reset(state, pick, instance), runner.init(instance)
    _same(_only(found, pick), _only(fresh, pick), "reset: must start new games where it is told")
    _same(_only(found, ~pick), _only(seen, ~pick), "reset: must leave the other games alone")


def check_replay(runner: Runner, end: Seen) -> None:
    """Playing the history again comes to the same end without a backtrack."""
    state, seen = runner.init(end.instance)
    for move in range(int(end.length.max())):
        # A game that is over ignores what lies behind its last move.
        state, _, seen = runner.step(state, end.moves[:, move])
    _close(seen.score, end.score, "history: playing it again must come to the same score")
    assert seen.done.all() and not seen.backtracks.any(), "history: must hold the final branch"


def check_scan(runner: Runner, moves: Sequence[Move]) -> None:
    """A scan over the actions gives what the steps gave."""
    actions = jnp.asarray(np.stack([move.action for move in moves]), jnp.int32)
    state, _ = runner.init(moves[0].before.instance)
    scan = jax.jit(lambda state: jax.lax.scan(runner.game.step, state, actions))
    state, outcome = scan(state)
    expected = np.stack([move.reward for move in moves])
    _close(outcome.reward, expected, "step: must be the same in a scan")
    _same(_numpy(runner.look(state)), moves[-1].after, "step: must be the same in a scan")


def check_vmap(runner: Runner, moves: Sequence[Move], most: int = 12) -> None:
    """Single games under vmap give what a batch gives, over the first `most` moves."""
    game = runner.game
    step = jax.jit(jax.vmap(game.step, in_axes=(-1, 0), out_axes=(-1, 0)))
    init = jax.jit(jax.vmap(game.init, out_axes=-1))
    state = init(jnp.asarray(moves[0].before.instance, jnp.int32))
    for move in moves[:most]:
        state, outcome = step(state, jnp.asarray(move.action, jnp.int32))
        _close(outcome.reward, move.reward, "step: must be the same under vmap")
        _same(_numpy(runner.look(state)), move.after, "step: must be the same under vmap")


def _numpy(seen: Seen) -> Seen:
    return Seen(*(np.asarray(x) for x in seen))


def _only(seen: Seen, where: np.ndarray) -> Seen:
    return Seen(*(x[where] for x in seen))


def _same(found: Seen, expected: Seen, what: str) -> None:
    """Asserts that states show the same; behind its length a history holds nothing."""
    for name, a, b in zip(Seen._fields, found, expected, strict=True):
        if name == "moves":
            valid = np.arange(a.shape[-1]) < expected.length[:, None]
            a, b = np.where(valid, a, -1), np.where(valid, b, -1)
        _close(a, b, f"{what} ({name})")


def _close(found: Any, expected: Any, what: str) -> None:
    close = np.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert close, f"{what}: {np.asarray(found)} is not {np.asarray(expected)}"
