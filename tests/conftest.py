"""Test workers share the cores: one thread each, except where a test asks for more."""

import torch

torch.set_num_threads(1)

collect_ignore = [
    # unfinished: not yet seen to pass as a whole
    "exact/test_arc.py",
    "exact/test_certify.py",
    "exact/test_rational.py",
    "exact/test_rounding.py",
    "theory/test_architecture.py",
    "theory/test_of.py",
]
