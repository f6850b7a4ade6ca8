"""One profile for all property tests: the same examples every time, and no failure because a machine is busy."""

from hypothesis import settings

# `--hypothesis-profile=explore` looks for new examples instead.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("steady")
