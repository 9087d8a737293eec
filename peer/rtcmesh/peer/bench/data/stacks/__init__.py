"""The stacks that run in Python, each with a function `make` that returns a `Stack`. A missing one is no contender."""
