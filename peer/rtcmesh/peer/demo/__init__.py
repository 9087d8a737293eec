"""`rtcmesh demo`: a server and peers as processes that talk, while paths are cut and the server is killed.

run        the whole: starts, cuts, kills, heals, waits
worker     one process: the server, or a peer
protocol   what the two tell each other
faults     direct paths that can be cut
verdict    whether everything came, and every path did what it should
screen     the live table and the result
"""
