import math

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.real.audit import BUCKET_SECONDS, BUCKETS, Audit, Lateness


@given(st.lists(st.floats(-0.001, 0.1), min_size=1, max_size=300))
def test_percentiles_are_exact_to_a_bucket_and_never_beyond_the_latest(lates: list[float]) -> None:
    lateness = Lateness()
    for late in lates:
        lateness.note(late)
    audit = lateness.audit()
    ranked = sorted(max(0.0, late) for late in lates)
    assert audit.packets == len(lates)
    assert audit.late_max == ranked[-1]
    for share, found in ((0.5, audit.late_p50), (0.99, audit.late_p99)):
        exact = ranked[math.ceil(share * len(ranked)) - 1]
        assert found >= exact - 1e-9
        assert found <= exact + BUCKET_SECONDS + 1e-9 or exact >= BUCKETS * BUCKET_SECONDS


def test_an_audit_begins_anew() -> None:
    lateness = Lateness()
    lateness.note(0.5)
    assert lateness.audit().late_max == 0.5
    assert lateness.audit() == Audit(0, 0.0, 0.0, 0.0)


def test_a_run_counts_only_if_the_machine_kept_up() -> None:
    assert Audit(100, 0.0001, 0.0009, 0.05).is_valid(delay=0.0)
    assert not Audit(100, 0.0001, 0.0011, 0.0011).is_valid(delay=0.0)
    assert Audit(100, 0.0001, 0.0024, 0.05).is_valid(delay=0.05)
    assert not Audit(100, 0.0001, 0.0026, 0.05).is_valid(delay=0.05)
