"""A part of a model is the function between two places of its forward; the model itself is left as it was."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import netfold as nf
from netfold.capture.parts import ModelPart
from netfold.cli import main


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.act = nn.Linear(width, width), nn.ReLU()

    def forward(self, x: Tensor, scale: Tensor | None = None) -> tuple[Tensor, None]:
        return x + self.act(self.inner(x)) * (1.0 if scale is None else scale), None


class Reader(nn.Module):
    """Indices, a residual stream through three blocks (one is applied twice), a head; it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList([Block(4) for _ in range(3)])
        self.head = nn.Linear(4, 2)
        self.gain = nn.Parameter(torch.tensor([1.0, 2.0, 0.5, 1.5]))
        self.calls, self.seen = 0, [0]

    def forward(
        self, ids: Tensor | None = None, embedded: Tensor | None = None, shift: float = 0.0, note: bool = False
    ) -> dict[str, Any]:
        self.calls += 1
        self.seen.append(self.calls)
        x = (self.embedding(ids) if embedded is None else embedded) * self.gain + shift
        for block in (*self.blocks, self.blocks[2]):
            x, _ = block(x)
        return {"logits": self.head(x.mean(1)), "hidden": (x, x[:, 0]), **({"note": "text"} if note else {})}


def reader() -> Reader:
    torch.manual_seed(0)
    return Reader().double().eval()


IDS = torch.arange(5)[None]
STREAM = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5, 4)))


def after(model: Reader, x: Tensor, first: int) -> Tensor:
    """The residual stream from one block on, computed by hand."""
    for block in [*list(model.blocks)[first:], model.blocks[2]]:
        x = block(x)[0]
    return x


def from_first_block(model: Reader, z: Tensor) -> Tensor:
    return model.head(after(model, z, 1).mean(1))


PARTS = {
    "from a block to a field": ({"input": "blocks.1", "output": "logits", "example": IDS}, from_first_block),
    "from block to block": (
        {"input": "blocks.1", "output": "blocks.1", "example": IDS},
        lambda m, z: m.blocks[1](z)[0],
    ),
    "a module alone": ({"input": "blocks.1", "output": "blocks.1"}, lambda m, z: m.blocks[1](z)[0]),
    "the first half of a module": (
        {"input": "blocks.1", "output": "blocks.1.act"},
        lambda m, z: m.blocks[1].inner(z).relu(),
    ),
    "an argument": (
        {"input": "embedded", "output": "logits"},
        lambda m, z: from_first_block(m, m.blocks[0](z * m.gain)[0]),
    ),
    "an argument beside another": (
        {"input": "embedded", "output": "blocks.0", "example": {"shift": 0.5}},
        lambda m, z: m.blocks[0](z * m.gain + 0.5)[0],
    ),
    "a field in a field": (
        {"input": "blocks.1", "output": "hidden.1", "example": IDS},
        lambda m, z: after(m, z, 1)[:, 0],
    ),
    "the first call of a module": (
        {"input": "blocks.2", "output": "head", "example": IDS},
        lambda m, z: m.head(m.blocks[2](m.blocks[2](z)[0])[0].mean(1)),
    ),
    "a named tensor of a module": ({"input": "blocks.0", "output": "blocks.0.0"}, lambda m, z: m.blocks[0](z)[0]),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_the_function_between_its_ends(name: str) -> None:
    """The program of a part gives what the modules in it give by hand, in float64."""
    model = reader()
    how, wanted = PARTS[name]
    program = nf.capture(model, shape=(5, 4), **how)
    with torch.no_grad():
        assert torch.allclose(program(STREAM), wanted(model, STREAM), rtol=1e-12, atol=1e-12)
    assert {layer.name.partition("[")[0] for layer in program.layers} <= {f"blocks.{i}.act" for i in range(3)}


def test_the_model_is_left_as_it_was() -> None:
    """Hooks, attributes, lists in them, mode, parameters and random numbers are as before, also after an error."""
    model = reader()
    before, state = copy.deepcopy(vars(model)), torch.random.get_rng_state()
    nf.capture(model, input="blocks.1", output="logits", example=IDS)
    with pytest.raises(nf.InvalidInputError):
        nf.capture(model, input="blocks.1", output="nothing", example=IDS)
    nf.part(model, "blocks.1", example=IDS).entry(IDS)  # type: ignore[operator]
    assert (model.calls, model.seen, model.training) == (before["calls"], before["seen"], False)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_what_enters_a_part_comes_from_inputs_of_the_model() -> None:
    """`ModelPart.entry` gives the points that real inputs become, and the part gives there what the model gives."""
    model = reader()
    part = nf.part(model, "blocks.1", "logits", example=IDS)
    assert isinstance(part, ModelPart)
    ids = torch.arange(10).reshape(2, 5)
    with torch.no_grad():
        points = part.entry(ids)
        assert torch.equal(points, model.blocks[0](model.embedding(ids) * model.gain)[0])
        assert torch.equal(part(points), model(ids)["logits"])
        assert torch.equal(nf.part(model, "embedded").entry({"embedded": points}), points)  # type: ignore[operator]


def test_hooks_of_the_model_run_in_its_parts() -> None:
    """A hook on a module of the part is part of what it computes, and stays."""
    model = reader()
    handle = model.blocks[1].register_forward_hook(lambda m, x, y: (2 * y[0], None))
    program = nf.capture(model, shape=(5, 4), input="blocks.1", output="blocks.1")
    with torch.no_grad():
        assert torch.allclose(program(STREAM), model.blocks[1](STREAM)[0])
    handle.remove()


def test_verbs_take_parts() -> None:
    """Traces, counts and sensitivity of the head alone are those of a copy of the head."""
    net = nf.random_network(2, 8, 3, outputs=3, sigma_b=0.5, seed=1)
    rest = nn.Sequential(*net[2:])
    part = nf.part(net, "linear2", "readout", example=torch.zeros(1, 2))
    line = nf.Line(np.full(8, -1.0), np.linspace(0.0, 1.0, 8))
    found, wanted = nf.trace_path(part, line), nf.trace_path(rest, line)
    assert np.array_equal(found.breakpoints, wanted.breakpoints)
    assert [layer.name for layer in found.layers] == ["act2", "act3"]
    first = nf.part(net, output="act1")
    assert int(nf.count_regions(first)) == int(nf.count_regions(net[:2]))
    assert int(nf.count_regions(nf.part(net, "linear3", "act3"), nf.Box(np.full(8, -1e-3), np.full(8, 1e-3)))) >= 1
    points = np.random.default_rng(2).normal(size=(20, 8))
    loss = nf.layer_sensitivity(part, points, "squared_change", repeats=2)
    direct = nf.layer_sensitivity(rest, points, "squared_change", repeats=2)
    assert [layer.name for layer in loss.layers] == ["linear1", "linear2", "linear3", "readout"]
    assert loss.values[0].max() == 0
    assert (loss.values[1:] > 0).all()
    assert (direct.values > 0).all()


class Detector(nn.Module):
    """A backbone with named features, then something that is not one program for all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Features()

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        features = self.backbone(images)
        scores = features["0"].flatten(1).max(1).values
        return [{"boxes": f[f > 0]} for f, s in zip(features["0"], scores, strict=True) if s > 0]


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        h = self.conv(x).relu()
        return OrderedDict([("0", h), ("pool", nn.functional.max_pool2d(h, 2))])


def test_what_follows_a_part_is_not_run() -> None:
    """A detector's backbone is measured although its boxes cannot be."""
    model = Detector().eval()
    program = nf.capture(model, shape=(1, 6, 6), output="backbone.pool")
    points = torch.randn(4, 1, 6, 6)
    assert torch.allclose(program(points).float(), model.backbone(points)["pool"], atol=1e-6)
    with pytest.raises(nf.InvalidInputError, match=r"OrderedDict of 0, pool; name a tensor"):
        nf.capture(model, shape=(1, 6, 6), output="backbone")


def test_an_lstm_needs_no_wrapper() -> None:
    """The first of what it returns, or the last state."""
    lstm = nn.LSTM(2, 3, batch_first=True).double().eval()
    points = torch.randn(4, 5, 2, dtype=torch.float64)
    for name, wanted in (("0", lstm(points)[0]), ("1.0", lstm(points)[1][0].movedim(1, 0))):
        found = nf.capture(lstm, shape=(5, 2), output=name)(points)
        assert torch.allclose(found, wanted.detach(), atol=1e-12)


@pytest.mark.parametrize("fixed", [0, 1, 3])
def test_parts_of_files(tmp_path: Path, fixed: int) -> None:
    """A `.pt2` file has the same parts, whether or not it is fixed to a batch size."""
    model = reader()
    free = None if fixed else ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(model, (IDS.repeat(fixed or 2, 1),), dynamic_shapes=free, strict=False)
    torch.export.save(exported, tmp_path / "model.pt2")
    for end in ("logits", "blocks.2", "hidden.1"):
        loaded = nf.load_model(tmp_path / "model.pt2", input="blocks.1", output=end)
        program = nf.capture(loaded)
        wanted = nf.capture(model, input="blocks.1", output=end, example=IDS)
        assert program.input_shape == (5, 4)
        assert torch.allclose(program(STREAM), wanted(STREAM), atol=1e-12)
        assert [layer.name for layer in program.layers] == [layer.name for layer in wanted.layers]


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).eval()


def test_the_command_line_takes_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--input`` and ``--output`` of a file and of a factory give the same answer; a wrong name ends with code 2."""
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", np.random.default_rng(0).normal(size=(4, 4)))
    torch.export.save(torch.export.export(small(), (torch.zeros(2, 3),)), "small.pt2")
    answers = []
    for model in ("small.pt2", "tests.capture.test_parts:small"):
        code = main(["trace", model, "--data", "points.npy", "--input", "2", "--output", "3"])
        answers.append([line for line in capsys.readouterr().out.splitlines() if "second" not in line][1:])
        assert code == 0
    assert answers[0] == answers[1]
    assert main(["count", "small.pt2", "--input", "9"]) == 2
    assert "no module or argument '9'" in capsys.readouterr().err
    assert main(["report", "small.pt2", "--data", "points.npy", "--input", "2", "--part-output", "7"]) == 2
    assert "no module or field '7'" in capsys.readouterr().err


def test_the_command_line_takes_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--example`` holds the arguments of the whole model by name, or its first; without it the error says so."""
    monkeypatch.chdir(tmp_path)
    np.save("stream.npy", STREAM)
    np.save("ids.npy", IDS)
    np.savez("example.npz", ids=IDS, shift=np.zeros(()))
    np.savez("wrong.npz", ids=IDS, shifts=np.zeros(()))
    asked = ["trace", "tests.capture.test_parts:reader", "--data", "stream.npy", "--input", "blocks.1"]
    asked += ["--output", "logits", "--json"]
    part = nf.part(reader(), "blocks.1", "logits", example=IDS)
    wanted = nf.trace_path(part, nf.Line(STREAM[0], STREAM[1]))
    for file in ("ids.npy", "example.npz"):
        assert main([*asked, "--example", file]) == 0
        assert json.loads(capsys.readouterr().out)["regions"] == wanted.regions
    assert main([*asked, "--example", "wrong.npz"]) == 2
    assert "no argument 'shifts'; did you mean 'shift'" in capsys.readouterr().err
    assert main(asked) == 2
    assert "on the command line --example FILE" in capsys.readouterr().err


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "module": ({"input": "blocks.4", "example": IDS}, "no module or argument 'blocks.4'; did you mean 'blocks.2' or"),
    "argument": ({"input": "embeded"}, "no module or argument 'embeded'; did you mean 'embedded' or 'embedding'"),
    "field": ({"input": "embedded", "output": "logit"}, "no module or field 'logit'; did you mean 'logits'"),
    "field of a module": ({"input": "blocks.1", "output": "blocks.1.acts"}, "did you mean 'blocks.1.act'"),
    "nothing like it": ({"input": "zzz"}, "it has: ids, embedded, shift, note, embedding, blocks"),
    "field of the example": ({"input": "blocks.1", "example": {"id": IDS}}, "no argument 'id'; did you mean 'ids'"),
    "example": ({"input": "blocks.1", "output": "logits"}, "give example=, an input of the whole model"),
    "order": (
        {"input": "blocks.2", "output": "blocks.1", "example": IDS},
        "'blocks.2' is not called before 'blocks.1'",
    ),
    "never called": ({"input": "blocks", "example": IDS}, "'blocks' is not called in its forward"),
    "no tensor": (
        {"input": "embedded", "output": "note", "example": {"note": True}},
        "the output is a str; name a tensor",
    ),
    "indices": ({"input": "ids", "output": "logits"}, "nf.part\\(model, input='inputs_embeds'\\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_name_gives_one_error(name: str) -> None:
    """What is wrong, and the names that there are."""
    how, message = WRONG[name]
    with pytest.raises(nf.NetfoldError, match=message):
        nf.capture(reader(), shape=(5, 4), **how)


def test_a_program_has_no_parts() -> None:
    """A part is taken of a model."""
    net = nf.random_network(2, 3, 1)
    with pytest.raises(nf.InvalidInputError, match="give the model that a Program came from"):
        nf.capture(nf.capture(net, shape=(2,)), input="1")


def test_paths_of_modules_in_files_are_plain_names() -> None:
    """``torch`` writes the names of modules into source code when it rebuilds them: no other text gets there."""
    exported = torch.export.export(small(), (torch.zeros(2, 3),))
    for node in exported.graph.nodes:
        if "nn_module_stack" in node.meta:
            node.meta["nn_module_stack"] = {"k": ('0"); raise SystemExit(1) #', "torch.nn.Linear")}
    with pytest.raises(nf.CaptureError, match="names a module"):
        nf.part(exported, "2")


def test_models_of_hugging_face_need_no_wrapper() -> None:
    """From the embeddings, or from a block of a model that brings its own example, to the logits."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6, hidden_act="relu"
    )
    model = transformers.BertForSequenceClassification(config).double().eval()
    points = torch.randn(4, 3, 8, dtype=torch.float64)
    program = nf.capture(model, shape=(3, 8), input="inputs_embeds", output="logits")
    with torch.no_grad():
        assert torch.allclose(program(points), model(inputs_embeds=points).logits, atol=1e-10)
    part = nf.part(model, "bert.encoder.layer.1", "logits")
    ids = torch.arange(10).reshape(2, 5)
    with torch.no_grad():
        rest = nf.capture(part, part.entry(ids)[0])  # type: ignore[operator]
        assert torch.allclose(rest(part.entry(ids)), model(ids).logits, atol=1e-10)  # type: ignore[operator]


def test_a_part_counts_the_parameters_that_it_reads() -> None:
    """Those of the modules between its ends, not those of the whole model."""
    net = nf.random_network(4, 6, 3, outputs=2, seed=0)
    assert nf.capture(net, shape=(4,)).parameters == sum(p.numel() for p in net.parameters())
    between = nf.capture(net, input="act1", output="act2", shape=(6,))
    assert between.parameters == 6 * 6 + 6
