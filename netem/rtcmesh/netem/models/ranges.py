"""The ranges that numbers of a configuration must keep to. Each check names the field, so that a reader finds it."""

import math


def check_probabilities(**values: float) -> None:
    """Raise ValueError for one that is not within 0 and 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:  # NaN as well
            raise ValueError(f"{name} is a probability, from 0 to 1, not {value}")


def check_not_negative(**values: float | None) -> None:
    """Raise ValueError for one that is negative, infinite or not a number; None passes."""
    for name, value in values.items():
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative, not {value}")


def check_positive(**values: float | None) -> None:
    """Raise ValueError for one that is not positive and finite; None passes."""
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and positive, not {value}")
