"""Scenarios: a network, the programs on it, what happens to it, and what is expected of all that."""
