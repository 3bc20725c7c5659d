"""Test workers share the cores: one thread each, except where a test asks for more.

Random networks are the same in every run, so that a change is judged by itself. To look for new ones:
``pytest --hypothesis-profile=explore``.

A shell that starts the tests in the background leaves them without SIGINT, which tests of interrupts send.
"""

import signal

import torch
from hypothesis import settings

torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.reports"]

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")
