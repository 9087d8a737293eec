"""`rtcmesh bench signaling`, `flood` and `signaling-promises`: what a server takes, beside another library."""
