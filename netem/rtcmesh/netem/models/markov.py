"""A chain of states, each of which loses packets with a probability of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LossChain:
    """A Markov chain that takes one step with each packet. It must reach one of its states from all others."""

    steps: tuple[tuple[float, ...], ...]
    """The probability of each state to follow, by the present one."""
    loss: tuple[float, ...]
    """With which probability a packet is lost in each state."""

    def shares(self) -> tuple[float, ...]:
        """Return the share of packets that find each state, in the long run."""
        count = len(self.loss)
        # The solution of s P = s with a sum of 1 is that of s (I - P + ones) = ones.
        rows = [[(i == j) - self.steps[j][i] + 1.0 for j in range(count)] for i in range(count)]
        return tuple(_solve(rows, [1.0] * count))

    def mean(self) -> float:
        """Return the share of packets that are lost, in the long run."""
        return sum(share * loss for share, loss in zip(self.shares(), self.loss, strict=True))

    def variance(self) -> float:
        """Return n times the variance of the loss that n packets see, for large n.

        It is mean * (1 - mean) where losses are independent, and several times that where they come in bursts.
        """
        shares, mean, count = self.shares(), self.mean(), len(self.loss)
        # The sum over all lags of what a state says about the losses to come: (I - P + shares) x = loss - mean.
        rows = [[(i == j) - self.steps[i][j] + shares[j] for j in range(count)] for i in range(count)]
        told = _solve(rows, [loss - mean for loss in self.loss])
        later = sum(
            share * loss * (sum(step * value for step, value in zip(row, told, strict=True)))
            for share, loss, row in zip(shares, self.loss, self.steps, strict=True)
        )
        return mean * (1 - mean) + 2 * later


def _solve(rows: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve a small system of linear equations by elimination, with the largest pivot of each column."""
    table = [[*row, value] for row, value in zip(rows, right, strict=True)]
    for column in range(len(table)):
        pivot = max(range(column, len(table)), key=lambda row: abs(table[row][column]))
        if math.isclose(table[pivot][column], 0, abs_tol=1e-300):
            raise ValueError("a state of the chain can never be left")
        table[column], table[pivot] = table[pivot], table[column]
        for row in range(len(table)):
            if row != column:
                factor = table[row][column] / table[column][column]
                table[row] = [a - factor * b for a, b in zip(table[row], table[column], strict=True)]
    return [row[-1] / row[index] for index, row in enumerate(table)]
