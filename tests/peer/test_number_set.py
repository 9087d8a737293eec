"""The set of numbers against a plain set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.session.number_set import NumberSet

RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 12)), max_size=60)


@given(RANGES)
def test_it_holds_what_was_added_and_tells_what_is_new_once(ranges: list[tuple[int, int]]) -> None:
    numbers, known = NumberSet(), set[int]()
    for first, length in ranges:
        span = range(first, first + length + 1)
        new = numbers.add(span[0], span[-1])
        assert [number for begin, end in new for number in range(begin, end + 1)] == sorted({*span} - known)
        known |= {*span}
        assert all((number in numbers) == (number in known) for number in range(1, 80))
        assert numbers.through == next(number for number in range(80) if number + 1 not in known)
        beyond = numbers.beyond(100)
        assert numbers.has_gaps == bool(beyond)
        held = [number for begin, end in beyond for number in range(begin, end + 1)]
        assert held == sorted(number for number in known if number > numbers.through)
        ends = [numbers.through, *(end for _, end in beyond)]
        assert all(end + 1 < begin for end, (begin, _) in zip(ends, beyond, strict=False)), (
            "ranges that touch"
        )


def test_what_is_wide_or_repeated_costs_nothing() -> None:
    numbers = NumberSet()
    assert numbers.add(2, 2**63) == [(2, 2**63)]
    for _ in range(1000):
        assert numbers.add(2, 2**63) == []
    assert numbers.add(1, 2**64) == [(1, 1), (2**63 + 1, 2**64)]
    assert numbers.through == 2**64
