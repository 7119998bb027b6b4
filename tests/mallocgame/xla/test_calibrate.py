"""The fit recovers known latencies, stays within what it is told, and is tested on the rest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mallocgame.xla.latency.calibrate import calibrate, fit_cycles_per_byte, pool
from mallocgame.xla.latency.fit import Sample, fit_additive, fit_instruction

PER_BYTE = np.array([1 / 428, 1 / 428])


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


def predict(data: Sample, row: str) -> float:
    fast = np.array([[c == "1" for c in row]])
    fit = fit_instruction(data, PER_BYTE)
    return float(fit.predict(fast[:, : len(data.reads)], fast[:, len(data.reads) :])[0])


def test_all_estimates_of_a_weight_bound_fusion_are_met() -> None:
    # a two-layer fusion of a real decode step: two weights of 4.5 MiB, one small input
    data = sample(
        "mlp",
        [12288, 4718592, 4718592],
        [12288],
        ["0000", "1111", "1101", "1001"],
        [28042, 7498, 15418, 27938],
    )
    fit = fit_instruction(data, PER_BYTE)
    predicted = fit.predict(data.read_fast, data.write_fast)
    np.testing.assert_allclose(predicted, data.cycles, rtol=1e-2)
    assert predicted[0] == pytest.approx(28042, rel=1e-9)


def test_copy_of_a_real_program() -> None:
    # 6.1 MiB to 12.2 MiB; the compiler's estimates for three placements, and what they imply
    data = sample("copy", [6406144], [12800000], ["00", "11", "01"], [100072, 55120, 70238])
    for row, cycles in zip(["00", "11", "01"], data.cycles, strict=True):
        assert predict(data, row) == pytest.approx(cycles, rel=1e-3)
    # with the result alone unseen, a byte costs what it does on the chip otherwise
    unseen = sample("copy", [6406144], [12800000], ["00", "11"], [100072, 55120])
    assert predict(unseen, "01") == pytest.approx(70238, rel=0.01)


def test_floor_of_equal_estimates() -> None:
    data = sample("w", [64 << 10], [256 << 10], ["00", "11", "10"], [20600, 20000, 20000])
    additive = fit_additive(data, PER_BYTE)
    assert additive.floor == 20000
    assert predict(data, "01") >= 20000


def test_estimate_that_rises_in_fast_memory_is_met() -> None:
    data = sample("up", [2 << 20], [16 << 20], ["00", "11"], [57816, 80432])
    assert predict(data, "00") == pytest.approx(57816, rel=1e-9)
    assert predict(data, "11") == pytest.approx(80432, rel=0.02)


def test_cycles_per_byte_are_recovered() -> None:
    rng = np.random.default_rng(0)
    truth = 1 / 300, 1 / 700
    data = []
    for number in range(40):
        reads, writes = rng.integers(1 << 18, 1 << 23, 2), rng.integers(1 << 18, 1 << 23, 1)
        rows = ["000", "111", "100", "001", "110"]
        slow = np.array([[c == "0" for c in row] for row in rows])
        cycles = 9000 + slow[:, :2] @ reads * truth[0] + slow[:, 2:] @ writes * truth[1]
        data.append(sample(str(number), list(reads), list(writes), rows, list(cycles)))
    np.testing.assert_allclose(fit_cycles_per_byte(data), truth, rtol=1e-6)
    assert (fit_cycles_per_byte([]) > 0).all()


def test_equal_instructions_share_their_placements() -> None:
    one = sample("k", [1 << 20], [1 << 10], ["00", "01"], [4000, 4000])
    two = sample("k", [1 << 20], [1 << 10], ["00", "11"], [4000, 1500])
    assert len(pool([one, two])[("k",)].cycles) == 3
    calibration = calibrate({0: one, 1: two})
    assert calibration.fits[0].predict(np.array([[True]]), np.array([[True]]))[0] == pytest.approx(
        1500, rel=1e-3
    )


def test_held_out_error_is_about_a_placement_that_was_not_fitted() -> None:
    data = sample("k", [1 << 20], [1 << 10], ["00", "11", "01"], [4000, 500, 3990])
    calibration = calibrate({0: data})
    assert len(calibration.held_out) == 2
    first = calibration.held_out[0]
    assert first is not None and first.total > 0.5 and first.median == pytest.approx(first.total)
    assert abs(calibration.total_errors[1]) < 1e-3
    single = sample("k", [1 << 20], [1 << 10], ["00", "11"], [4000, 1500])
    assert calibrate({0: single}).held_out == (None,)


def test_copy_that_costs_nothing_in_fast_memory() -> None:
    # all that it takes is saved: guesses of zero cycles must not be fitted as shares
    data = sample("copy", [10**6], [10**6], ["00", "11"], [5000, 1])
    assert predict(data, "00") == pytest.approx(5000)
    assert predict(data, "11") < 100


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fit_is_always_usable(data: st.DataObject) -> None:
    reads = data.draw(st.lists(st.integers(0, 1 << 24), max_size=3))
    writes = data.draw(st.lists(st.integers(0, 1 << 24), max_size=2))
    width = len(reads) + len(writes)
    rows = ["0" * width]
    rows += data.draw(st.lists(st.text("01", min_size=width, max_size=width), max_size=3))
    cycles = [data.draw(st.integers(1, 10**6)) for _ in rows]
    drawn = pool([sample("r", reads, writes, rows, cycles)])[("r",)]
    fit = fit_instruction(drawn, PER_BYTE)
    for times in (fit.read_added, fit.write_added, [fit.compute, fit.fixed_read, fit.fixed_write]):
        assert np.isfinite(times).all() and (np.asarray(times) >= 0).all()
    all_slow = fit.predict(drawn.read_fast[:1], drawn.write_fast[:1])[0]
    assert all_slow == pytest.approx(cycles[0], rel=1e-6)
