"""Layer sensitivity against closed forms, against a naive loop over copies of the model, and its promises."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import netfold as nf
from netfold.capture import Data
from netfold.sensitivity import Effect, Perturbation, WeightLayer, weight_layers
from netfold.sensitivity.measure import SensitivityPlan
from netfold.sensitivity.runners import TapeRunner
from tests.sensitivity.models import FAMILIES, Branching, Unused, make, naive

RULES: list[Perturbation] = [
    nf.GaussianNoise(0.3),
    nf.GaussianNoise(0.05, relative_to=None),
    nf.GaussianNoise(0.3, relative_to="channel"),
    nf.Rerandomise(sigma_w=1.5, sigma_b=0.1),
    nf.Quantise(3),
    nf.Quantise(3, per_channel=True),
    nf.Prune(0.4),
    nf.Zero(),
]


def draws(model: nn.Module, layer: WeightLayer, rule: Perturbation, repeats: int, seed: int) -> list[dict[str, Tensor]]:
    """The weights that a measurement uses, from its plan."""
    plan = SensitivityPlan(model, weight_layers(model), [rule], repeats if rule.RANDOM else 1, seed, rule.BIASES)
    return [plan.draw(layer, 0, r) or {} for r in range(plan.repeats)]


CASES = [
    (family, rule)
    for family in FAMILIES
    for i, rule in enumerate(RULES)
    if family in ("dense", "convolutional") or i in (0, 3, 6)
]


@pytest.mark.parametrize(("family", "rule"), CASES, ids=[f"{family}-{rule}" for family, rule in CASES])
def test_equals_the_naive_loop(family: str, rule: Perturbation) -> None:
    """Sharing what comes before a layer, and running draws together, gives the numbers of the naive loop."""
    model, x, _ = make(family)
    found = nf.layer_sensitivity(model, x, "squared_change", rule, repeats=3, seed=5, batch_size=17)
    clean = naive(model, x, {})
    for i, layer in enumerate(weight_layers(model)):
        for r, changes in enumerate(draws(model, layer, rule, 3, 5)):
            outputs = naive(model, x, changes)
            expected = float((outputs - clean).square().flatten(1).sum(1).mean())
            assert found.values[i, 0, r] == pytest.approx(expected, rel=1e-11, abs=1e-22)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: repr(rule))
def test_accuracy_and_disagreement_equal_the_naive_loop(rule: Perturbation) -> None:
    """Counts of inputs, so equal to the last bit of the mean."""
    model, x, labels = make("dense")
    accuracy = nf.layer_sensitivity(model, (x, labels), "accuracy", rule, repeats=3)
    disagreement = nf.layer_sensitivity(model, x, "disagreement", rule, repeats=3)
    clean = naive(model, x, {}).argmax(1)
    for i, layer in enumerate(weight_layers(model)):
        for r, changes in enumerate(draws(model, layer, rule, 3, 0)):
            classes = naive(model, x, changes).argmax(1)
            assert accuracy.values[i, 0, r] == float((classes == labels).double().mean())
            assert disagreement.values[i, 0, r] == float((classes != clean).double().mean())


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "branching"])
def test_captured_models_share_their_prefix(family: str) -> None:
    """Every kind of model that can be captured is run on from the layer that was changed."""
    model, x, _ = make(family)
    found = nf.layer_sensitivity(model, x, repeats=1)
    assert found.provenance["shares_prefix"]


def test_operations_before_the_layer_are_run_once() -> None:
    """Operation p of linear0, relu, linear1, ..., linear4 runs once for the prefix, and once for every layer up to it."""
    model, x, _ = make("dense")
    runner = TapeRunner.of(model, (5,), torch.float64, torch.device("cpu"))
    layers = weight_layers(model)
    ran: list[int] = []
    step = runner._step
    runner._step = lambda position, values, rows: (ran.append(position), step(position, values, rows))[1]  # type: ignore[method-assign]
    for layer, evaluate in runner.sweep(x, layers):
        changes = {w.name: w.value + 1.0 for w in layer.weights}
        assert torch.allclose(next(evaluate([changes])), naive(model, x, changes), rtol=1e-12)
    counts = np.bincount(ran)
    assert counts.tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 5]


@pytest.mark.parametrize("scale", [0.1, 0.5])
def test_a_linear_network_has_the_expected_change(scale: float) -> None:
    """E |V (W + s E) z - V W z|^2 = s^2 |V|_F^2 |z|^2: exact for a linear network, within the sampling error."""
    net = nf.random_network(6, 8, 3, 4, "linear", sigma_b=0.3, seed=3, dtype=torch.float64)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(30, 6)))
    rule = nf.GaussianNoise(scale, relative_to=None)
    found = nf.layer_sensitivity(net, x, "squared_change", rule, repeats=600, seed=1)
    linear = [m for m in net if isinstance(m, nn.Linear)]
    z = x
    for i, layer in enumerate(linear):
        after = torch.eye(layer.out_features, dtype=torch.float64)
        for later in linear[i + 1 :]:
            after = later.weight.detach() @ after
        expected = scale**2 * float(after.square().sum()) * float(z.square().sum(1).mean())
        error = found.values[i, 0].std(ddof=1) / np.sqrt(600)
        assert abs(found.mean[i, 0] - expected) < 4 * error
        assert error < 0.1 * expected
        z = layer(z).detach()


def test_relative_noise_is_absolute_noise_times_the_scale_of_the_layer() -> None:
    """The same draw, scaled by the root mean square of the weights."""
    model, x, _ = make("dense")
    for i, layer in enumerate(weight_layers(model)):
        rms = float(layer.weights[0].value.detach().square().mean().sqrt())
        one = nf.layer_sensitivity(model, x, "squared_change", nf.GaussianNoise(0.2), repeats=2)
        same = nf.layer_sensitivity(
            model, x, "squared_change", nf.GaussianNoise(0.2 * rms, relative_to=None), repeats=2
        )
        assert one.values[i] == pytest.approx(same.values[i], rel=1e-10)


@pytest.mark.parametrize(
    ("family", "metric"),
    [
        (family, metric)
        for family in FAMILIES
        for metric in ("loss", "accuracy", "disagreement", "squared_change")
        if family == "dense" or metric == "loss"
    ],
)
def test_strength_zero_gives_exactly_the_clean_metric(family: str, metric: str) -> None:
    """Noise of scale 0 and pruning nothing change no bit of the metric, and say that nothing was changed."""
    model, x, labels = make(family)
    if family in ("tied", "residual") and metric in ("accuracy", "loss"):
        labels = model(x).argmax(1).detach()
    for rule in (nf.GaussianNoise(0.0), nf.Prune(0.0)):
        found = nf.layer_sensitivity(model, (x, labels), metric, rule, repeats=3, batch_size=7)
        assert (found.values == found.clean).all()
        assert (found.effect == Effect.WEIGHTS_UNCHANGED).all()
        assert found.ranking() == []
        assert len(found.without_effect) == len(found.layers)


def test_a_layer_that_is_not_used_is_not_called_robust() -> None:
    """Never run, or run without consequence: said plainly, and left out of the ranking."""
    model = Unused().eval()
    found = nf.layer_sensitivity(model, torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    effects = dict(zip([layer.name for layer in found.layers], found.effect[:, 0], strict=True))
    assert effects == {
        "first": Effect.MEASURED,
        "never": Effect.UNUSED,
        "muted": Effect.OUTPUT_UNCHANGED,
        "read": Effect.MEASURED,
    }
    assert sorted(found.ranking()) == ["first", "read"]
    assert set(found.without_effect) == {"never", "muted"}
    assert "does not use" in repr(found)
    assert found.to_dataframe().set_index("layer").loc["muted", "effect"].startswith("no effect")


def test_tied_layers_are_one_layer() -> None:
    """A tensor that two modules share is perturbed in both at once, and the result says so."""
    model, x, _ = make("tied")
    found = nf.layer_sensitivity(model, x, repeats=2)
    assert [(layer.name, layer.shared_with) for layer in found.layers] == [("encode", ("decode",)), ("again", ())]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_left_alone(family: str) -> None:
    """Mode, parameters, buffers, gradients, hooks and all random states are as before, also after an error."""
    model, x, labels = make(family)
    model.train()
    next(model.modules()).register_forward_hook(lambda *_: None)
    next(iter(model.parameters())).grad = torch.ones_like(next(iter(model.parameters())))
    before = copy.deepcopy(model.state_dict())
    modes, hooks = [m.training for m in model.modules()], [len(m._forward_hooks) for m in model.modules()]
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    def bad(outputs: Tensor, labels: Tensor) -> float:
        raise ValueError("no")

    nf.layer_sensitivity(model, (x, labels), nf.sensitivity.METRICS["squared_change"], nf.Rerandomise(), repeats=2)
    with pytest.raises(nf.InvalidInputError, match="metric 'bad'"):
        nf.layer_sensitivity(model, (x, labels), bad)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert bool((next(iter(model.parameters())).grad == 1).all())
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_training_mode_is_measured_in_evaluation_mode() -> None:
    """Dropout and batch statistics play no part."""
    model, x, labels = make("convolutional")
    model = nn.Sequential(model, nn.Dropout(0.5)).eval()
    there = nf.layer_sensitivity(model, (x, labels), repeats=2)
    assert nf.layer_sensitivity(model.train(), (x, labels), repeats=2) == there


def test_data_come_in_any_form() -> None:
    """Tensors, arrays, a Data, a loader of pairs or of mappings: the same numbers, however they are batched."""
    model, x, labels = make("dense")
    expected = nf.layer_sensitivity(model, (x, labels), repeats=2)
    loader = DataLoader(TensorDataset(x, labels), batch_size=8)
    mappings = [{"input": x[i : i + 9], "labels": labels[i : i + 9]} for i in range(0, 40, 9)]
    data = Data(x.numpy(), labels.numpy(), "memory")
    for other in ((x.numpy(), labels.numpy()), loader, mappings, data):
        found = nf.layer_sensitivity(model, other, repeats=2)
        assert found.values == pytest.approx(expected.values, abs=1e-12)
        assert found.data_error == pytest.approx(expected.data_error, rel=1e-9)
        assert found.inputs == 40


def test_a_shuffled_loader_keeps_its_random_state() -> None:
    """Going through a loader does not change what it shuffles next."""
    model, x, labels = make("dense")
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(x, labels), batch_size=8, shuffle=True, generator=generator)
    state = generator.get_state()
    nf.layer_sensitivity(model, loader, repeats=1)
    assert torch.equal(generator.get_state(), state)


def test_draws_do_not_depend_on_the_layers_that_are_asked_for() -> None:
    """A layer's numbers are its own."""
    model, x, labels = make("dense")
    whole = nf.layer_sensitivity(model, (x, labels), repeats=3)
    some = nf.layer_sensitivity(model, (x, labels), repeats=3, layers=["4", "0"])
    assert [layer.name for layer in some.layers] == ["0", "4"]
    assert (some.values[1] == whole.values[2]).all()
    other = nf.layer_sensitivity(model, (x, labels), repeats=3, seed=1, layers=["4"])
    assert (other.output_change != some.output_change[1]).all()


def test_curves_are_the_single_measurements_side_by_side() -> None:
    """Strengths use the same draws, and a curve's points are what each strength gives alone."""
    model, x, labels = make("dense")
    curve = nf.layer_sensitivity(model, (x, labels), "loss", strengths=[0.2, 0.6], repeats=3)
    for s, scale in enumerate((0.2, 0.6)):
        alone = nf.layer_sensitivity(model, (x, labels), "loss", nf.GaussianNoise(scale), repeats=3)
        assert curve.values[:, s] == pytest.approx(alone.values[:, 0], rel=1e-12)


def test_metrics_of_the_whole_see_all_outputs() -> None:
    """A function of all outputs and labels is called once a run, whatever the batches."""
    model, x, labels = make("dense")

    def share(outputs: Tensor, y: Tensor) -> Tensor:
        assert len(outputs) == len(y) == 40
        return (outputs.argmax(1) == y).double().mean()

    found = nf.layer_sensitivity(model, (x, labels), share, repeats=2, batch_size=7)
    built_in = nf.layer_sensitivity(model, (x, labels), "accuracy", repeats=2)
    assert found.values == pytest.approx(built_in.values, abs=1e-12)
    assert found.clean == pytest.approx(built_in.clean)
    assert np.isnan(found.data_error).all()


def test_loss_is_cross_entropy_or_squared_error() -> None:
    """Held against torch's own functions."""
    model, x, labels = make("dense")
    outputs = model(x).detach()
    found = nf.layer_sensitivity(model, (x, labels), "loss", repeats=1)
    assert found.clean == pytest.approx(float(nn.functional.cross_entropy(outputs, labels)))
    assert not found.higher_is_better
    assert found.loss == pytest.approx(found.mean - found.clean)
    real = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert nf.layer_sensitivity(model, (x, real), repeats=1).clean == pytest.approx(
        float(nn.functional.mse_loss(outputs, real))
    )
    binary = nn.Sequential(model, nn.Linear(3, 1).double()).eval()
    y = (labels > 0).long()
    assert nf.layer_sensitivity(binary, (x, y), "loss", repeats=1).clean == pytest.approx(
        float(nn.functional.binary_cross_entropy_with_logits(binary(x).detach().squeeze(1), y.double()))
    )


def test_segmentation_outputs_have_their_classes_second() -> None:
    """Labels of shape (rows, height, width) beside outputs of shape (rows, classes, height, width)."""
    net = nn.Conv2d(2, 4, 1).double().eval()
    x = torch.randn(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = net(x).argmax(1).detach()
    found = nf.layer_sensitivity(nn.Sequential(net), (x, labels), repeats=1)
    assert found.clean == 1.0


def test_intervals_cover_the_expected_value() -> None:
    """Over 200 experiments of 5 draws, the 95% interval over draws holds the true mean about as often."""
    net = nf.random_network(3, 40, 1, 40, "linear", seed=0, dtype=torch.float64)
    x = torch.ones(1, 3, dtype=torch.float64)
    rule = nf.GaussianNoise(0.1, relative_to=None)
    whole = nf.layer_sensitivity(net, x, "squared_change", rule, repeats=1000, layers=["linear1"])
    truth = 0.01 * float(net.readout.weight.detach().square().sum()) * 3.0
    parts = [replace(whole, values=part.reshape(1, 1, 5)) for part in whole.values.reshape(200, 5)]
    hits = sum(bool(abs(part.mean[0, 0] - truth) <= part.interval[0, 0]) for part in parts)
    # 190 +- 3.1 expected; squared changes are a little skewed
    assert 178 <= hits <= 199


def test_models_that_cannot_be_captured_run_as_a_whole() -> None:
    """And the result says why."""
    found = nf.layer_sensitivity(Branching().eval(), torch.randn(8, 5), repeats=1)
    assert not found.provenance["shares_prefix"]
    assert "data-dependent" in found.provenance["why_not"]


def test_integer_inputs_and_mappings_run_as_a_whole() -> None:
    """An embedding takes integers; a model may take its arguments by name and return its logits."""

    class Output:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.read = nn.Embedding(7, 5), nn.Linear(5, 3)

        def forward(self, ids: Tensor, mask: Tensor) -> Output:
            return Output(self.read((self.embed(ids) * mask[..., None]).mean(1)))

    model = Model().eval()
    ids = torch.arange(30).reshape(10, 3) % 7
    loader = [{"ids": ids, "mask": torch.ones(10, 3), "labels": torch.zeros(10, dtype=torch.long)}]
    found = nf.layer_sensitivity(model, loader, "loss", nf.Zero())
    bias = nn.functional.log_softmax(model.read.bias.detach(), 0)[0]
    assert found.values[0, 0, 0] == pytest.approx(float(-bias), rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_transformers_are_measured() -> None:
    """A classifier of the library, batches as mappings with labels: the numbers of the naive loop, by layer."""
    library = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = library.BertForSequenceClassification(library.BertConfig(vocab_size=20, **sizes)).double().eval()
    g = torch.Generator().manual_seed(0)
    ids, labels = torch.randint(0, 20, (12, 5), generator=g), torch.randint(0, 2, (12,), generator=g)
    loader = [{"input_ids": ids[i : i + 6], "labels": labels[i : i + 6]} for i in (0, 6)]
    found = nf.layer_sensitivity(model, loader, "loss", repeats=2)
    layers = weight_layers(model)
    assert [layer.name for layer in found.layers] == [layer.name for layer in layers]
    for i, layer in enumerate(layers):
        for r, changes in enumerate(draws(model, layer, nf.GaussianNoise(0.25), 2, 0)):
            other = copy.deepcopy(model)
            with torch.no_grad():
                for name, value in changes.items():
                    other.get_parameter(name).copy_(value)
                expected = float(other(input_ids=ids, labels=labels).loss)
            assert found.values[i, 0, r] == pytest.approx(expected, rel=1e-12)


def test_exported_programs_are_measured_as_their_module() -> None:
    """A .pt2 file gives the numbers of the module it came from."""
    model, x, labels = make("dense")
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(model, (x[:3],), dynamic_shapes=dynamic)
    here = nf.layer_sensitivity(model, (x, labels), "loss", repeats=2)
    there = nf.layer_sensitivity(exported, (x, labels), "loss", repeats=2)
    assert there.values == pytest.approx(here.values, rel=1e-12)
    assert [layer.name for layer in there.layers] == [layer.name for layer in here.layers]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "f1"}, "metric must be one of"),
        ({"perturbation": "noise"}, "perturbation must be one of GaussianNoise"),
        ({"repeats": 0}, "repeats"),
        ({"layers": ["nine"]}, "'nine'"),
        ({"strengths": []}, "strengths"),
        ({"strengths": [0.1, 0.1]}, "different"),
        ({"strengths": [-1.0]}, "from 0 to"),
        ({"perturbation": nf.Zero(), "strengths": [1.0]}, "no strength"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    model, x, labels = make("dense")
    with pytest.raises(nf.InvalidInputError, match=message):
        nf.layer_sensitivity(model, (x, labels), **arguments)


def test_bad_data_and_models_are_refused() -> None:
    model, x, labels = make("dense")
    cases = [
        (model, (x, labels[:5]), "one label an input"),
        (model, x[:0], "at least one row"),
        (model, torch.full_like(x, torch.nan), "finite"),
        (model, x[:, :3], "cannot be run"),
        (model, "data.npz", "data must be"),
        (nn.ReLU(), x, "no layer with weights"),
        (3, x, "model must be a Module"),
    ]
    for net, data, message in cases:
        with pytest.raises(nf.InvalidInputError, match=message):
            nf.layer_sensitivity(net, data)  # type: ignore[arg-type]
    with pytest.raises(nf.InvalidInputError, match="needs labels"):
        nf.layer_sensitivity(model, x, "accuracy")
    broken = copy.deepcopy(model)
    with torch.no_grad():
        next(iter(broken.parameters()))[0] = torch.nan
    with pytest.raises(nf.InvalidInputError, match="NaN"):
        nf.layer_sensitivity(broken, x)
