"""Bounds on the number of regions of piecewise-linear networks, as exact numbers.

Every function returns a number that says what it is: `Kind` (whether no network has more, some network
has as many, or a random network has at most so many on average), what is counted, and the theorem.

- one layer: `zaslavsky`;
- upper bounds for every network: `raghu2017`, `montufar2017`, `serra2018_upper`, `hinz2019`;
- lower bounds on the maximum over weights: `pascanu2013`, `montufar2014`, `serra2018_lower`, `arora2018`;
- convolutions: `xiong2020`, `xiong2020_upper`, `xiong2020_lower`;
- maxout: `montufar2022_maxout_upper`, `montufar2022_maxout_lower`, `serra2018_maxout`,
  `montufar2014_maxout`;
- random networks: `hanin_rolnick2019`;
- side by side: `table`, `depth_chain`; of a given network: `of`.
"""

from netfold.theory.bounds._arora2018 import arora2018
from netfold.theory.bounds._bound import Bound, Expectation, Kind, Statement
from netfold.theory.bounds._depth_chain import DepthChain, depth_chain
from netfold.theory.bounds._hanin_rolnick2019 import Cube, hanin_rolnick2019
from netfold.theory.bounds._hinz2019 import HISTOGRAMS, Histogram, hinz2019
from netfold.theory.bounds._montufar2014 import montufar2014, montufar2014_maxout
from netfold.theory.bounds._montufar2017 import montufar2017
from netfold.theory.bounds._montufar2022 import montufar2022_maxout_lower, montufar2022_maxout_upper
from netfold.theory.bounds._of import NetworkBounds, of
from netfold.theory.bounds._pascanu2013 import pascanu2013
from netfold.theory.bounds._raghu2017 import Form, raghu2017
from netfold.theory.bounds._serra2018 import serra2018_lower, serra2018_maxout, serra2018_upper
from netfold.theory.bounds._shape import UNITS, Unit
from netfold.theory.bounds._table import BoundsTable, Row, table
from netfold.theory.bounds._xiong2020 import Conv, xiong2020, xiong2020_lower, xiong2020_upper
from netfold.theory.bounds._zaslavsky1975 import Arrangement, zaslavsky

__all__ = [
    "HISTOGRAMS",
    "UNITS",
    "Arrangement",
    "Bound",
    "BoundsTable",
    "Conv",
    "Cube",
    "DepthChain",
    "Expectation",
    "Form",
    "Histogram",
    "Kind",
    "NetworkBounds",
    "Row",
    "Statement",
    "Unit",
    "arora2018",
    "depth_chain",
    "hanin_rolnick2019",
    "hinz2019",
    "montufar2014",
    "montufar2014_maxout",
    "montufar2017",
    "montufar2022_maxout_lower",
    "montufar2022_maxout_upper",
    "of",
    "pascanu2013",
    "raghu2017",
    "serra2018_lower",
    "serra2018_maxout",
    "serra2018_upper",
    "table",
    "xiong2020",
    "xiong2020_lower",
    "xiong2020_upper",
    "zaslavsky",
]
