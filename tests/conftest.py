"""No test asserts a time, so hypothesis is not to do it either: machines differ."""

from hypothesis import settings

settings.register_profile("canary-trio", deadline=None)
settings.load_profile("canary-trio")
