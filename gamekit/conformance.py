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

from gamekit.checked import checked
from gamekit.domain import Domain, Instance
from gamekit.environment import Environment, GuidingEnvironment, State

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
    moves, state = play_by_chance(game, games, seed)
    for move in moves:
        check_masks(move.before)
        check_rewards(move)
        check_branch(move)
        check_questions(game, move.before)
    check_masks(moves[-1].after)
    check_headroom(moves)
    check_frozen(game, state, moves[-1].after)
    check_reset(game, state)
    check_replay(game, moves[-1].after)
    check_scan(game, moves)
    check_vmap(game, moves)


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
    moves, _ = play_by_chance(checked(environment), games, seed)
    end = moves[-1].after
    for number in range(games):
        index, length = int(end.instance[number]), int(end.length[number])
        instance = instances[index]
        solution = domain.solution(environment, instance, index, end.moves[number, :length])
        verdict = domain.judge(instance, solution)
        name = f"{instance.name}: game {number}"
        assert verdict.valid, f"{name}: the judge rejects a game of legal moves: {verdict.why}"
        _close(verdict.score, end.score[number], f"{name}: score of judge and game")


def play_by_chance(
    game: GuidingEnvironment[State], games: int, seed: int
) -> tuple[list[Move], State]:
    """Plays games of all instances by random legal actions; the moves and the last state."""
    traces = 0

    def step(state: State, action: jax.Array) -> tuple[State, Any, Any]:
        nonlocal traces
        traces += 1
        state, outcome = game.step(state, action)
        return state, outcome, look(game, state)

    step, rng = jax.jit(step), np.random.default_rng(seed)
    state = jax.jit(game.init)(jnp.arange(games, dtype=jnp.int32) % game.spec.num_instances)
    seen = _numpy(jax.jit(lambda state: look(game, state))(state))
    moves: list[Move] = []
    while not seen.done.all():
        assert len(moves) < 4 * game.spec.max_moves, "done: games must end within max_moves"
        dice = np.where(seen.legal, rng.random(seen.legal.shape), -1.0)
        action = np.argmax(dice, axis=-1).astype(np.int32)
        state, outcome, after = step(state, jnp.asarray(action))
        after = _numpy(after)
        reward, undone_from = np.asarray(outcome.reward), np.asarray(outcome.undone_from)
        assert (np.asarray(outcome.done) == after.done).all(), (
            "step: done must be that of the state"
        )
        moves.append(Move(seen, action, reward, undone_from, after))
        seen = after
    assert moves, "init: games must not be over at once"
    assert traces == 1, f"step: must be traced once for equal shapes, was {traces} times"
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
        assert more == undoes, "step: undone_from must tell what a backtrack undid"
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


def check_frozen(game: GuidingEnvironment[State], state: State, seen: Seen) -> None:
    """Finished games stay as they are, whatever is played."""
    for action in range(game.spec.num_actions):
        actions = jnp.full(seen.done.shape, action, jnp.int32)
        after, outcome = jax.jit(game.step)(state, actions)
        assert not np.asarray(outcome.reward).any(), "step: finished games must pay nothing"
        _same(_numpy(look(game, after)), seen, "step: finished games must stay as they are")


def check_reset(game: GuidingEnvironment[State], state: State) -> None:
    """New games where asked for, the others go on."""
    games = game.done(state).shape[0]
    where = jnp.arange(games) % 2 == 0
    instance = jnp.arange(games, dtype=jnp.int32) % game.spec.num_instances
    found = _numpy(look(game, jax.jit(game.reset)(state, where, instance)))
    old, fresh = _numpy(look(game, state)), _numpy(look(game, jax.jit(game.init)(instance)))
    pick = np.asarray(where)
    _same(_only(found, pick), _only(fresh, pick), "reset: must start new games where it is told")
    _same(_only(found, ~pick), _only(old, ~pick), "reset: must leave the other games alone")


def check_replay(game: GuidingEnvironment[State], end: Seen) -> None:
    """Playing the history again comes to the same end without a backtrack."""
    step = jax.jit(game.step)
    state = jax.jit(game.init)(jnp.asarray(end.instance))
    for move in range(int(end.length.max())):
        # A game that is over ignores what lies behind its last move.
        state, _ = step(state, jnp.asarray(end.moves[:, move]))
    found = _numpy(look(game, state))
    _close(found.score, end.score, "history: playing it again must come to the same score")
    assert found.done.all() and not found.backtracks.any(), "history: must hold the final branch"


def check_scan(game: GuidingEnvironment[State], moves: Sequence[Move]) -> None:
    """A scan over the actions gives what the steps gave."""
    actions = jnp.asarray(np.stack([move.action for move in moves]))
    start = game.init(jnp.asarray(moves[0].before.instance))
    state, outcome = jax.jit(lambda state: jax.lax.scan(game.step, state, actions))(start)
    expected = np.stack([move.reward for move in moves])
    _close(np.asarray(outcome.reward), expected, "step: must be the same in a scan")
    _same(_numpy(look(game, state)), moves[-1].after, "step: must be the same in a scan")


def check_vmap(game: GuidingEnvironment[State], moves: Sequence[Move], most: int = 12) -> None:
    """Single games under vmap give what a batch gives, over the first `most` moves."""
    step = jax.jit(jax.vmap(game.step, in_axes=(-1, 0), out_axes=(-1, 0)))
    state = jax.vmap(game.init, out_axes=-1)(jnp.asarray(moves[0].before.instance))
    for move in moves[:most]:
        state, outcome = step(state, jnp.asarray(move.action))
        _close(np.asarray(outcome.reward), move.reward, "step: must be the same under vmap")
        _same(_numpy(look(game, state)), move.after, "step: must be the same under vmap")


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
