"""The ways that lead to a peer: attempts at them, their liveness, and which one is in use."""
