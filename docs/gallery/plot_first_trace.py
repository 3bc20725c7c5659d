"""A walk between two digits
=========================

A network trained on scikit-learn's digits, and the straight line from one test image to another.

::

    python docs/gallery/plot_first_trace.py

Each mark is a breakpoint, where a unit of that layer switches its state; counts are exact, in float64.
"""

import netfold as nf
from netfold.training.digits import load_digits, train

# %%
# The network that ``netfold report`` trains: ReLU, seed 0, about ten seconds on one core.
digits = load_digits(0)
trained = train(digits, seed=0)

# %%
# One line between two test images. A trace holds counts, lengths and breakpoints, layer by layer.
trace = nf.trace_path(trained.net, nf.Line(digits.test[0], digits.test[1]))
print(repr(trace))
trace.to_dataframe().round(3)

# %%
# The same as a picture.
trace.plot()

# %%
# A hundred lines as one batch of work, with the mean and its 95% interval.
pairs = [nf.Line(a, b) for a, b in zip(digits.test[:100], digits.test[100:200], strict=True)]
nf.trace_paths(trained.net, pairs).summary().round(2)
