"""Experiments on trained networks: verdicts turn where the numbers turn, and every experiment runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats
from torch import nn

import netfold as nf
from netfold.errors import CorruptFileError
from netfold.exact.numerics import compiling
from netfold.plots.themes import DARK, LIGHT
from netfold.reproduce import batch_norm, dichotomies, harness, noise, regularization, single_layer, trained, training
from netfold.reproduce.data import Images, digits
from netfold.reproduce.figure import WIDTH, Experiment, Made, Settings, Verdict
from netfold.reproduce.statistics import Mean, geometric

HELD, PARTLY, FAILED, OPEN = Verdict.HELD, Verdict.PARTLY, Verdict.FAILED, Verdict.OPEN

SEEDS = np.array([-0.01, 0.0, 0.005, 0.01, -0.005])
"""What five seeds differ by in made-up numbers."""


@pytest.fixture
def tiny(tmp_path: Path) -> Settings:
    """Quick settings on a few digits."""
    whole = digits()
    images = Images(
        "digits", whole.train[:192], whole.train_labels[:192], whole.test[:60], whole.test_labels[:60], whole.source
    )
    return Settings(quick=True, data=images, seed=3, folder=tmp_path)


# Statistics and kept cells


def test_interval_of_a_mean_is_students() -> None:
    """The interval is that of scipy's t distribution, and one seed has none that lies above anything."""
    values = np.array([0.3, 0.9, 0.4, 0.7])
    found = Mean.of(values)
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.above(low - 1e-9)
    assert not found.above(low + 1e-9)
    assert not Mean.of([5.0]).above(0)
    assert not Mean.of([1.0, 1.1, np.nan]).above(0)
    assert not Mean.of([-1.0, -1.1, -np.inf]).below(0)


def test_geometric_means_leave_zeros_out() -> None:
    """sqrt(2 * 8) = 4, with its arms around it; a 0 has no place on a logarithmic axis."""
    mean, bars = geometric(np.array([[2.0, 0.0], [8.0, 1.0]]))
    assert mean[0] == pytest.approx(4)
    half = stats.t.ppf(0.975, 1) * np.std(np.log([2, 8]), ddof=1) / 2**0.5
    assert bars[:, 0] == pytest.approx([4 - 4 * np.exp(-half), 4 * np.exp(half) - 4])
    assert np.isnan(mean[1])


def _square(settings: Settings, cell: harness.Cell) -> xr.Dataset:
    calls.append(dict(cell))
    if cell["x"] == 3 and len(calls) < 4:
        raise KeyboardInterrupt
    return xr.Dataset({"square": float(cell["x"]) ** 2, "powers": ("power", [cell["x"], np.nan])}, {"power": [1, 2]})


calls: list[dict] = []


def test_stopped_work_goes_on_where_it_was(tiny: Settings) -> None:
    """Cells that are done before a stop are not measured again, and all come back in order."""
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        harness.measured(tiny, _square, x=(1, 2, 3))
    assert harness.measured(tiny, _square, x=(3, 2, 1)).square.values.tolist() == [9, 4, 1]
    assert [c["x"] for c in calls] == [1, 2, 3, 3]


def test_numbers_are_the_same_from_every_process(tiny: Settings) -> None:
    """Every combination in its place, in one process and in two, each with the labels that it was asked with."""
    calls[:] = [{}] * 9
    axes = {"name": ("b", "a"), "x": (2, 5, 4)}
    found, other = (
        harness.measured(dataclasses.replace(tiny, folder=folder, workers=workers), _square, **axes)
        for workers, folder in ((1, tiny.folder), (2, tiny.folder.parent))
    )
    assert found.identical(other)
    assert found.powers.dims == ("name", "x", "power")
    assert found.square.sel(name="a").values.tolist() == [4, 25, 16]
    assert found.powers.sel(name="b", x=5).values[0] == 5
    assert found.name.values.tolist() == ["b", "a"]


def _compiling(settings: Settings, cell: harness.Cell) -> xr.Dataset:
    with compiling.timed():
        return xr.Dataset({"double": 2.0 * cell["x"]})


def test_what_workers_compile_is_told_apart(tiny: Settings) -> None:
    """Who waits for workers knows how long they compiled."""
    with compiling.compile_time() as spent:
        harness.measured(dataclasses.replace(tiny, workers=2), _compiling, x=(1, 2, 3))
    assert len(spent) == 3
    assert min(spent) > 0


def test_a_damaged_cell_is_named(tiny: Settings) -> None:
    """A cut or foreign store of cells is an error that names it."""
    calls[:] = [{}] * 9
    harness.measured(tiny, _square, x=(5,))
    [file] = tiny.folder.glob("*.sweep")
    for content in (file.read_bytes()[: 3 * 4096], b"a diary" * 99):
        file.write_bytes(content)
        with pytest.raises(CorruptFileError, match=file.name):
            harness.measured(tiny, _square, x=(5,))


# Networks and training


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8), (3, 9, 9)])
def test_variants_of_a_seed_start_from_the_same_weights(shape: tuple[int, ...]) -> None:
    """What stands before the ReLUs changes no weight, the scale is the one asked for, and no random state moves."""
    state = torch.random.get_rng_state()
    norm = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    plain, other = (trained.stack(shape, 48, 4, 7, make) for make in (None, norm))
    assert torch.equal(state, torch.random.get_rng_state())
    weights = [[p for p in net.parameters() if p.ndim > 1] for net in (plain, other)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    for weight in weights[0][1:]:
        assert float(weight[0].numel() * weight.detach().square().mean()) == pytest.approx(2, rel=0.2)
    assert plain(torch.zeros(5, *shape)).shape == (5, 10)


def test_looking_does_not_change_training(tiny: Settings) -> None:
    """A network that is looked at ends with the same bits, in evaluation mode when it is looked at."""
    split = trained.Split.of(tiny.data, flat=True)
    recipe = trained.Recipe(9, 0.05, momentum=0.9)
    nets = [trained.stack(split.shape, 16, 2, 0, nn.BatchNorm1d) for _ in range(2)]
    seen: list[tuple[int, bool]] = []
    trained.fit(nets[0], split.train, recipe, 0)
    trained.fit(nets[1], split.train, recipe, 0, lambda step: seen.append((step, nets[1].training)))
    assert seen == [(step, False) for step in range(10)]
    assert all(torch.equal(a, b) for a, b in zip(*(n.state_dict().values() for n in nets), strict=True))


def test_training_adds_the_regularisers_terms(tiny: Settings) -> None:
    """The term reaches the loss: with a heavy one the network's images are shorter than without."""
    split = trained.Split.of(tiny.data, flat=True)
    lengths = []
    for weight in (0.0, 1.0):
        net = trained.stack(split.shape, 16, 2, 0, lambda _, w=weight: nf.TrajectoryRegularizer(w))
        trained.fit(net, split.train, trained.Recipe(60, 0.02), 0)
        lengths.append(regularization.lengths(net, split.test)[-1])
    assert lengths[1] < 0.8 * lengths[0]


# Noise


def disturbed(lost: list[float], other: list[float] | None = None) -> xr.Dataset:
    """Accuracy 0.9 that falls by so much a layer, in the mean over strengths."""
    by_law = {"relative": lost, "absolute": other or lost}
    accuracy = [
        (0.9 + SEEDS)[:, None, None]
        - (np.array(by_law[law]) * (1 + 10 * SEEDS[:, None]))[..., None] * np.linspace(0.5, 1.5, len(strengths))
        for law, (_, strengths) in noise.LAWS.items()
    ]
    dims = ("noise", "seed", "layer", "level")
    return xr.Dataset({"clean": ("seed", 0.9 + SEEDS), "accuracy": (dims, accuracy)}, {"noise": list(noise.LAWS)})


@pytest.mark.parametrize(
    ("relative", "absolute", "expected"),
    [
        ([0.5, 0.4, 0.3, 0.2], None, HELD),
        ([0.5, 0.4, 0.3, 0.2], [0.1, 0.4, 0.3, 0.2], PARTLY),
        ([0.4, 0.5, 0.3, 0.2], None, PARTLY),
        ([0.1, 0.2, 0.3, 0.4], None, FAILED),
    ],
)
def test_noise_verdict(relative: list[float], absolute: list[float] | None, expected: Verdict) -> None:
    """Held where earlier layers lose more under both laws, failed where they lose less under both."""
    found = noise.judge(noise.CLAIMS["dense"], disturbed(relative, other=absolute))
    assert found.verdict is expected
    assert found.numbers["relative: lost, layer 1"] == pytest.approx(relative[0], rel=0.05)


def test_networks_that_did_not_learn_test_nothing() -> None:
    """Below an accuracy of 0.6 no claim on trained networks is held or failed, and the text says how far they came."""
    numbers = disturbed([0.2, 0.15, 0.1, 0.05])
    found = noise.judge(noise.CLAIMS["dense"], numbers.assign(clean=numbers.clean - 0.52))
    assert found.verdict is Verdict.UNTESTED
    assert "test accuracy of 0.38" in found.measured


class Seen(nn.Linear):
    """Remembers what it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given.append(x.detach().clone())
        return super().forward(x.flatten(1))


given: list[torch.Tensor] = []


@pytest.mark.parametrize("shape", [(3, 6, 6), (108,)])
def test_images_of_a_step_are_mirrored_and_shifted(shape: tuple[int, ...]) -> None:
    """Each is one of an image's shifts, mirrored or not, 0 where nothing was; what is flat stays as it was."""
    given.clear()
    x = torch.arange(1, 1 + 64 * 108.0).reshape(64, *shape)
    trained.fit(Seen(108, 10), (x, torch.zeros(64, dtype=torch.long)), trained.Recipe(3, 0.1, varied=True), seed=0)
    rows = [row.numpy().tobytes() for row in torch.cat(given)]
    same = {row.numpy().tobytes() for row in x}
    if len(shape) == 1:
        assert {*rows} == same
        return
    wide = np.zeros((64, 3, 14, 14), np.float32)
    wide[:, :, 4:10, 4:10] = x.numpy()
    shifts = np.concatenate([wide[:, :, i : i + 6, j : j + 6] for i in range(9) for j in range(9)])
    plain, mirrored = (
        {row.tobytes() for row in images} for images in (shifts, np.ascontiguousarray(shifts[..., ::-1]))
    )
    assert {*rows} <= plain | mirrored
    assert {*rows} & plain
    assert {*rows} & mirrored
    assert not {*rows} <= same


# One layer trained


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([0.2, 0.9, 0.8, 0.7, 0.6, 0.1], HELD),
        ([0.2, 0.9, 0.6, 0.7, 0.8, 0.1], PARTLY),
        ([0.9, 0.6, 0.7, 0.8, 0.9, 0.1], FAILED),
        ([0.9, 0.8, 0.8, 0.8, 0.8, 0.1], FAILED),
    ],
)
def test_single_layer_verdict(layers: list[float], expected: Verdict) -> None:
    """Only the hidden layers from the second on decide."""
    one = np.array(layers) + SEEDS[:, None] * np.array([1, 1, -1, 1, -1, 1])
    if expected is FAILED and len(set(layers[1:-1])) == 1:
        one = np.tile(layers, (5, 1))
    numbers = xr.Dataset(
        {"alone": (("seed", "layer"), one), "untrained": ("seed", SEEDS), "whole": ("seed", 0.9 + SEEDS)}
    )
    assert single_layer.judge(single_layer.CLAIMS["test"], numbers).verdict is expected


# During training


def course(
    end: list[float], *, start: list[float] | None = None, far: float = 1.0, before: float = 0.8, weights: float = 1.0,
    switches: float = 1.0,
) -> xr.Dataset:  # fmt: skip
    """Lengths that go from ``start`` to ``end``, where the checkpoint before the last is ``before`` times the end."""
    first, last = np.array(start or [2.0, 4, 8, 16, 32]), np.array(end)
    jitter = np.exp(SEEDS)[:, None, None]
    near = np.stack([first, before * last, last])[None] * np.concatenate(
        [np.ones((5, 1, 1)), jitter, jitter**-1], axis=1
    )
    other = np.stack([first, first, far * first])[None] * np.ones((5, 1, 1))
    sizes = np.array([1.0, 1.0, weights])[:, None] * np.ones((5, 3, 5))
    by_name = {"near": near, "far": other, "near_transitions": near**switches, "weights": sizes}
    data = {name: (("seed", "step", "layer"), values) for name, values in by_name.items()}
    return xr.Dataset(data, {"step": [0, 10, 100]})


SHRUNK = [3.0, 2, 4, 8, 16]


def test_shrinking_verdict() -> None:
    """Held where layer 1 grows and the others shrink; in part where only one of both is so."""
    assert training.judge_shrinking(course(SHRUNK)).verdict is HELD
    assert training.judge_shrinking(course([1.0, 2, 4, 8, 16])).verdict is PARTLY
    assert training.judge_shrinking(course([3.0, 2, 4, 8, 40])).verdict is PARTLY
    assert training.judge_shrinking(course([1.0, 8, 16, 32, 64])).verdict is FAILED


def test_near_verdict() -> None:
    """Near the data length must shrink more from the large start and grow more from the small one."""
    small = course([3.0, 8, 16, 32, 64])
    assert training.judge_near(course(SHRUNK, far=0.9), small).verdict is HELD
    assert training.judge_near(course(SHRUNK, far=0.2), small).verdict is PARTLY
    assert training.judge_near(course(SHRUNK, far=0.2), course(SHRUNK)).verdict is FAILED


@pytest.mark.parametrize(("weights", "expected"), [(1.01, HELD), (0.97, PARTLY), (0.5, FAILED)])
def test_weights_verdict(weights: float, expected: Verdict) -> None:
    """Weights must stay, and length must shrink."""
    assert training.judge_weights(course(SHRUNK, weights=weights)).verdict is expected
    assert training.judge_weights(course([3.0, 8, 16, 32, 64], weights=weights)).verdict is FAILED


@pytest.mark.parametrize(("before", "expected"), [(0.8, HELD), (0.999, OPEN), (1.001, OPEN), (1.2, FAILED)])
def test_reversal_verdict(before: float, expected: Verdict) -> None:
    """Held where the last checkpoint lies clearly above the one before; open where the interval holds both."""
    assert training.judge_reversal(course(SHRUNK, before=before)).verdict is expected


def test_growing_verdict() -> None:
    """Every layer must grow."""
    assert training.judge_growing(course([3.0, 8, 16, 32, 64])).verdict is HELD
    assert training.judge_growing(course([3.0, 8, 16, 32, 31])).verdict is PARTLY
    assert training.judge_growing(course([1.0, 2, 4, 8, 16])).verdict is FAILED


@pytest.mark.parametrize(("switches", "expected"), [(0.7, HELD), (-0.7, FAILED), (0.0, FAILED)])
def test_transitions_verdict(switches: float, expected: Verdict) -> None:
    """Transitions that are a power of length go with it; constant ones, and those that go the other way, do not."""
    assert training.judge_transitions(course(SHRUNK, switches=switches)).verdict is expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ([1, 0.95, 0.9, 0.85, 0.8], [1, 2, 4, 8, 16], HELD),
        ([1, 2, 4, 8, 16], [1, 2, 4, 8, 16], PARTLY),
        ([1, 0.95, 0.9, 0.85, 0.8], [1, 9, 1, 9, 2], PARTLY),
        ([1, 0.95, 0.9, 0.85, 0.8], [16, 8, 4, 2, 1], FAILED),
    ],
)
def test_exponential_verdict(start: list[float], end: list[float], expected: Verdict) -> None:
    """Held for a straight line upwards that was not there before training."""
    found = course(end, start=start)
    spread = found.near * np.exp(SEEDS[:, None, None] * np.arange(5))
    assert training.judge_exponential(found.assign(near=spread)).verdict is expected


# Batch norm


def courses(factors: list[float], first: float = 1.2, ends: tuple[float, float] = (1.5, 4.0)) -> xr.Dataset:
    jitter = np.exp(SEEDS)[:, None, None]
    by_layer = np.ones((2, batch_norm.DEPTH))
    with_norm, without = (end * by_layer * jitter for end in ends)
    values = np.stack([np.ones(len(factors)), factors])[None] * jitter
    start = first * jitter[:, 0] * np.ones((5, 6))
    return xr.Dataset(
        {
            "lengths": (("variant", "seed", "step", "layer"), [with_norm, without * jitter]),
            "factors": (("variant", "seed", "step", "layer"), [values, np.nan * values]),
            "first": (("variant", "seed", "layer"), [start, np.nan * start]),
        },
        {"variant": list(batch_norm.VARIANTS), "step": [0, 100]},
    )


def test_batch_norm_verdicts() -> None:
    """Each of the three verdicts turns with its own numbers."""
    cut, late, long = [0.8] * 6, [0.8] * 5 + [1.3], [1.3] * 6
    assert [batch_norm.judge_cutting(courses(f)).verdict for f in (cut, late, long)] == [HELD, PARTLY, FAILED]
    assert [batch_norm.judge_start(courses(cut, first)).verdict for first in (20, 5, 1.2)] == [HELD, PARTLY, FAILED]
    found = [batch_norm.judge_steadying(courses(cut, ends=ends)).verdict for ends in ((1, 4), (4, 4.002), (4, 1))]
    assert found == [HELD, OPEN, FAILED]


def test_factor_of_a_batch_norm_layer_is_its_scale_over_the_deviation() -> None:
    """With one scale and one variance for all units, length is multiplied by scale / sqrt(variance + eps)."""
    net = trained.stack((6,), 8, 2, 0, nn.BatchNorm1d)
    for module in net:
        if isinstance(module, nn.BatchNorm1d):
            nn.init.constant_(module.weight, 0.6)
            nn.init.constant_(module.running_var, 4.0)
    rng = np.random.default_rng(0)
    paths = [nf.Arc(*rng.normal(size=(2, 6))) for _ in range(2)]
    found, plain = batch_norm.seen(net, paths), nf.trace_paths(net, paths, progress=False)
    assert found["factors"] == pytest.approx([0.6 / (4 + 1e-5) ** 0.5] * 2, rel=1e-6)
    lengths = plain.values("length")
    assert found["lengths"] == pytest.approx(stats.gmean(lengths[:, 1:-1] / lengths[:, :1]), rel=1e-9)
    assert found["transitions"] == plain.values("transitions").mean(0).tolist()


def test_statistics_of_the_first_batch() -> None:
    """They are those of the first 64 inputs (variance: unbiased, as PyTorch keeps it); the network stays as it was."""
    net = nn.Sequential(nn.BatchNorm1d(3)).eval()
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * 5 + 1
    changed = batch_norm.with_statistics(net, (x, torch.zeros(100)))
    assert torch.allclose(changed[0].running_var, x[:64].var(0))
    assert torch.equal(net[0].running_var, torch.ones(3))
    assert not changed.training


# Dichotomies


def swept(growth: float = 1.5, width: float = 0.0, higher: float = 1.0, bend: float = 0.0) -> xr.Dataset:
    depth = np.arange(6)
    found = []
    for k in (32, 128):
        counts = 30 * growth**depth * (k / 32) ** width * np.exp(bend * (depth - 2.5) ** 2)
        jitter = np.exp(SEEDS[:, None] * depth)
        numbers = {"first_layer": counts * jitter, "each_layer": higher * counts / jitter}
        found.append(xr.Dataset({name: (("seed", "remaining"), values) for name, values in numbers.items()}))
    return xr.concat(found, pd.Index([32, 128], name="width"))


def test_dichotomies_verdicts() -> None:
    """Each of the three verdicts turns with its own numbers."""

    def of(judge: Callable, *cases: dict) -> list[Verdict]:
        return [judge(swept(**case)).verdict for case in cases]

    assert of(dichotomies.judge_growth, {}, {"bend": 0.2}, {"growth": 0.9}) == [HELD, PARTLY, FAILED]
    assert of(dichotomies.judge_widths, {}, {"width": 0.4}, {"width": 1.0}) == [HELD, PARTLY, FAILED]
    assert of(dichotomies.judge_remaining, {}, {"higher": 1.1}, {"higher": 2.0}) == [HELD, PARTLY, FAILED]


def test_theory_of_label_changes() -> None:
    """A readout's output is one sinusoid: 2 changes. Far behind, each layer multiplies them by sqrt(chi_1) = 1.571864."""
    expected = dichotomies.expected_changes(12)
    assert expected[0] == pytest.approx(2, rel=1e-9)
    assert expected[-1] / expected[-2] == pytest.approx(1.571864, rel=1e-4)


# Regularisation


def variant(end: float, chosen: tuple[float, float] = (0.9, 0.5), length: float = 1.0) -> xr.Dataset:
    """The end is that of the rate that is chosen; the other rate is perfect on the test images."""
    accuracy = np.ones((2, 5, 2))
    accuracy[int(np.argmax(chosen)), :, -1] = end + SEEDS * 0.1
    lengths = length * np.exp(SEEDS)[None, :, None] * np.ones((2, 5, regularization.DEPTH))
    return xr.Dataset(
        {
            "chosen": (("rate", "seed"), np.tile(np.array(chosen)[:, None], (1, 5))),
            "accuracy": (("rate", "seed", "step"), accuracy),
            "length": (("rate", "seed", "layer"), lengths),
        },
        {"rate": [0.01, 0.1], "step": [0, 10]},
    )


def variants(none: xr.Dataset, norm: xr.Dataset, trajectory: xr.Dataset) -> xr.Dataset:
    return xr.concat([none, norm, trajectory], pd.Index(regularization.VARIANTS, name="variant"))


@pytest.mark.parametrize(
    ("none", "norm", "trajectory", "expected"),
    [
        (0.8, 0.9, 0.9, [HELD, HELD]),
        (0.895, 0.9, 0.9, [HELD, PARTLY]),
        (0.8, 0.92, 0.9, [PARTLY, HELD]),
        (0.9, 0.99, 0.8, [FAILED, FAILED]),
    ],
)
def test_regularisation_verdicts(none: float, norm: float, trajectory: float, expected: list[Verdict]) -> None:
    """About equal to batch norm, and above neither; the test images have no say in which rate is taken."""
    jittered = variant(trajectory)
    jittered.accuracy[0, :, -1] += SEEDS[::-1] * 0.1
    found = variants(variant(none), variant(norm, (0.4, 0.9)), jittered)
    assert [finding.verdict for finding in regularization.judge(found)[:2]] == expected


@pytest.mark.parametrize(("norm", "expected"), [(1.0, HELD), (0.2, PARTLY)])
def test_length_verdict(norm: float, expected: Verdict) -> None:
    """Shorter than with neither and than with batch norm."""
    short = variant(0.9).assign(length=(("rate", "seed", "layer"), 0.5 * np.ones((2, 5, 5)) + SEEDS[:, None]))
    found = variants(variant(0.9, length=2.0), variant(0.9, length=norm), short)
    assert regularization.judge_length(found).verdict is expected


# Whole runs


def small(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Two seeds and a few steps."""
    monkeypatch.setattr(module, "seeds_of", lambda settings, *_: [settings.seed, settings.seed + 1])
    if hasattr(module, "recipe"):
        steps = module.recipe
        monkeypatch.setattr(module, "recipe", lambda settings: dataclasses.replace(steps(settings), steps=24))
    for name, value in {
        "epochs": lambda *_: 1,
        "checkpoints": lambda steps, _: [0, steps],
        "rates": lambda _: (0.01, 0.03),
        "sizes": lambda _: ((8, 16), 2),
        "width": lambda _: 12,
        "units": lambda _: 12,
        "channels": lambda _: 4,
        "DEPTH": 3,
    }.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)


FLAT = [noise, single_layer, training, batch_norm, dichotomies, regularization]
CONVOLUTIONAL = [training, batch_norm, regularization]


@pytest.mark.parametrize(
    ("module", "name"), [(module, "digits") for module in FLAT] + [(module, "CIFAR-10") for module in CONVOLUTIONAL]
)
def test_experiment_runs(module: ModuleType, name: str, tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every experiment gives findings, figures with labelled axes in both themes and tables, and again the same.

    By its name CIFAR-10 has convolutional networks.
    """
    small(monkeypatch, module)
    tiny = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, name=name))
    [experiment] = [value for value in vars(module).values() if isinstance(value, Experiment)]
    made: Made = experiment.run(tiny)
    assert made.findings
    assert all(f.measured and f.claim.rule and f.claim.source for f in made.findings)
    for drawing in made.figures.values():
        assert "seed" in drawing.caption
        assert not experiment.uses_data or name in drawing.caption
        assert not experiment.uses_data or ("convolutions" in drawing.caption) == (
            name == "CIFAR-10" or module is noise
        )
        assert "MNIST" not in drawing.caption
        for theme in (LIGHT, DARK):
            with mpl.rc_context(theme.settings):
                figure = Figure(figsize=(WIDTH, drawing.height))
                drawing.draw(figure, theme)
                figure.canvas.draw()
            assert any(ax.get_xlabel() for ax in figure.axes)
            assert any(ax.get_ylabel() for ax in figure.axes)
    assert all(len(table) for table in made.tables.values())
    before = {file: file.stat().st_mtime_ns for file in tiny.folder.iterdir()}
    again = experiment.run(tiny)
    assert [f.measured for f in again.findings] == [f.measured for f in made.findings]
    assert before == {file: file.stat().st_mtime_ns for file in tiny.folder.iterdir()}
