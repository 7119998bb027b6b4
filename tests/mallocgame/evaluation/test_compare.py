"""Two results side by side, worked out by hand."""

from __future__ import annotations

import pytest

from gamekit.errors import InputError
from mallocgame.evaluation.compare import compare


def test_comparison_by_hand():
    def results(**latencies: float) -> dict:
        return {
            "rows": [
                {
                    "program": name, "mapper": "greedy", "fingerprint": name[0], "status": "ok",
                    "latency_s": latency, "saved_fraction": 1 - latency / 10, "verified": True,
                    "seed": None, "seconds": 0.0, "decisions": 0, "drop_backups": 0,
                }
                for name, latency in latencies.items()
            ]
        }  # fmt: skip

    first = results(a=5.0, b=8.0, c=4.0, d=1.0)
    second = results(a=4.0, b=8.0, c=5.0, e=1.0)
    second["rows"][1]["fingerprint"] = "another"
    found = compare(first, second)
    assert [row["program"] for row in found["rows"]] == ["a", "c"]
    assert found["changed_programs"] == ["b"]
    assert found["only_first"]["programs"] == ["d"] and found["only_second"]["programs"] == ["e"]
    greedy = found["summary"]["greedy"]
    assert greedy["difference"] == pytest.approx((0.1 - 0.1) / 2)
    assert greedy["speedup"] == pytest.approx((5 / 4 - 1 + 4 / 5 - 1) / 2)
    assert greedy["difference_ci95"] == pytest.approx([-0.1, 0.1])
    assert (greedy["better"], greedy["equal"], greedy["worse"]) == (1, 0, 1)
    with pytest.raises(InputError, match="no mapper ran on the same program"):
        compare(results(a=1.0), results(b=1.0))
