"""The result: ranking, thresholds, tables, files and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pytest
import torch

import netfold as nf
from netfold.sensitivity import Effect


@pytest.fixture(scope="module")
def found() -> nf.Sensitivity:
    net = nf.random_network(4, 16, 3, 3, seed=0)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 4)))
    y = net(x.float()).argmax(1)
    return nf.layer_sensitivity(net, (x, y), strengths=[0.1, 0.3, 1.0], repeats=4)


def with_loss(found: nf.Sensitivity, loss: list[list[float]], **more: object) -> nf.Sensitivity:
    values = found.clean - np.repeat(np.array(loss)[:, :, None], 2, 2)
    return replace(found, values=values, effect=np.zeros(values.shape[:2], np.int64), **more)  # type: ignore[arg-type]


def test_ranking_goes_by_loss_and_leaves_out_what_had_no_effect(found: nf.Sensitivity) -> None:
    made = with_loss(found, [[0.1, 0.2, 0.3], [0.0, 0.0, 0.9], [0.3, 0.1, 0.5], [0.0, 0.0, 0.0]])
    assert made.ranking() == ["linear2", "linear3", "linear1", "readout"]
    assert made.ranking(0.1)[0] == "linear3"
    effect = made.effect.copy()
    effect[1] = Effect.OUTPUT_UNCHANGED
    made = replace(made, effect=effect)
    assert made.ranking() == ["linear3", "linear1", "readout"]
    assert list(made.without_effect) == ["linear2"]
    with pytest.raises(nf.InvalidInputError, match="not measured"):
        made.ranking(0.2)


def test_threshold_interpolates(found: nf.Sensitivity) -> None:
    """Clean 1.0, 10% lost: between 0 and the weakest strength, between two, exactly at one, never."""
    assert found.clean == 1.0
    made = with_loss(found, [[0.2, 0.3, 0.4], [0.0, 0.2, 0.3], [0.0, 0.0, 0.1], [0.0, 0.0, 0.05]])
    assert made.threshold(0.1) == pytest.approx(
        {"linear1": 0.05, "linear2": 0.2, "linear3": 1.0, "readout": np.nan}, nan_ok=True
    )
    bits = with_loss(found, [[0.0, 0.2, 0.3]] * 4, strengths=np.array([8.0, 4.0, 2.0]), stronger_upward=False)
    assert bits.threshold(0.1)["linear1"] == pytest.approx(6.0)
    with pytest.raises(nf.InvalidInputError, match="share"):
        found.threshold(1.5)


def test_strengths_must_exist_for_a_threshold(found: nf.Sensitivity) -> None:
    net = nf.random_network(4, 16, 1, 3, seed=0)
    zeroed = nf.layer_sensitivity(net, np.ones((3, 4)), perturbation=nf.Zero())
    with pytest.raises(nf.InvalidInputError, match="no strengths"):
        zeroed.threshold()
    assert zeroed.ranking()
    assert "all weights set to zero" in repr(zeroed)


def test_tables_hold_what_was_measured(found: nf.Sensitivity) -> None:
    table = found.to_dataframe()
    assert len(table) == 12
    row = table[(table["layer"] == "linear2") & (table["strength"] == 0.3)].iloc[0]
    assert row["mean"] == found.mean[1, 1]
    assert row["high"] - row["low"] == pytest.approx(2 * found.interval[1, 1])
    data = found.to_xarray()
    assert data["values"].sel(layer="linear2", strength=0.3).values.tolist() == found.values[1, 1].tolist()
    assert data["values"].dims == ("layer", "strength", "repeat")


def test_saved_and_loaded_is_the_same(found: nf.Sensitivity, tmp_path: Path) -> None:
    found.save(tmp_path / "s.nc")
    again = nf.Sensitivity.load(tmp_path / "s.nc")
    assert again == found
    assert again.provenance["seed"] == 0
    (tmp_path / "bad.nc").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    with pytest.raises(nf.CorruptFileError):
        nf.Sensitivity.load(tmp_path / "bad.nc")
    (tmp_path / "pickle.nc").write_bytes(b"\x80\x04x")
    with pytest.raises(nf.UntrustedFileError):
        nf.Sensitivity.load(tmp_path / "pickle.nc")


def test_without_repeats_the_interval_is_over_inputs(found: nf.Sensitivity) -> None:
    net = nf.random_network(4, 16, 1, 3, seed=0)
    x = np.random.default_rng(0).normal(size=(50, 4))
    once = nf.layer_sensitivity(net, x, perturbation=nf.Prune(0.5))
    p = once.mean[0, 0]
    assert once.interval[0, 0] == pytest.approx(1.959964 * np.sqrt(p * (1 - p) / 49))


def test_a_curve_has_a_line_a_layer(found: nf.Sensitivity) -> None:
    ax = found.plot()
    drawn = [line for container in ax.containers for line in [container.lines[0]]]
    assert len(drawn) == 4
    assert drawn[1].get_ydata().tolist() == found.mean[1].tolist()
    assert "standard deviation" in ax.get_xlabel()


def test_a_single_strength_is_drawn_by_layer(found: nf.Sensitivity) -> None:
    net = nf.random_network(4, 16, 3, 3, seed=0)
    one = nf.layer_sensitivity(net, np.ones((3, 4)), repeats=3, metric="squared_change")
    effect = one.effect.copy()
    effect[2] = Effect.UNUSED
    ax = replace(one, effect=effect).plot()
    assert ax.containers[0].lines[0].get_ydata().tolist() == one.mean[[0, 1, 3], 0].tolist()
    assert "no effect, so not known" in [t.get_text() for t in ax.get_legend().get_texts()]
