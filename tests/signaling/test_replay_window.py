import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.sealing import ReplayWindow

LAST = 2**64 - 1


def receive(window: ReplayWindow, counter: int) -> bool:
    if not window.is_new(counter):
        return False
    window.mark(counter)
    return True


@given(
    st.sampled_from([1, 2, 7, 64]),
    st.integers(0, LAST - 400),
    st.lists(st.integers(0, 200) | st.integers(0, 400) | st.just(LAST)),
)
def test_a_counter_is_new_if_it_is_in_the_window_and_not_in_the_set(
    width: int, base: int, steps: list[int]
) -> None:
    window = ReplayWindow(width)
    marked: set[int] = set()
    for step in steps:
        counter = min(base + step, LAST)
        expected = counter not in marked and counter > max(marked, default=-1) - width
        assert window.is_new(counter) is expected
        assert receive(window, counter) is expected
        if expected:
            marked.add(counter)


def test_the_window_is_1024_wide() -> None:
    window = ReplayWindow()
    assert receive(window, 1023)
    assert window.is_new(0)
    assert receive(window, 1024)
    assert not window.is_new(0)
    assert all(receive(window, counter) for counter in range(1, 1023))


def test_asking_does_not_mark() -> None:
    window = ReplayWindow()
    assert window.is_new(5)
    assert window.is_new(5)


@pytest.mark.parametrize("leap", [1023, 1024, 2**32, LAST])
def test_a_leap_costs_no_memory(leap: int) -> None:
    window = ReplayWindow()
    assert receive(window, 0)
    assert receive(window, leap)
    assert not window.is_new(0)
    assert not window.is_new(leap)
    assert window.is_new(leap - 1)
    assert window._bitmap.bit_length() <= 1024
