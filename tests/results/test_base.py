"""What all results share: equality, files, tables, HTML and JSON follow from the declared fields of each."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import pkgutil
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netfold as nf
from netfold.errors import CorruptFileError
from netfold.results.base import Record, Result, Saved, above, declared, measured, same
from netfold.results.status import Certainty, Standing
from netfold.training.history import History

LINE = nf.Line([-1.0, 0.5], [1.0, 0.3])
PLANE = nf.Plane([-1.0, -1.0], [2.0, 0.0], [0.0, 2.0])
POINTS = np.random.default_rng(0).normal(size=(20, 2))


def network(activation: str = "relu") -> Any:
    return nf.random_network(inputs=2, width=6, depth=2, outputs=2, activation=activation, sigma_b=0.3, seed=0)


def history() -> History:
    """Two steps, of which one lacks a part, and one that was missed."""
    found = History()
    found.add(0, {"regions": 3.0, "length/first": 1.0, "length/second": 2.0})
    found.add(5, {"regions": 4.0, "length/first": 1.5})
    found.missed[7] = "the network could not be captured"
    return found


def single_layer() -> nf.SingleLayerTraining:
    labels = (POINTS[:, 0] > 0).astype(int)
    return nf.train_single_layer(
        lambda seed: nf.random_network(2, 4, 1, 2, seed=seed),
        (POINTS.astype(np.float32), labels),
        seeds=[3, 4],
        epochs=1,
        whole=False,
        progress=False,
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "trace": lambda: nf.trace_path(network(), LINE),
    "certified trace": lambda: nf.trace_path(network(), LINE, certify=True),
    "sampled trace": lambda: nf.trace_path(network("tanh"), LINE),
    "trace without layers": lambda: nf.trace_path(network()[-1:], nf.Line(np.zeros(6), np.ones(6))),
    "traces": lambda: nf.trace_paths(network(), [LINE, nf.Line([0.0, 0.0], [3.0, 1.0])]),
    "partition": lambda: nf.partition_plane(network(), PLANE),
    "local complexity": lambda: nf.local_complexity(network(), POINTS, radius=0.1),
    "count": lambda: nf.count_regions(network(), inradius=True),
    "count on a plane": lambda: nf.count_regions(network(), PLANE),
    "estimate": lambda: nf.estimate_regions(network(), effort=500, relative_error=1e-3),
    "estimated trace": lambda: nf.estimate_trace(network(), LINE, seconds=None, evaluations=1, whole="never"),
    "patterns": lambda: nf.count_patterns(network(), np.repeat(POINTS[:2], 3, 0)),
    "sensitivity": lambda: nf.layer_sensitivity(network(), POINTS, strengths=[0.1, 1.0], repeats=2),
    "sensitivity to pruning": lambda: nf.layer_sensitivity(network(), POINTS, perturbation=nf.Zero()),
    "bit plan": lambda: nf.bit_plan(network(), POINTS, loss=0.1, progress=False),
    "dichotomies": lambda: nf.count_dichotomies(network(), POINTS[:4], sweeps=2),
    "single layers": single_layer,
    "units": lambda: nf.units(network(), nf.Box(-1.0, 1.0)),
    "sampled plane": lambda: nf.sample_plane(network("tanh"), PLANE, resolution=8),
    "history": history,
    "growth": lambda: nf.theory.length_growth("tanh", 2.0, depth=3),
    "crossings": lambda: nf.theory.crossing_rate("hardtanh", 2.0, depth=3),
    "curvature": lambda: nf.theory.curvature_growth("tanh", 4.0, 0.3, depth=3),
    "phases": lambda: nf.theory.phase_diagram("tanh", [0.5, 2.0], [0.0, 0.1, 0.2]),
    "comparison": lambda: nf.trace_path(network(), LINE).compare(LINE, network()),
    "ranks": lambda: nf.rank_correlation({"a": POINTS[:, 0], "same": np.ones(20)}, POINTS[:, 1], resamples=100),
}


@cache
def result(name: str) -> Any:
    return MAKERS[name]()


every = pytest.mark.parametrize("name", MAKERS)


def all_below(cls: type) -> set[type]:
    """A class and all that derive from it."""
    return {cls}.union(*(all_below(one) for one in cls.__subclasses__()))


@cache
def import_everything() -> None:
    for module in pkgutil.walk_packages(nf.__path__, "netfold."):
        if not module.name.endswith(("__main__", "frameworks")):
            importlib.import_module(module.name)


@every
def test_arrays_have_the_declared_dimensions(name: str) -> None:
    """An array has as many axes as its field declares, and a dimension has one size throughout a result."""
    stored = result(name)
    if not isinstance(stored, Record):
        return
    sizes: dict[str, int] = {}
    for one, (values, quantity) in stored._variables().items():
        assert values.ndim == len(quantity.dims or ()), one
        for dim, size in zip(quantity.dims or (), values.shape, strict=True):
            assert sizes.setdefault(dim, size) == size, (one, dim)


@every
def test_saving_and_loading_changes_nothing(name: str, tmp_path: Path) -> None:
    """load(save(x)) = x, provenance included, with the same status for people and for programs."""
    original = result(name)
    original.save(tmp_path / "it.nc")
    loaded = type(original).load(tmp_path / "it.nc")
    assert loaded == original
    if hasattr(original, "provenance"):
        assert loaded.provenance == original.provenance
    if isinstance(getattr(original, "status", None), Standing):
        assert (loaded.status, loaded.status.kind) == (original.status, original.status.kind)
        assert original.status.kind is not Certainty.UNTOLD


def test_every_kind_of_result_is_tried() -> None:
    """No class that can be saved is missing above, and no two kinds share a format but one trace and several."""
    import_everything()
    kinds = {cls for cls in all_below(Saved) if cls.FORMAT and cls.__module__.startswith("netfold")}
    assert kinds == {type(result(name)) for name in MAKERS}
    assert len({cls.FORMAT for cls in kinds}) == len(kinds) - 1


@every
def test_a_result_of_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    """A file says what it holds: loading it as something else is one clear error."""
    result(name).save(tmp_path / "it.nc")
    other = nf.Sensitivity if name.startswith("trace") or "trace" in name else nf.Trace
    with pytest.raises(CorruptFileError, match="cannot be read as a saved"):
        other.load(tmp_path / "it.nc")


@every
def test_everything_stored_says_what_it_is(name: str) -> None:
    """Every variable has a meaning and a unit, and so has every number and word among the attributes."""
    found = result(name).to_xarray()
    if isinstance(result(name), History):  # its measures are the user's
        return
    told = json.loads(found.attrs.get("meanings", "{}"))
    for variable in found.variables.values():
        assert variable.attrs["long_name"]
        assert variable.attrs["units"]
    if isinstance(result(name), Result):
        own = {one.name for one in declared(type(result(name)))}
        assert {key for key in found.attrs if key in own} - set(told) == set()
        assert all(told.values())


def test_every_field_of_every_record_says_what_it_is() -> None:
    """A declared field has a meaning, which the help of its class repeats."""
    import_everything()
    for cls in all_below(Record) - {Record}:
        for one in declared(cls):
            assert one.quantity.meaning, (cls, one.name)
            assert one.field.name.startswith("_") or f"        {one.field.name}: " in str(cls.__doc__)


@every
def test_tables_html_and_json(name: str) -> None:
    """A table has rows; HTML holds it; JSON has no NaN in it and comes back."""
    found = result(name)
    assert len(found.to_dataframe()) > 0
    assert "<table" in found._repr_html_()
    if name != "traces":
        from netfold.reporting.numbers import to_json

        assert json.loads(to_json(found.to_dict()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nf.theory.mean_field("tanh", 2.0),
        lambda: nf.diagnose(network()),
        lambda: nf.bounds.of(network()),
        lambda: nf.bounds.table(2, [4, 4]),
    ],
)
def test_what_theory_says_is_shown_likewise(make: Callable[[], Any]) -> None:
    """Statements about a network have a table, HTML and JSON too, and a text of one screen."""
    found = make()
    assert len(found.to_dataframe()) > 0
    assert "<table" in found._repr_html_()
    assert json.dumps(found.to_dict())
    assert len(repr(found).splitlines()) < 40


@every
def test_html_is_escaped(name: str) -> None:
    """What a model or a rule is called cannot become markup."""
    found = result(name)
    if isinstance(found, Result) and hasattr(found, "counting_rule"):
        evil = replace(found, counting_rule="a < b & <script>", provenance={"model": "<script>"})._repr_html_()
        assert "<script>" not in evil
        assert "a &lt; b &amp; &lt;script&gt;" in evil


@every
def test_equal_means_equal_in_every_field(name: str) -> None:
    """A copy is equal and hashes alike, though NaN is never equal to NaN; another value in a field is not."""
    found = result(name)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert found != name
    if not isinstance(found, Result):
        return
    assert hash(again) == hash(found)
    assert same(replace(found, provenance={"time": "another"}), found) if hasattr(found, "provenance") else True
    for field in fields(found):
        value = getattr(found, field.name)
        if field.compare and isinstance(value, int | float | str | np.ndarray):
            other = f"{value}!" if isinstance(value, str) else np.append(value, 1) if np.ndim(value) else value + 1
            changed = replace(found, **{field.name: other})
            assert (changed == found) == (isinstance(value, float) and value + 1 == value), field.name


class Pair(Result):
    """Two numbers, with all that a declaration can say."""

    FORMAT = "netfold pair 1"

    inside: Any = 0
    place: float = measured("where", unit="m", default=0.0)
    values: np.ndarray[Any, np.dtype[np.float64]] = measured("what is there", ("place",), default=None)
    flag: bool = measured("whether it is so", default=True)
    words: tuple[str, ...] = measured("in words", default=())
    note: str | None = measured("why", default=None)


@pytest.mark.parametrize("note", [None, "", "-1"])
@pytest.mark.parametrize("words", [(), ("a", 'b "c"')])
def test_a_declaration_is_all_that_a_new_result_needs(note: str | None, words: tuple[str, ...], tmp_path: Path) -> None:
    """Table, file, equality and help of a class of a few lines; a field that is not declared is not stored."""
    pair = Pair(7, float("nan"), np.array([1.0, np.nan]), False, words, note)
    assert pair == Pair(7, float("nan"), np.array([1.0, np.nan]), False, words, note)
    pair.save(tmp_path / "pair.nc")
    assert Pair.load(tmp_path / "pair.nc") == replace(pair, inside=0)
    assert pair.to_dict()["place"] is None
    assert pair.to_dataframe().columns.tolist() == ["place", "flag", "words", "note"]
    assert "place: where; in m." in str(Pair.__doc__)
    with pytest.raises(AttributeError):
        pair.place = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_methods_from_rooms_above_are_found_and_documented() -> None:
    """Every name leads to a function that says what it does and takes the result first."""
    import_everything()
    assert len(above.places) > 15
    for place in above.places:
        function = above(place).function
        above.places.remove(place)
        assert inspect.isfunction(function), place
        assert inspect.getdoc(function), place
        assert f"{function.__module__}:{function.__qualname__}" == place
        assert next(iter(inspect.signature(function).parameters.values())).default is inspect.Parameter.empty


def test_a_method_from_above_looks_like_one() -> None:
    """Its help is that of the function, which is called with the result in front."""
    from netfold.plots.traces import breakpoints

    trace = result("trace")
    assert nf.Trace.plot is breakpoints
    assert inspect.getdoc(trace.plot) == inspect.getdoc(breakpoints)
    assert next(iter(inspect.signature(trace.plot).parameters)) == "ax"


@pytest.mark.parametrize("kind", [kind for kind in Certainty if kind.words])
def test_a_status_keeps_its_kind(kind: Certainty) -> None:
    """A status is text to people and files, and its kind can be read back, whatever numbers stand in it."""
    for details in ("", " 3 places, of which 1 open", ": converged; exact"):
        status = kind.text(details)
        assert Standing.read(str(status)).kind is kind
        assert json.loads(json.dumps(status)) == status == str(status)
        assert pickle.loads(pickle.dumps(status)).kind is kind
    assert Standing.read("anything else").kind is Certainty.UNTOLD
    assert kind.advice


LAYOUT = {
    "trace": "angular_length(layer) breakpoint_layers(breakpoint) breakpoints(breakpoint) certified() "
    "class_changes(class_change) classes(stretch) covered() doubtful() error(stage) gate_certified(gate) gate_layers(gate) "
    "gate_switches(gate) gate_tokens(gate) growth(layer) input_length() label(layer) layer(layer) "
    "length(layer) linear_pieces() margin() name(layer) op(layer) output_angular_length() output_length() output_turning() "
    "patterns() regions() resolved() saturation_passages(layer) sign_changes(output) sign_transitions(layer) "
    "stage_name(stage) transitions(layer) turning(layer) uncertain() units(layer) "
    "@counting_rule @format @method @output_label @provenance @status",
    "traces": "angular_length(path,layer) breakpoint_layers(breakpoint) breakpoint_path(breakpoint) "
    "breakpoints(breakpoint) certified(path) class_change_path(class_change) class_changes(class_change) classes(stretch) "
    "counting_rule(path) covered(path) doubtful(path) error(path,stage) gate_certified(gate) gate_layers(gate) "
    "gate_path(gate) gate_switches(gate) gate_tokens(gate) growth(path,layer) input_length(path) label(layer) "
    "layer(layer) "
    "length(path,layer) linear_pieces(path) margin(path) method(path) name(layer) op(layer) "
    "output_angular_length(path) output_label(path) output_length(path) output_turning(path) patterns(path) provenance(path) "
    "regions(path) resolved(path) saturation_passages(path,layer) sign_changes(path,output) "
    "sign_transitions(path,layer) stage_name(stage) status(path) stretch_path(stretch) transitions(path,layer) "
    "turning(path,layer) uncertain(path) units(layer) @format uncertified(path)",
    "partition": "ancestor(polygon,stage) area(region_number) class(polygon) corners(polygon) edge_length(layer) "
    "label(edge) loop(edge) made(vertex) plane(direction,feature) region(polygon) regions(layer) "
    "states(polygon,word) vertices(vertex,coordinate) @bounds @counting_rule @format @input_shape @layers @margin "
    "@method @outputs @plane_bounds @provenance @status @uncertain",
    "local complexity": "counts(point,layer) label(layer) layer(layer) name(layer) op(layer) units(layer) "
    "@counting_rule @directions @format @left_out @provenance @radius",
    "sensitivity": "data_error(layer,strength) effect(layer,strength) interval(layer,strength) kind(layer) "
    "label(layer) layer(layer) loss(layer,strength) output_change(layer,strength) shared_with(layer) strength(strength) "
    "values(layer,strength,repeat) weights(layer) @clean @clean_error @counting_rule @format @higher_is_better "
    "@inputs @metric @perturbation @provenance @stronger_upward",
    "single layers": "layer(layer) part(part) seed(seed) test(layer,seed) train(layer,seed) untrained(part,seed) "
    "weights(layer) whole(part,seed) @format @provenance @recipe",
    "history": "length(step,length_part) length_part(length_part) regions(step) step(step) @format @missed",
}
"""Variables with their dimensions, and attributes, of files that exist."""


@pytest.mark.parametrize("name", LAYOUT)
def test_files_of_before_are_laid_out_as_those_of_now(name: str, tmp_path: Path) -> None:
    """What is written has these names and dimensions, and what holds only them is read."""
    original, layout = result(name), LAYOUT[name].split()
    found = original.to_xarray()
    written = {f"{key}({','.join(map(str, one.dims))})" for key, one in found.variables.items()}
    assert written == {word for word in layout if not word.startswith("@")}
    attributes = {word[1:]: found.attrs[word[1:]] for word in layout if word.startswith("@")}
    found.attrs = attributes
    assert type(original)._of(found) == original
