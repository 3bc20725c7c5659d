"""The page: complete, alone, accessible, escaped, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.reporting import page as pages
from netfold.reporting.figures import draw_all
from netfold.reporting.gather import ReportData, Story
from netfold.reporting.page import files_beside, render, report
from tests.reports import Written


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.text.append(data)


@pytest.fixture(scope="module")
def read(digits_report: Written) -> Reader:
    return Reader(digits_report.page.read_text(encoding="utf-8"))


def test_it_needs_nothing_else(read: Reader) -> None:
    """No tag points outside the page: pictures are data URIs, there is no link or remote script."""
    for tag, attributes in read.tags:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "srcset", "href", "data", "poster"):
            if name in attributes:
                assert (attributes[name] or "").startswith(("data:image/svg+xml;base64,", "#")), (tag, name)
    policies = [a["content"] for t, a in read.tags if t == "meta" and "content-security-policy" in str(a).lower()]
    assert policies
    assert "default-src 'none'" in str(policies[0])


def test_every_picture_says_what_it_shows(read: Reader) -> None:
    """Each figure has an alternative text and a caption; the path's and both measures' are there."""
    images = [a for t, a in read.tags if t == "img"]
    assert len(images) == 7
    assert all(len(a["alt"] or "") > 60 for a in images)
    assert sum(t == "figcaption" for t, _ in read.tags) == 7
    assert {a["id"] for t, a in read.tags if t == "figure"} == {
        f"figure-{name}" for name in ("transitions", "length", "path", "pictures", "slice", "bound", "sensitivity")
    }


def test_headings_come_in_the_order_of_the_questions(read: Reader) -> None:
    """How expressive and which layers; one path; a plane; the bound; units; layers disturbed; what was counted."""
    headings = [a["id"] for t, a in read.tags if t == "h2"]
    assert headings == ["layers", "path", "slice", "bound", "states", "sensitivity", "how"]
    assert sum(t == "h1" for t, _ in read.tags) == 1


def test_it_says_how_it_was_made(read: Reader, digits_report: Written) -> None:
    """Counting rule, seed, versions, time and method stand in the text."""
    text = " ".join(" ".join(read.text).split())
    data = digits_report.data
    for rule in data.trained[0].counting_rule.split("; "):
        assert rule in text
    for value in ("netfold", "torch", "numpy"):
        assert f"{value} {data.provenance[value]}" in text
    assert "seed 0" in text
    assert "float64" in text
    assert data.provenance["time"][:10] in text
    assert f"{data.accuracy:.1%}" in text


def test_the_table_holds_every_layer(read: Reader, digits_report: Written) -> None:
    """A row a layer, with mean transitions after and before training."""
    text = " ".join(" ".join(read.text).split())
    for layer in range(4):
        for traces in (digits_report.data.trained, digits_report.data.initial):
            assert traces is not None
            mean = traces.values("transitions")[:, layer].mean()
            assert re.search(rf"{mean:.1f} ±", text), (layer, mean)


def test_numbers_are_those_of_the_traces(digits_report: Written) -> None:
    """numbers.json is strict JSON; its means, breakpoints and seed are those measured."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = (digits_report.folder / "numbers.json").read_text(encoding="utf-8")
    found, data = json.loads(text, parse_constant=refuse), digits_report.data
    regions = [trace.regions for trace in data.trained]
    assert found["trained"]["regions"]["mean"] == pytest.approx(np.mean(regions))
    assert found["trained"]["regions"]["largest"] == max(regions)
    assert found["example"]["breakpoints"] == data.example.trace.breakpoints.tolist()
    assert found["paths"]["pairs"] == data.pairs.rows.tolist()
    assert found["initial"]["accuracy"] == data.initial_accuracy
    rows = {(r["measure"], r["layer"]): r["mean"] for r in found["initial"]["by_layer"]}
    assert data.initial is not None
    assert rows["transitions", 2] == pytest.approx(data.initial.values("transitions")[:, 1].mean())


def test_measurements_can_be_read_back(digits_report: Written) -> None:
    """Both groups of measurements.nc give the traces, equal to those measured."""
    file, data = digits_report.folder / "measurements.nc", digits_report.data
    assert nf.Traces.load(file, group="trained") == data.trained
    assert nf.Traces.load(file, group="initial") == data.initial


def test_figures_lie_beside_the_page(digits_report: Written) -> None:
    """Every figure is there as PNG, and nothing unfinished is."""
    names = set(os.listdir(digits_report.folder))
    assert {
        "length.png",
        "transitions.png",
        "path.png",
        "pictures.png",
        "slice.png",
        "bound.png",
        "sensitivity.png",
    } < names
    assert not [name for name in names if name.startswith(".") or name.endswith(".part")]


def test_words_from_outside_are_escaped(small: ReportData) -> None:
    """A hostile name of a model, a file, an input or a class cannot become markup or script."""
    hostile = "</script><script>alert(1)</script><img src=x>"
    story = Story(network=hostile, data=hostile, inputs=hostile, recipe=hostile, classes=(hostile,) * 3)
    read = Reader(render(replace(small, story=story), draw_all(small), hostile))
    assert sum(t == "script" for t, _ in read.tags) == 2
    assert all(a.get("src", "").startswith("data:") for t, a in read.tags if t == "img")  # type: ignore[union-attr]


def test_without_initial_weights(small: ReportData) -> None:
    """The page sets the network itself beside theory and does not speak of training."""
    alone = replace(small, initial=None, initial_accuracy=None, accuracy=None)
    alone = replace(alone, theory=replace(alone.theory, initial=False))
    alone = replace(alone, example=replace(alone.example, initial_pictures=(), initial_trace=None))
    assert alone.slice is not None
    alone = replace(alone, slice=replace(alone.slice, initial=None))
    text = " ".join(Reader(render(alone, draw_all(alone), "x_files")).text)
    assert "What training changed" not in text
    assert "before training" not in text


def test_an_interrupted_report_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at any point leaves the old page as it was and no file of the new one half-written."""
    net = nf.random_network(inputs=3, width=5, depth=1, outputs=2)
    points = np.random.default_rng(0).normal(size=(6, 3))
    target = tmp_path / "report.html"
    target.write_text("the old page")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("gather", "draw_all", "render"):
        with monkeypatch.context() as patch:
            patch.setattr(pages, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                report(net, points, target, pairs=2)
        assert os.listdir(tmp_path) == ["report.html"]
    monkeypatch.setattr(pages, "numbers", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report(net, points, target, pairs=2)
    assert target.read_text() == "the old page"
    assert not [name for name in os.listdir(files_beside(target)) if not name.endswith(".png")]


def test_places_where_no_page_can_be(tmp_path: Path) -> None:
    """A missing folder, a folder in the page's place, a file in the folder's place: said at once."""
    (tmp_path / "taken_files").touch()
    for target, words in (
        (tmp_path / "no" / "report.html", "does not exist"),
        (tmp_path, "a folder has this name"),
        (tmp_path / "taken.html", "a file has this name"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            report(nf.random_network(inputs=3, width=5, depth=1), np.eye(3), target)


def test_every_kind_of_network_gets_a_page(tmp_path: Path) -> None:
    """Hard-tanh, one output, convolution with max pooling and pictures as inputs, forty layers."""
    from torch import nn

    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()
    random = np.random.default_rng(0)
    cases = {
        "hardtanh": (
            nf.random_network(5, 8, 2, 3, activation="hardtanh", sigma_w=2.0),
            random.normal(size=(8, 5)),
        ),
        "scalar": (nf.random_network(5, 8, 2, 1), random.normal(size=(8, 5))),
        "pooled": (convolution, random.normal(size=(8, 1, 8, 8))),
        "deep": (nf.random_network(5, 4, 40, 2), random.normal(size=(8, 5))),
    }
    for name, (net, points) in cases.items():
        data = report(net, points, tmp_path / f"{name}.html", pairs=3)
        read = Reader((tmp_path / f"{name}.html").read_text(encoding="utf-8"))
        assert len(data.trained) == 3
        assert sum(t == "img" for t, _ in read.tags) == 7
        assert not re.search(r"\bnan\b", " ".join(read.text))
