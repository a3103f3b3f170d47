"""What all tests share."""

from hypothesis import settings

# A machine that pauses is no failure: time is measured in benchmarks/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
