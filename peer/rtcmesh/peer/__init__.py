"""The peer library: a mesh of WebRTC data channels."""
