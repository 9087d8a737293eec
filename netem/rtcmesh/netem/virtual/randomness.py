"""Makes the randomness of a program repeatable."""

import contextlib
import os
import random
from collections.abc import Generator


@contextlib.contextmanager
def replaced(owner: object, **attributes: object) -> Generator[None]:
    """Give attributes of an object other values for a while."""
    with contextlib.ExitStack() as stack:
        for name, value in attributes.items():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


@contextlib.contextmanager
def seed_randomness(seed: int) -> Generator[None]:
    """Derive all randomness of Python from a seed: `random`, `os.urandom`, and with it `secrets` and `uuid`.

    What OpenSSL draws by itself stays random: keys, nonces, and with them the lengths of ECDSA signatures. Never use it
    where secrets matter. On exit the state of `random` is what it was before.
    """
    state = random.getstate()
    source = random.Random(seed)
    try:
        random.seed(seed)
        with replaced(os, urandom=source.randbytes), replaced(random, _urandom=source.randbytes):
            yield
    finally:
        random.setstate(state)
