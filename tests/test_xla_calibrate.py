"""The fit recovers known latencies, and says what it cannot know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.xla.calibrate import Sample, calibrate, fit_instruction, fit_rates, pool

RATES = np.array([320.0, 3300.0, 900.0, 8000.0])


def sample(key: str, reads: list, writes: list, rows: list, cycles: list) -> Sample:
    """`rows` are strings of 0 and 1, reads then writes; 1 is fast."""
    fast = np.array([[c == "1" for c in row] for row in rows], bool).reshape(len(rows), -1)
    return Sample(
        (key,),
        np.array(reads, float),
        np.array(writes, float),
        fast[:, : len(reads)],
        fast[:, len(reads) :],
        np.array(cycles, float),
    )


def test_all_estimates_of_a_weight_bound_fusion_are_met() -> None:
    # a two-layer fusion of a real decode step: two weights of 4.5 MiB, one small input
    data = sample(
        "mlp",
        [12288, 4718592, 4718592],
        [12288],
        ["0000", "1111", "1101", "1001"],
        [28042, 7498, 15418, 27938],
    )
    fit = fit_instruction(data, RATES, 0.7)
    predicted = fit.predict(data.read_fast, data.write_fast)
    np.testing.assert_allclose(predicted, data.cycles, rtol=1e-2)
    assert predicted[0] == pytest.approx(28042, rel=1e-9)
    assert fit.compute == pytest.approx(7498, rel=1e-6)
    assert fit.is_floor_identified


def test_floor_is_not_identified_while_the_large_read_stays_slow() -> None:
    data = sample("w", [4 << 20], [4096], ["00", "01"], [13000, 13000])
    assert not fit_instruction(data, RATES, 0.7).is_floor_identified


def test_plateau_identifies_the_floor() -> None:
    data = sample("w", [64 << 10], [256], ["00", "11"], [20000, 20000])
    fit = fit_instruction(data, RATES, 0.7)
    assert fit.is_floor_identified and fit.compute == pytest.approx(20000)


def test_estimate_that_rises_in_fast_memory_keeps_all_slow_exact() -> None:
    data = sample("up", [2 << 20], [16 << 20], ["00", "11"], [57816, 80432])
    fit = fit_instruction(data, RATES, 0.7)
    assert fit.predict(data.read_fast, data.write_fast)[0] == pytest.approx(57816, rel=1e-9)


def test_rates_are_recovered() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([280.0, 3000.0, 700.0, 6000.0])
    data = []
    for number in range(40):
        reads, writes = rng.integers(1 << 18, 1 << 23, 2), rng.integers(1 << 18, 1 << 23, 1)
        rows = ["000", "111", "100", "001", "110"]
        fast = np.array([[c == "1" for c in row] for row in rows])
        read = (reads / np.where(fast[:, :2], truth[1], truth[0])).sum(axis=1)
        write = (writes / np.where(fast[:, 2:], truth[3], truth[2])).sum(axis=1)
        cycles = np.maximum(np.maximum(read, write), rng.integers(100, 2000))
        data.append(sample(str(number), list(reads), list(writes), rows, list(cycles)))
    found = fit_rates(data)
    # fast writes are never what an instruction waits for here
    np.testing.assert_allclose(found[:3], truth[:3], rtol=0.05)


def test_equal_instructions_share_their_placements() -> None:
    one = sample("k", [1 << 20], [1 << 10], ["00", "01"], [4000, 4000])
    two = sample("k", [1 << 20], [1 << 10], ["00", "11"], [4000, 1500])
    assert len(pool([one, two])[("k",)].cycles) == 3
    calibration = calibrate({0: one, 1: two})
    assert calibration.fits[0].predict(np.array([[True]]), np.array([[True]]))[0] == pytest.approx(
        1500, rel=1e-3
    )


def test_held_out_error_is_about_a_placement_that_was_not_fitted() -> None:
    data = sample("k", [1 << 20], [1 << 10], ["00", "11", "01"], [4000, 1500, 3990])
    calibration = calibrate({0: data})
    assert len(calibration.held_out_errors) == 2
    assert calibration.held_out_errors[0] is not None and calibration.held_out_errors[0] > 0.1
    assert abs(calibration.total_errors[1]) < 1e-3
    single = sample("k", [1 << 20], [1 << 10], ["00", "11"], [4000, 1500])
    assert calibrate({0: single}).held_out_errors == (None,)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fit_is_always_usable(data: st.DataObject) -> None:
    reads = data.draw(st.lists(st.integers(0, 1 << 24), max_size=3))
    writes = data.draw(st.lists(st.integers(0, 1 << 24), max_size=2))
    width = len(reads) + len(writes)
    rows = ["0" * width]
    rows += data.draw(st.lists(st.text("01", min_size=width, max_size=width), max_size=3))
    cycles = [data.draw(st.integers(1, 10**6)) for _ in rows]
    drawn = sample("r", reads, writes, rows, cycles)
    fit = fit_instruction(pool([drawn])[("r",)], RATES, 0.7)
    for slow, fast in ((fit.read_slow, fit.read_fast), (fit.write_slow, fit.write_fast)):
        assert np.isfinite(slow).all() and (fast >= 0).all() and (fast <= slow).all()
    all_slow = fit.predict(drawn.read_fast[:1], drawn.write_fast[:1])[0]
    assert all_slow == pytest.approx(cycles[0], rel=1e-6)
