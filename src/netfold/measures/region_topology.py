"""How regions, classes and the decision boundary hang together: Betti numbers of what they make up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import checked
from netfold.arrays import Ints
from netfold.capture import Model, Program
from netfold.capture.activations import Elementwise, Selection
from netfold.domains import Box, Domain
from netfold.errors import InvalidInputError
from netfold.exact.cells.choice import engine_for
from netfold.exact.cells.engine import all_cells
from netfold.exact.cells.network import CellNetwork
from netfold.exact.lp.rational import integer_row
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.matrices.forced import CONSTANT, ForcedRows, IntegerRow
from netfold.exact.matrices.skip import SkipForm
from netfold.exact.numerics.threads import beside, look
from netfold.exact.regions.polyhedra import FaceComplex
from netfold.measures.regions import BLOCK, require_cells
from netfold.paths import Plane, rectangle
from netfold.results.base import Record, Tabular, counted, measured
from netfold.results.provenance import provenance
from netfold.results.status import Certainty, Standing

if TYPE_CHECKING:
    import pandas as pd


TOPOLOGY_RULE = (
    "Betti numbers over the field of two elements, of closed sets: a class is the union of its regions with their "
    "borders, the boundary is where two classes meet, the borders are where two activation regions meet; of a domain "
    "without end, too, and then not of what one point at infinity would close. The class is the largest output, of "
    "equal ones the first, or whether a single output is above 0"
)


class RegionTopology(Tabular, Record):
    """Betti numbers: how many parts a set has, how many holes run through it, how many hollows it encloses, and so on.

    Example:
        >>> import torch, netfold as nf
        >>> ring = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        >>> corners = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]  # |x| + |y| from their sum
        >>> ring[0].weight.data, ring[0].bias.data = torch.tensor([*corners, [0.0, 0.0]]), torch.zeros(5)
        >>> ring[2].weight.data, ring[2].bias.data = torch.tensor([[1.0] * 4 + [0.0]]), torch.tensor([-1.0])
        >>> found = nf.region_topology(ring)  # above 0 outside of |x| + |y| <= 1
        >>> found.boundary, found.classes
        ((1, 1), {0: (1, 0), 1: (1, 1)})
    """

    sets: tuple[str, ...] = measured("what each row is about: boundary, borders, and every class that occurs", ("set",))
    betti: Ints = measured(
        "Betti numbers, from dimension 0 to one less than the inputs that are read; further ones are 0",
        ("set", "dimension"),
    )
    faces: Ints = measured("bounded faces by dimension: corners, edges, and so on", ("set", "face_dimension"))
    activation_regions: int = measured("the number of activation regions")
    pieces: int = measured("into how many convex pieces the boundary divides them, each of one class")
    tied: int = measured(
        "pieces on all of which the highest outputs tie, or a single output is 0: their class is a matter of the rule"
    )
    uncertain: int = measured(
        "ties closer than the digits taken of square roots, and 1 more where numbers are so large or small that "
        "regions may be wrong, or their faces do not fit together; 0 where all is exact",
        default=0,
    )
    counting_rule: str = measured("what the sets are", default=TOPOLOGY_RULE)
    provenance: dict[str, Any] = measured(
        "model, versions, number type, time", default_factory=dict, compare=False, repr=False
    )

    @property
    def boundary(self) -> tuple[int, ...]:
        """Betti numbers of the decision boundary; zeros where there is one class."""
        return self._of("boundary")

    @property
    def borders(self) -> tuple[int, ...]:
        """Betti numbers of the borders of all activation regions together, without the walls of the domain."""
        return self._of("borders")

    @property
    def classes(self) -> dict[int, tuple[int, ...]]:
        """Betti numbers of every class that occurs."""
        return {int(name.split()[1]): self._of(name) for name in self.sets if name.startswith("class")}

    @property
    def euler(self) -> Ints:
        """Euler's number of every set: the Betti numbers, and the faces as well, added with changing signs."""
        return (self.betti * (-1) ** np.arange(self.betti.shape[1])).sum(1)

    @property
    def status(self) -> Standing:
        """``exact``, or what the numbers rest on; ties of outputs on whole regions are said."""
        if self.uncertain:
            return Certainty.ROOTS.text(
                " ties closer than the digits taken of square roots, or numbers that may underflow"
            )
        return Certainty.EXACT.text(f"; classes tie on {counted(self.tied, 'piece')}" if self.tied else "")

    def to_dataframe(self) -> pd.DataFrame:
        """One row a set: its Betti numbers, Euler's number and its bounded faces."""
        import pandas as pd

        betti = {f"betti_{k}": column for k, column in enumerate(self.betti.T)}
        faces = {f"faces_{k}": column for k, column in enumerate(self.faces.T)}
        return pd.DataFrame({"set": list(self.sets), **betti, "euler": self.euler, **faces})

    def _of(self, name: str) -> tuple[int, ...]:
        return tuple(self.betti[self.sets.index(name)].tolist())

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {self._of(name)}" for name in self.sets if name != "borders")
        return f"<{counted(self.activation_regions, 'activation region')}; Betti numbers: {told} ({self.status})>"


@checked
def region_topology(
    model: Model,
    domain: Domain | Plane = None,
    bounds: tuple[float, float, float, float] | None = None,
    *,
    shape: Sequence[int] | None = None,
) -> RegionTopology:
    """Find the Betti numbers of the decision boundary, of every class and of the borders of all activation regions.

    In the plane the boundary's are its parts and its closed curves, a class's its parts and its holes; in space there
    are hollows too. All faces of the regions, cut by class, are found with their corners in integers, each class and
    state having been certified before; ranks of their boundary matrices over GF(2) give the numbers. So they hold
    for the stored weights, also where many hyperplanes meet in one point. Work and memory grow with the faces, of which
    a region has some dozens in three dimensions and hundreds in five: this is for thousands of regions.

    Without a bounded domain sets are taken as they are, however far they reach: all of them can be drawn together into
    their bounded faces. This needs a corner on every region; without one a bounded domain is asked for.

    Args:
        model: a piecewise-linear module in evaluation mode, or a captured program.
        domain: ``None`` for all of R^m, a `Box`, a `Polytope`, or a `Plane`.
        bounds: the rectangle of a plane (a from, a to, b from, b to); the plane's own by default.
        shape: the shape of one input; needed where neither the domain nor the first layer tells it.

    Returns:
        The Betti numbers.

    Raises:
        InvalidInputError: the domain is of another kind or does not fit the model, or a region has no corner.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=3, width=6, depth=2, outputs=2, sigma_b=1.0, seed=5)
        >>> found = nf.region_topology(net)
        >>> found.boundary, found.classes  # class 1 has a hollow, in which class 0 is, and a tunnel
        ((2, 2, 1), {0: (2, 1, 0), 1: (1, 1, 1)})
    """
    from netfold.measures.counts import program_on

    if not isinstance(domain, Plane):
        require_cells(domain, "Betti numbers are found")
        if bounds is not None:
            raise InvalidInputError("bounds belong to a Plane; for a box give nf.Box(low, high) as the domain")
        program = program_on(model, domain, shape)
    elif shape is not None:
        raise InvalidInputError("a plane tells the shape of the input: leave shape out")
    else:
        program = program_on(model, None, domain.shape)
    return _found(program, domain, bounds)


@beside
def _found(
    program: Program, domain: Domain | Plane, bounds: tuple[float, float, float, float] | None
) -> RegionTopology:
    form = SkipForm.of(ExplicitProgram.of(program)).classified()
    shape = program.input_shape
    if isinstance(domain, Plane):
        left, right, bottom, top = rectangle(bounds or domain.bounds)
        form = form.along(domain.origin.reshape(-1), np.stack([domain.u.reshape(-1), domain.v.reshape(-1)]))
        shape, domain = (2,), Box(np.array([left, bottom]), np.array([right, top]))
    network = CellNetwork.within(form, shape, domain)
    made, classes, patterns, tied, uncertain = FaceComplex(network.arrays.m), [], [], 0, int(network.extreme)
    walls, forced = [integer_row(wall) for wall in network.walls.tolist()], network.forced_rows()
    for outcome in all_cells(engine_for(network), BLOCK):
        assert outcome.cells is not None
        uncertain += outcome.uncertain
        for states in outcome.cells.states.astype(np.int64):
            look()
            sides = list(_sides(forced, states))
            rows = {tuple(forced.dense(row)): None for _, row in sides if row.numbers.keys() - {CONSTANT}}
            made.add([*walls, *map(list, rows)], len(walls))
            tied += any(u == network.units - 1 and not row.numbers for u, row in sides)
            classes.append(int(states[-1]))
            patterns.append(states[:-1].tobytes())
    uncertain += not made.whole()
    sets = {
        "boundary": lambda own: len({classes[i] for i in own}) > 1,
        "borders": lambda own: len({patterns[i] for i in own}) > 1,
        **{f"class {c}": lambda own, c=c: any(classes[i] == c for i in own) for c in sorted(set(classes))},
    }
    numbers = [made.betti(chosen) for chosen in sets.values()]
    return RegionTopology(
        sets=tuple(sets),
        betti=np.array([betti[: max(made.m, 1)] for betti, _ in numbers], np.int64),
        faces=np.array([faces for _, faces in numbers], np.int64),
        activation_regions=len(set(patterns)),
        pieces=made.count,
        tied=tied,
        uncertain=uncertain,
        provenance=provenance(program),
    )


def _sides(forced: ForcedRows, states: NDArray[np.int64]) -> Iterator[tuple[int, IntegerRow]]:
    """For every unit and every state next to its own what is positive on the side of its own, exactly."""
    for u, state in enumerate(states.tolist()):
        layer = forced.layer_of(u)
        rule = forced.layers[layer].rule
        if isinstance(rule, Selection):
            rivals = np.flatnonzero(rule.candidates[u - forced.first[layer]] >= 0).tolist()
        else:
            assert isinstance(rule, Elementwise)
            rivals = range(max(0, state - 1), min(state + 1, rule.knots.shape[1]) + 1)
        yield from ((u, forced.between(states, u, rival)) for rival in rivals if rival != state)
