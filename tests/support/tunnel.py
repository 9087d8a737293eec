"""A scenario for many tests: a client asks a server again and again; what happens to it is added."""

TUNNEL = """
title = "A tunnel"
duration = 20
[hosts.ann]
both = { delay = 0.02 }
[hosts.bob]
[programs.server]
host = "bob"
run = "pingers:serve"
background = true
[programs.client]
host = "ann"
run = "pingers:ask"
arguments = ["{bob}", "100"]
after = ["server"]
[[expect]]
that = "silence"
program = "client"
at_most = 3.0
[[expect]]
that = "exits"
program = "client"
"""
