"""What one connection, one address and one room may ask of a server."""
