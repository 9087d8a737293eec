"""Networks in virtual time: an event loop whose clock jumps, sockets on it, and gateways between its hosts."""
