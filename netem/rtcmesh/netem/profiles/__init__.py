"""Networks that people use, with where each of their numbers comes from."""

from .description import Figure, LossScope, Profile
from .library import NoSuchProfile, profile, profile_names, profiles_in

__all__ = ["Figure", "LossScope", "NoSuchProfile", "Profile", "profile", "profile_names", "profiles_in"]
