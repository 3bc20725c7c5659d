"""Test workers share the cores: one thread each, except where a test asks for more.

Random networks are the same in every run, so that a change is judged by itself. To look for new ones:
``pytest --hypothesis-profile=explore``.
"""

import torch
from hypothesis import settings

torch.set_num_threads(1)

pytest_plugins = ["tests.reports"]

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")
