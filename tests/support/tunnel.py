"""A scenario for many tests: a client asks a server ten times a second; what happens and what is expected is added."""


def tunnel(
    duration: int,
    pings: int,
    *,
    seed: int = 0,
    nat: str = "",
    module: str = "support.pingers",
    ask: str = "ask",
    server: str = "{bob}",
) -> str:
    """Return the file: ann asks bob, behind a NAT where one is named, and `pingers` is found under this name."""
    gateway, behind = (f'[gateways.home]\nnat = "{nat}"', 'behind = "home"') if nat else ("", "")
    return f"""
title = "A tunnel"
duration = {duration}
seed = {seed}
{gateway}
[hosts.ann]
{behind}
both = {{ delay = 0.02 }}
[hosts.bob]
[programs.server]
host = "bob"
run = "{module}:serve"
background = true
[programs.client]
host = "ann"
run = "{module}:{ask}"
arguments = ["{server}", "{pings}"]
after = ["server"]
"""


IN_A_FOLDER = (
    tunnel(20, 100, module="pingers")
    + """
[[expect]]
that = "silence"
program = "client"
at_most = 3.0
[[expect]]
that = "exits"
program = "client"
"""
)
"""For a folder of its own, with `pingers` in it."""
