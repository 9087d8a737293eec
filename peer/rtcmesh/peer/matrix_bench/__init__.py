"""`rtcmesh bench matrix`: how two peers reach each other, whatever each of them is behind.

words.py      what the ends are told, and what they tell
behind.py     what a peer can be behind, and the network with two of each
end.py        a process on a host: one peer in every room that it is told to join
servers.py    a process on the internet: our signaling server with its relay
run.py        makes the network, lets every pair meet, then has gateways forget their mappings
results.py    what came of it, as tables
"""
