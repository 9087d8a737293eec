"""Rooms, presence and the brokering of sealed signals: the server and the client link."""
