"""The laboratory: networks that can be impaired on purpose."""
