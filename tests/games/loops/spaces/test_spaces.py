"""Every observation against a handmade nest, and the Gymnasium environment."""

from __future__ import annotations

import numpy as np
import pytest

from gamekit.errors import InputError
from games.loops.game.options import ACTION_NAMES, STOP
from games.loops.program.computation import parse
from games.loops.program.nest import from_record, start
from games.loops.spaces.observations import OBSERVATIONS, Seen
from tests.support.loops import MM, played

# m 6 = 1 x 4 + 2 around m 4, k 5, n 16; and n 16 around the write. The cursor is at the inner m.
SEEN = Seen(MM, played(MM, "split_4 down"), 2e-6, (4, 1))
TREE = """\
  m 1 x 4 + 2
>   m 4
      k 5
        n 16 vectorized
          acc += A[m, k] * B[k, n]
      n 16
        C[m, n] = acc
"""


def test_runtime_and_flops():
    assert OBSERVATIONS["runtime"](SEEN) == 2e-6
    assert OBSERVATIONS["flops"](SEEN) == pytest.approx(2 * 6 * 16 * 5 / 2e-6)


def test_ir_can_be_read_again():
    import json

    text, record = OBSERVATIONS["ir"](SEEN).splitlines()
    assert parse(text, "mm") == MM
    assert from_record(json.loads(record), MM) == SEEN.position.nest


def test_loop_tree():
    assert OBSERVATIONS["loop_tree"](SEEN) == TREE


def test_networkx_tree_and_graph():
    pytest.importorskip("networkx")
    graph = OBSERVATIONS["loop_tree_networkx"](SEEN)
    assert set(graph.edges) == {
        ("loop0", "loop1"),
        ("loop1", "loop2"),
        ("loop2", "loop3"),
        ("loop3", "multiply"),
        ("loop1", "loop4"),
        ("loop4", "write"),
    }
    assert graph.nodes["loop0"]["tail"] == 2 and graph.nodes["loop1"]["cursor"]
    graph = OBSERVATIONS["loop_graph_networkx"](SEEN)
    assert graph.edges["loop0", "A"]["stride"] == 4 * 5
    assert graph.edges["loop2", "B"]["stride"] == 16
    assert {("A", "multiply"), ("write", "C"), ("acc", "write")} <= set(graph.edges)


def test_loops_tensor():
    seen = OBSERVATIONS["loops_tensor"](SEEN)
    assert seen.shape == (10, 20) and seen.dtype == np.float32
    assert seen[:, :4].tolist()[:5] == [
        [0, 1, 2, 1],
        [1, 4, 0, 1],
        [0, 5, 0, 1],
        [0, 16, 0, 1],
        [0, 16, 0, 0],
    ]
    # k: C stays (read and written, 2 of 4), A moves by 1 (bucket 1), B by 16 (bucket 5).
    assert seen[2, 4:12].tolist() == [0.5, 0.25, 0, 0, 0, 0.25, 0, 0]
    # The outer m: C by 4 * 16 = 64 (bucket 7), A by 4 * 5 = 20 (bucket 5), B stays.
    assert seen[0, 4:12].tolist() == [0.25, 0, 0, 0, 0, 0.25, 0, 0.5]
    assert not seen[5:].any()


def test_stride_tensor():
    seen = OBSERVATIONS["stride_tensor"](Seen(MM, played(MM, ""), 1.0))
    # How often the loops go on: m 6, k 30, n 480; n of the write 96.
    m = np.array([1, 0, 0, 1, 0, 2, 0]) / 4  # B stays; A by 5; C by 16
    k = np.array([2, 1, 0, 0, 0, 1, 0]) / 4
    n = np.array([1, 3, 0, 0, 0, 0, 0]) / 4  # A stays; C, read and written, and B by 1
    write = np.array([0, 1, 0, 0, 0, 0, 0])
    right = (6 * m + 30 * k + 480 * n + 96 * write) / (6 + 30 + 480 + 96)
    np.testing.assert_allclose(seen[:7], right, rtol=1e-6)
    assert seen.shape == (32,) and not seen[7:].any()


def test_previous_actions():
    seen = OBSERVATIONS["previous_actions"](SEEN)
    assert seen.shape == (5, len(ACTION_NAMES)) and not seen[:3].any()
    assert seen[3].argmax() == 4 and seen[4].argmax() == 1 and seen.sum() == 2


def test_the_gymnasium_environment():
    pytest.importorskip("gymnasium")
    from gymnasium.utils.env_checker import check_env

    from games.loops.program.cost import seconds
    from games.loops.spaces.environment import SPACES, LoopsEnv

    for name in SPACES:
        check_env(LoopsEnv(["mm64_80_96"], name, moves=8), skip_render_check=True)
    env = LoopsEnv(["mm64_80_96", "mm64_64_64"], render_mode="ansi")
    _, info = env.reset(seed=0, options={"computation": "mm64_80_96"})
    assert info["computation"] == "mm64_80_96"
    rng, total, over = np.random.default_rng(0), 0.0, False
    while not over:
        mask = info["action_mask"].copy()
        mask[STOP] = False
        _, reward, stopped, over, info = env.step(rng.choice(np.flatnonzero(mask)))
        total += reward
        assert not stopped
    seen = env._seen
    begun = seconds(seen.computation, start(seen.computation))
    assert total == pytest.approx(np.log2(begun / seen.seconds))
    assert ">" in env.render()
    assert env.step(STOP)[2]
    with pytest.raises(InputError, match="observation: must be one of loops_tensor"):
        LoopsEnv(observation="nothing")
    with pytest.raises(InputError, match="computation: must be one of this environment's"):
        env.reset(options={"computation": "mm8_8_8"})
