"""Who is in the room, and what is kept for each of them."""
