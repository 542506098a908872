"""What all tests share."""

from hypothesis import settings

# The same examples on every computer and every day: a red test is a change's
# doing; and a busy computer is no error.  To look for new ones:
# pytest --hypothesis-profile=default
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
