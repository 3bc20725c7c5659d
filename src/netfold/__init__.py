"""netfold: measure how expressive a neural network is.

A network folds its input space. netfold sweeps a path through a PyTorch model and measures, exactly where the
model is piecewise linear, the activation regions the path crosses, the transitions of every layer and the length
of the path's image layer by layer (Raghu et al., "On the Expressive Power of Deep Neural Networks", ICML 2017).
"""

from importlib.metadata import version

import lazy_loader

# Public names are listed once, in __init__.pyi, and imported when first asked for: a measurement loads what it takes.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("netfold")
