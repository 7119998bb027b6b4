"""The harness finds a difference that is there, and none where there is none."""

import jax
import jax.numpy as jnp
import pytest

from gamekit.errors import InputError
from mallocgame.measure import measure

SHAPE = jax.ShapeDtypeStruct((64, 64), jnp.float32)


def compiled(function=lambda x: x @ x):
    return jax.jit(function).lower(SHAPE).compile()


class Clock:
    """A clock on which the runs of each function take the seconds that it is told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, function, seconds):
        def run(*inputs):
            self.now += next(seconds)
            return function(*inputs)

        return run


def repeat(*values):
    while True:
        yield from values


def test_two_compiles_of_one_function():
    found = measure(compiled(), compiled(), jnp.ones((64, 64)), pairs=10)
    assert found.platform == "cpu" and found.pairs == 10
    assert found.low <= found.ratio <= found.high and found.production_s > 0
    assert found.row()["is_clear"] == found.is_clear


def test_a_difference_is_found_with_its_sign():
    clock, function = Clock(), compiled()
    slow = clock.taking(function, repeat(0.0103, 0.0104, 0.0105))
    fast = clock.taking(function, repeat(0.0100, 0.0101, 0.0099, 0.0098))
    found = measure(slow, fast, jnp.ones((64, 64)), clock=clock)
    assert found.is_clear and found.ratio == pytest.approx(1.045, abs=0.01)
    turned = measure(fast, slow, jnp.ones((64, 64)), clock=clock)
    assert turned.is_clear and turned.ratio < 1 and "no difference" not in str(turned)


def test_noise_is_no_difference():
    clock, function = Clock(), compiled()
    pair = [clock.taking(function, repeat(0.01, 0.012, 0.009, 0.011, 0.0105)) for _ in range(2)]
    found = measure(*pair, jnp.ones((64, 64)), clock=clock)
    assert not found.is_clear and "no difference that can be told" in str(found)


@pytest.mark.parametrize(
    ("other", "more", "message"),
    [
        (compiled(), {"pairs": 2}, "pairs: must be a whole number of at least 5, got 2"),
        (compiled(), {"warm": -1}, "warm: must be a whole number of at least 0, got -1"),
        (compiled(lambda x: x + 100), {}, "got other numbers"),
        (compiled(lambda x: x[0]), {}, "got different results"),
        (lambda x: 1 / 0, {}, "a run failed: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_measured_is_one_line(other, more, message):
    with pytest.raises(InputError, match=message) as caught:
        measure(compiled(), other, jnp.ones((64, 64)), **more)
    assert "\n" not in str(caught.value)
