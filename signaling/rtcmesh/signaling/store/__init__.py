"""Rooms in Redis or Valkey, shared by all servers of a fleet."""
