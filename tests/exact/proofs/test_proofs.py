"""Proofs of counts: accepted with the number that the engines count, whatever the network; refused where forged."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.errors import CorruptFileError, InvalidInputError
from netfold.exact.cells.network import CellNetwork
from netfold.exact.proofs import cells, check_regions, writing
from netfold.exact.proofs.proposing import Proposed
from netfold.exact.proofs.statement import CountStatement
from netfold.exact.proofs.writing import write_proof
from tests import models
from tests.exact.cells import networks
from tests.stress.forging import attacked

CHECKER = Path(check_regions.__file__)


def alone(statement: Path, proof: Path) -> tuple[int, str]:
    """The checker's own verdict, in a Python that knows nothing else."""
    ended = subprocess.run([sys.executable, "-I", "-S", CHECKER, statement, proof], capture_output=True, text=True)
    return ended.returncode, ended.stdout.strip()


def carried(model: nn.Module, folder: Path, domain: Any = None, **options: Any) -> int:
    """A count whose proof is accepted with that number."""
    proof = folder / "count.nfp.gz"
    count = nf.count_regions(model, domain, proof=proof, progress=False, **options)
    accepted, words = nf.check_proof(folder / "count.statement.json", proof)
    assert accepted, words
    assert words == f"accepted: exactly {int(count)} activation regions"
    return int(count)


@pytest.mark.parametrize("name", ["T1", "T2", "T3", "D1", "D2", "D3", "D4", "D5", "M1"])
def test_known_counts(name, tmp_path):
    """A proof of a case with a known count is accepted, also by the checker where it stands alone."""
    layers = networks.case(name)
    assert carried(networks.module(layers), tmp_path) == networks.COUNTS[name]
    status, words = alone(tmp_path / "count.statement.json", tmp_path / "count.nfp.gz")
    assert (status, words) == (0, f"accepted: exactly {networks.COUNTS[name]} activation regions")


@pytest.mark.parametrize("name", ["T1", "T3", "D3", "D5"])
def test_known_counts_in_the_box(name, tmp_path):
    layers = networks.case(name)
    assert carried(networks.module(layers), tmp_path, nf.Box(-10.0, 10.0)) == networks.IN_BOX[name]


def domains(m: int, rng: np.random.Generator) -> list[Any]:
    low = np.where(rng.random(m) < 0.5, -np.inf, -1.0)
    simplex = nf.Polytope([*(-np.eye(m)).tolist(), [1.0] * m], [0.0] * m + [1.0])
    flat = nf.Polytope([[1.0] * m, [-1.0] * m], [0.5, -0.5])
    return [None, None, nf.Box([-1.0] * m, [1.0] * m), nf.Box(low, np.full(m, 2.0)), simplex, flat]


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed, tmp_path):
    """Degenerate or not, on every kind of domain: the proof holds what the engine counts (nothing, if it is flat)."""
    rng = np.random.default_rng(seed)
    m, widths = int(rng.integers(1, 5)), [int(rng.integers(1, 5)) for _ in range(rng.integers(1, 4))]
    flaws = [networks.FLAWS[i] for i in rng.integers(len(networks.FLAWS), size=rng.integers(0, 4))]
    layers = networks.random_layers(rng, m, widths, integers=bool(seed % 2), flaws=flaws)
    choice = domains(m, rng)
    carried(networks.module(layers), tmp_path, choice[seed % len(choice)], shape=(m,), threads=1 + seed % 2)


@pytest.mark.parametrize("family", range(4))
def test_every_kind_of_model(family, tmp_path):
    """Residual connections, branches, convolutions with batch normalisation and pooling, units of every kind."""
    model, shape = models.random_model(family, family)
    if family == 3:
        model = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 1, 2), nn.ReLU(), nn.MaxPool2d((1, 2))).double()
        carried(model.eval(), tmp_path, nf.Box(-1.0, 1.0), shape=(6,))
        return
    carried(model, tmp_path, nf.Box(-1.0, 1.0), shape=shape)


def test_units_of_several_kinds_and_a_smallest(tmp_path):
    """A layer whose units have different pieces becomes several layers; the smallest is the largest of the opposites."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.second = nn.Linear(2, 4), nn.PReLU(4), nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.act(self.first(x))
            return self.second(torch.minimum(h[:, :2], h[:, 2:])).abs()

    net = Net().double().eval()
    with torch.no_grad():
        net.act.weight.copy_(torch.tensor([0.1, 0.25, 0.1, -0.5]))
    assert carried(net, tmp_path, shape=(2,)) > 4


def test_batch_norm_is_folded_and_said_to_be(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU()).double().eval()
    net[1].running_var.mul_(3)
    count = nf.count_regions(net, proof=tmp_path / "a.nfp", progress=False)
    assert "folded" in count.counting_rule
    assert nf.check_proof(tmp_path / "a.statement.json", tmp_path / "a.nfp")[0]


def test_lines_and_planes(tmp_path):
    """A line or a plane is a layer in front; the counts are those of tracing and of cutting polygons."""
    net = networks.module(networks.case("M2"))
    a, b, c = np.random.default_rng(0).normal(size=(3, 6)) * 3
    assert carried(net, tmp_path, nf.Line(a, b)) == nf.trace_path(net, nf.Line(a, b)).regions
    plane = nf.Plane(a, b, c)
    assert (
        carried(net, tmp_path, plane, bounds=(-1, 1, -2, 1)) == nf.partition_plane(net, plane, (-1, 1, -2, 1)).regions
    )
    with pytest.raises(InvalidInputError, match="not for a Arc"):
        nf.count_regions(net, nf.Arc(a, b), proof=tmp_path / "x.nfp")


def test_networks_without_units(tmp_path):
    """An affine network, and one that reads nothing, have one region."""
    assert carried(nn.Linear(3, 2).double(), tmp_path) == 1
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).double()
    nn.init.zeros_(net[0].weight)
    assert carried(net, tmp_path) == 1


def test_rational_arithmetic_completes_what_float64_leaves_open(monkeypatch, tmp_path):
    """Whatever float64 proposes, nothing or nonsense, the proof is right."""

    def nonsense(block, functions, start):
        near, signs = np.ones((len(functions), block.m + 1)), np.full((1, len(block.cuts)), 3)
        return Proposed(near, [([0, 1], [0.0] * 3)], signs, [([0], 1)], True)

    layers = networks.case("T2")
    monkeypatch.setattr(cells, "propose", nonsense)
    assert carried(networks.module(layers), tmp_path) == networks.COUNTS["T2"]


def test_a_stopped_proof_goes_on(monkeypatch, tmp_path):
    """What was written before a stop is not done again, a torn end is cut off, and the proof is the same."""
    statement = CountStatement.of(CellNetwork.of(nf.capture(networks.module(networks.case("T3")), shape=(2,))))
    whole, torn = tmp_path / "whole.nfp", tmp_path / "torn.nfp"
    write_proof(statement, whole)
    done: list[int] = []

    def stopping(cell, layers, lines):
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(1)
        return cells.below(cell, layers, lines)

    monkeypatch.setattr(writing, "below", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_proof(statement, torn)
    assert not torn.exists()
    parts = tmp_path / "torn.nfp.parts"
    parts.write_bytes(parts.read_bytes()[:-5])
    redone: list[int] = []
    monkeypatch.setattr(writing, "below", lambda *a: redone.append(1) or cells.below(*a))
    assert write_proof(statement, torn) == networks.COUNTS["T3"]
    assert 0 < len(redone) == whole.read_text().count("=") - 8
    assert torn.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_foreign_parts_are_left_alone(tmp_path):
    statement = CountStatement.of(CellNetwork.of(nf.capture(networks.module(networks.case("T1")), shape=(2,))))
    (tmp_path / "a.nfp.parts").write_text("a letter")
    with pytest.raises(CorruptFileError, match="no parts of a proof"):
        write_proof(statement, tmp_path / "a.nfp")
    (tmp_path / "a.nfp.parts").write_text("netfold-proof parts 1 of-something-else\n")
    with pytest.raises(InvalidInputError, match="another proof"):
        write_proof(statement, tmp_path / "a.nfp")
    assert (tmp_path / "a.nfp.parts").read_text() == "netfold-proof parts 1 of-something-else\n"


def test_damaged_proofs(tmp_path):
    """No damage makes a proof of a false count, not even for a checker that believes every count in it."""
    ends = attacked(tmp_path, seed=0, mutations=320)
    assert ends["false"] == ends["believed false"] == 0
    assert ends["refused"] > 200
    assert ends["true"] > 0  # the damage is small enough to matter


LAYER = {
    "from": [0],
    "weight": [[1], [1]],
    "bias": [0, -1],
    "units": {"knots": [0], "slopes": [0, 1], "offsets": [0, 0]},
}
PLAIN = {"format": "netfold-statement 1", "inputs": 1, "layers": [LAYER], "domain": []}


def refused(text: str | bytes, statement: Any = PLAIN, claim: str = "3") -> str:
    """Why a forgery is refused, and that it is so at once."""
    data = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    began = time.monotonic()
    head = f"netfold-proof 1 {hashlib.sha256(data).hexdigest()} {claim}\n"
    with pytest.raises(
        (check_regions.Refused, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
    ) as e:
        check_regions.check(data, iter([head, *str(text).splitlines(keepends=True)]))
    assert time.monotonic() - began < 20
    return str(e.value)


def test_the_rules_by_hand():
    """A proof written by hand: two stars, one lemma; and the forgeries next to it."""
    data = json.dumps(PLAIN).encode()
    head = f"netfold-proof 1 {hashlib.sha256(data).hexdigest()} 3\n"
    assert check_regions.check(data, iter([head, "0;0:0,0;;\n", "1;1 2;;3\n"])) == 3
    assert "neither shown nor excluded" in refused("0;0:0,0;;\n1;1;;3\n")  # the star at 1 is missing
    assert "neither shown nor excluded" in refused("0;0:0,0;;\n1;1 2;;\n")  # the lemma is missing
    assert "nothing that is new" in refused("0;0:0,0;;\n1;1 2 0:0,5;;3\n")  # the third star shows nothing new
    assert "what it does not name" in refused("0;0:0,0;;\n1;0:0,1 2;;3\n")  # a point on a cut
    assert "what is not there, or too much" in refused("0;0:0,0;;\n1;3;;3\n")  # more functions than inputs
    assert "one combination" in refused("0;0:0,0;;\n1;1 2;;1\n")
    assert "goes on" in refused("0;0:0,0;;\n1;1 2;;3\n1;;;\n")
    assert "claimed" in refused("0;0:0,0;;\n1;1 2;;3\n", claim="4")
    assert "whether the domain" in refused("0;;;\n1;1 2;;3\n")
    assert "what is not there" in refused("0;0:0,0;;\n1;1 2;;7\n")
    assert "a line about layer 1" in refused("0;0:0,0;;\n2;1 2;;3\n")


@pytest.mark.parametrize(
    "text",
    [
        "0;0:0,0;;\n1;" + "f" * 10**6 + ";;\n",
        "0;0:99999,1;;\n",
        "0;0:0," + "9" * 10**6 + ";;\n",
        "0;0:0,0;;\n1;1 2;;" + "3 " * 10**6 + "\n",
        "0;0:0,0;;\n1;1 2;;3\n" + "x\n" * 10**5,
        "0;0:0,0;1;\n",
        "0;-1:0,0;;\n",
        "0;;;\n" * 1000,
        "",
        ";" * 10**5,
    ],
)
def test_hostile_proofs_cost_little(text):
    """Huge numbers, sets and repetitions are refused at once."""
    refused(text)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "netfold-statement 2"},
        {"inputs": 10**9},
        {"inputs": True},
        {"layers": []},
        {"layers": [LAYER] * 300},
        {"more": 1},
        {"domain": [[1, float("nan")]]},
        {"domain": [[1, "1e99999999"]]},
        {"domain": [[1, True]]},
        {"domain": [[1]]},
        {"layers": [{**LAYER, "from": [1]}]},
        {"layers": [{**LAYER, "bias": [0]}]},
        {"layers": [{**LAYER, "units": {"max": [[0, 2]]}}]},
        {"layers": [{**LAYER, "units": {"max": [[]]}}]},
        {"layers": [{**LAYER, "units": {"knots": [1, 0], "slopes": [0, 1, 2], "offsets": [0, 0, 0]}}]},
        {"layers": [{**LAYER, "units": {"knots": [0], "slopes": [0, 1], "offsets": [0, 1]}}]},
    ],
)
def test_hostile_statements(change):
    refused("0;0:0,0;;\n1;1 2;;3\n", {**PLAIN, **change})


def test_lines_that_are_not_there(tmp_path):
    """A cell of the first layer is refused that says it has more lines than there are, the last one too."""
    carried(networks.module(networks.case("T1")), tmp_path, shape=(2,))
    data = (tmp_path / "count.statement.json").read_bytes()
    lines = gzip.decompress((tmp_path / "count.nfp.gz").read_bytes()).decode().splitlines(keepends=True)
    at = max(i for i, line in enumerate(lines) if line.startswith("="))
    _, regions, size = lines[at].split()
    lines[at] = f"= {regions} {int(size) + 1}\n"
    with pytest.raises(check_regions.Refused, match="other lines"):
        check_regions.check(data, iter(lines))


@pytest.mark.parametrize("data", [b"[" * 10**5, b'{"format": 1, "format": 2}', b"\xff", b""])
def test_statements_that_are_none(data):
    with pytest.raises((check_regions.Refused, ValueError, RecursionError)):
        check_regions.read_statement(data)


def test_many_cells_from_one_star():
    """A claim of 2^40 regions by one star takes no memory: the checker holds a bounded number of cells."""
    n = 40
    unit = {"knots": [0], "slopes": [0, 1], "offsets": [0, 0]}
    layer = {"from": [0], "weight": np.eye(n, dtype=int).tolist(), "bias": [0] * n, "units": unit}
    statement = {**PLAIN, "inputs": n, "layers": [layer]}
    star = f"0;0:0,{','.join('0' * n)};;\n1;{(1 << n) - 1:x};;\n"
    assert "too many cells" in refused(star, statement, str(1 << n))


def test_exit_codes_of_the_checker(tmp_path):
    """0 accepted, 1 refused, 2 not checked; damaged and packed files among them."""
    data = json.dumps(PLAIN).encode()
    good = f"netfold-proof 1 {hashlib.sha256(data).hexdigest()} 3\n0;0:0,0;;\n1;1 2;;3\n"
    statement, proof = tmp_path / "s.json", tmp_path / "p"
    statement.write_bytes(data)
    proof.write_bytes(gzip.compress(good.encode()))
    assert alone(statement, proof)[0] == 0
    proof.write_bytes(gzip.compress(good.encode())[:-12])
    assert alone(statement, proof)[0] == 1
    proof.write_bytes(gzip.compress(b"0" * 2**26, 9))
    assert alone(statement, proof) == (1, "refused: a line is too long")
    assert alone(statement, tmp_path / "nothing")[0] == 2
    statement.write_bytes(data + b" ")
    proof.write_text(good)
    assert alone(statement, proof) == (1, "refused: the proof is about another statement")


def test_the_checker_stands_alone():
    """One file, the standard library, at most 300 lines that are not empty, no float in it but in what it reads."""
    text = CHECKER.read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 300
    assert "netfold." not in text
    named = {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert named <= sys.stdlib_module_names
    assert not any(word in text for word in ("float(", "math.sqrt", " / ", "random"))


def test_the_documented_digest():
    """The page about proofs names the digest of the checker that is shipped."""
    page = (Path(__file__).parents[3] / "docs" / "proofs.md").read_text()
    assert hashlib.sha256(CHECKER.read_bytes()).hexdigest() in page
