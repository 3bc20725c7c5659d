"""Programs that are taken again are those that capturing afresh gives, and every change of a module is noticed."""

from __future__ import annotations

import gc
import signal
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import netfold as nf
from netfold.capture import Program, template
from netfold.capture.reading import read_module
from netfold.capture.template import LARGEST, Templates, architecture
from tests.capture.cases import NETWORKS, Case, Doubled


class Settings:
    """An object that netfold knows nothing of."""

    scale = 1.0


SCALE = [1.0]


class Residual(nn.Module):
    """A block with a functional nonlinearity, a skip connection, and settings of every kind."""

    slope = 0.1

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.scale, self.nested, self.settings = scale, {"a": [1.0, (2.0,)]}, Settings()
        self.constant = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.norm(self.first(x)), self.slope)
        factor = self.scale * self.nested["a"][0] * self.settings.scale * SCALE[0]
        return x + factor * self.second(h) * self.constant.to(x)


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


def normalised() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 1))


def made(make: Callable[[], nn.Module], seed: int) -> Any:
    """A network with weights and statistics of its own, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make()
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.data += 0.3 * torch.rand_like(tensor)
    return net.eval()


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Hardtanh(), nn.Linear(5, 1)), (6,), True),
    "double": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)).double(), (6,), True),
    "residual": (Residual, (6,), False),
    "convolutional": (convolutional, (2, 6, 6), True),
    "smooth": (lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 1)), (6,), True),
    "learnt slope": (lambda: nn.Sequential(nn.Linear(6, 5), nn.PReLU(5), nn.Linear(5, 1)), (6,), False),
    "weight norm": (normalised, (6,), False),
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with an empty memory."""
    monkeypatch.setattr(template.known, "_kept", type(template.known._kept)())


def same_program(one: Program, other: Program) -> bool:
    """Whether two programs are one operation for operation, with the same weights and words."""

    def told(program: Program) -> tuple[Any, ...]:
        nodes = [
            (n.index, n.op, n.target.name, n.inputs, n.path, n.owner, n.source, n.kind, n.reason) for n in program.nodes
        ]
        layers = [(layer.name, layer.op, layer.units, layer.shape, layer.node.index) for layer in program.layers]
        return nodes, layers, program.input_shape, program.output_shape, program.dtype, program.parameters, program.name

    x = torch.randn(16, *one.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return told(one) == told(other) and all(map(torch.equal, one.images(x), other.images(x)))


@pytest.mark.parametrize("case", MODELS)
def test_bound_is_captured(case: str) -> None:
    """A program taken from another module of the same architecture is that of a capture, to the last bit."""
    make, shape, bindable = MODELS[case]
    first, net = made(make, 0), made(make, 1)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    state = torch.random.get_rng_state()
    program, found = template.known.read(first, shape)
    assert found is not None
    assert found.bindable == bindable
    bound, after = template.known.read(net, shape)
    assert (after is found) == bindable or case == "residual"
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert same_program(bound, read_module(net, shape).program)
    assert not same_program(bound, program)
    assert nf.capture(net, shape=shape) is bound


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_a_program_is_taken_again(case: Case) -> None:
    """The second capture of a module gives the program of the first; that of one like it an equal one."""
    model = case.model()
    program = nf.capture(model, shape=case.shape)
    assert nf.capture(model, shape=case.shape) is program
    assert same_program(nf.capture(case.model(), shape=case.shape), program)


def step(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    model.zero_grad()


def swapped(model: Any) -> None:
    model.second = made(lambda: nn.Linear(6, 6), 5)


def written_by_numpy(model: Any) -> None:
    """No version of a tensor counts this."""
    model.first.weight.detach().numpy()[0] += 1


def hooked(model: Any) -> None:
    model.first.register_forward_hook(lambda module, given, result: 2 * result)


def raised(module: nn.Module, given: Any, result: Any) -> Any:
    return result + 1 if isinstance(module, nn.Linear) else None


def other_forward(model: Any) -> None:
    model.forward = lambda x: torch.relu(model.first(x))


def set_(name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(model, name, value)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "data.add_": lambda m: m.first.weight.data.add_(0.1),
    "copy_": lambda m: m.first.weight.data.copy_(torch.ones(6, 6)),
    "a bias of one unit": lambda m: m.first.bias.data[2:3].add_(1e-3),
    "data replaced": lambda m: set_("data", torch.ones(6, 6))(m.first.weight),
    "a parameter replaced": lambda m: set_("weight", nn.Parameter(torch.ones(6, 6)))(m.second),
    "numpy": written_by_numpy,
    "an optimizer's step": step,
    "load_state_dict": lambda m: m.load_state_dict(made(Residual, 7).state_dict()),
    "pruning": lambda m: prune.random_unstructured(m.first, "weight", amount=0.5),
    "to double": lambda m: m.double(),
    "running statistics": lambda m: m.norm.running_mean.add_(1.0),
    "a constant": lambda m: m.constant.mul_(2.0),
    "a swapped module": swapped,
    "a module without its bias": lambda m: set_("bias", None)(m.first),
    "tied weights": lambda m: set_("weight", m.first.weight)(m.second),
    "a forward of its own": other_forward,
    "an attribute": set_("scale", 2.0),
    "another zero": set_("scale", 0),
    "a nested attribute": lambda m: m.nested["a"].__setitem__(0, 3.0),
    "an object's attribute": lambda m: set_("scale", 2.0)(m.settings),
    "a class's attribute": lambda m: set_("slope", 0.9)(Residual),
    "a class's forward": lambda m: set_("forward", lambda self, x: torch.relu(self.first(x)))(Residual),
    "a global": lambda m: SCALE.__setitem__(0, 2.0),
    "a global by a little": lambda m: SCALE.__setitem__(0, 1.0 + 2**-40),
    "a function of torch": lambda m: set_("leaky_relu", lambda x, slope: torch.clamp(x, -1e6, 1e6))(F),
    "a hook": hooked,
    "a hook of all modules": lambda m: nn.modules.module.register_module_forward_hook(raised),
    "a parametrization": lambda m: parametrize.register_parametrization(m.first, "weight", Doubled()),
}
"""Ways in which a module can come to compute something else."""


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is not the module's own is put back."""
    for owner, name in ((Residual, "slope"), (Residual, "forward"), (F, "leaky_relu")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    yield
    SCALE[0] = 1.0
    nn.modules.module._global_forward_hooks.clear()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed(change: str) -> None:
    """After any change the program is that of a capture of the module as it is now, and its values are the module's."""
    net = made(Residual, 0)
    before = nf.capture(net, shape=(6,))
    CHANGES[change](net)
    net.eval()
    after = nf.capture(net, shape=(6,))
    assert after is not before
    assert same_program(after, read_module(net, (6,)).program)
    x = 3 * torch.randn(32, 6, generator=torch.Generator().manual_seed(2)).to(after.dtype)
    with torch.no_grad():
        torch.testing.assert_close(after(x.double()).to(after.dtype), net(x), rtol=1e-4, atol=1e-4)


def test_changes_that_are_taken_back_are_noticed() -> None:
    """A hook that is removed, a gradient that is no longer wanted, a mode that is left."""
    net = made(Residual, 0)
    plain = nf.capture(net, shape=(6,))
    handle = net.first.register_forward_hook(lambda module, given, result: 2 * result)
    hooked = nf.capture(net, shape=(6,))
    handle.remove()
    assert not same_program(hooked, plain)
    assert same_program(nf.capture(net, shape=(6,)), plain)
    net.first.requires_grad_(False)
    assert same_program(nf.capture(net, shape=(6,)), plain)
    with pytest.raises(nf.CaptureError, match="as in training"):
        nf.capture(net.train(), shape=(6,))
    assert same_program(nf.capture(net.eval(), shape=(6,)), plain)


def test_what_else_a_capture_depends_on() -> None:
    """Another shape of the input, and another default number type, give other programs."""
    net = nn.Sequential(nn.Flatten(), nn.ReLU())
    programs = [nf.capture(net, shape=shape) for shape in ((2, 3), (6,))]
    assert [program.input_shape for program in programs] == [(2, 3), (6,)]
    torch.set_default_dtype(torch.float64)
    try:
        assert nf.capture(net, shape=(6,)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


class Mixing(nn.Module):
    """Adds a part of the mean over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.gate * x.mean(0, keepdim=True))


def test_what_weights_have_hidden_is_proved_anew() -> None:
    """Points that are mixed only once a weight is not zero are refused then, as by a capture."""
    net = Mixing()
    nf.capture(net, shape=(3,))
    net.gate.data.fill_(0.5)
    with pytest.raises(nf.CaptureError, match="mixes the points of a batch"):
        nf.capture(net, shape=(3,))


def test_later_changes_do_not_reach_a_program() -> None:
    """Programs hold copies, also of weights in float64; one whose own weights were written to is not given again."""
    make, shape, _ = MODELS["double"]
    net = made(make, 1)
    x = torch.ones(1, 6, dtype=torch.float64)
    programs = [nf.capture(net, shape=shape)]
    net[0].weight.data.add_(1.0)
    programs.append(nf.capture(net, shape=shape))
    before = [program(x) for program in programs]
    net[0].weight.data.zero_()
    assert all(torch.equal(program(x), y) for program, y in zip(programs, before, strict=True))
    programs = [nf.capture(net, shape=shape)]
    programs[0].nodes[0].args[1].fill_(1.0)
    assert same_program(nf.capture(net, shape=shape), read_module(net, shape).program)


def test_what_is_another_architecture() -> None:
    """Settings, modes, hooks, shapes and shared weights tell networks apart; values of weights do not."""

    def plain() -> Any:
        return nn.Sequential(nn.Linear(6, 6), nn.LeakyReLU(), nn.Linear(6, 6))

    first = architecture(plain())
    assert architecture(made(plain, 3)) == architecture(made(plain, 4)) == architecture(plain().eval())
    others = [plain().eval().train(), *(plain() for _ in range(5))]
    others[0].eval()
    others[1][1].negative_slope = 0.2
    others[2][0].register_forward_hook(lambda module, given, result: 2 * result)
    others[3][2].weight = others[3][0].weight
    others[4].double()
    others[5].train(False)[0].requires_grad_(False)
    assert len({first, *map(architecture, others)}) >= 6


def test_bad_weights_are_refused_as_by_capture() -> None:
    """NaN by name; numbers that get too large by the layer where they do; weights without values."""
    make, shape, _ = MODELS["double"]
    nf.capture(made(make, 0), shape=shape)
    holed, huge = made(make, 1), made(make, 2)
    holed[0].weight.data[0, 0] = float("nan")
    with pytest.raises(nf.InvalidInputError, match=r"'0\.weight' holds 1 values that are NaN"):
        nf.capture(holed, shape=shape)
    for layer in (huge[0], huge[2]):
        layer.weight.data.fill_(1e200)
    with pytest.raises(nf.CaptureError, match="NaN or infinite"):
        nf.capture(huge, shape=shape)
    with pytest.raises(nf.InvalidInputError, match="has no values yet"):
        nf.capture(made(make, 0).to("meta"), shape=shape)


def test_nothing_of_the_user_is_kept() -> None:
    """A module dies with its last name, and so do its hooks, its settings and what they refer to."""

    def captured() -> list[weakref.ref]:
        net: Any = made(Residual, 0)
        net.function = lambda: net
        net.register_forward_hook(lambda module, given, result: result + 0 * net.scale)
        assert nf.capture(net, shape=(6,)) is nf.capture(net, shape=(6,))
        return [weakref.ref(each) for each in (net, net.first, net.settings, net.first.weight)]

    gone = captured()
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)


def test_memory_is_bounded() -> None:
    """So many programs are kept, those used last, and of a large one only what holds no weights."""
    few = Templates(most=2)
    for width in (3, 4, 3, 5, 3, 4):
        few.read(nf.random_network(2, width, 1), (2,))
    assert [each.program.layers[0].units for each in few._kept.values()] == [3, 4]
    nets = [nn.Sequential(nn.Linear(2, width), nn.ReLU()) for width in (1, 2, 3)]
    programs = [few.read(net, (2,))[0] for net in nets]
    assert len(few._kept) == 2
    assert few.read(nets[2], (2,))[0] is programs[2]
    assert few.read(nets[0], (2,))[0] is not programs[0]
    large = nn.Sequential(nn.Linear(LARGEST // 100, 101), nn.ReLU())
    shape = (LARGEST // 100,)
    first, found = few.read(large, shape)
    assert found is not None
    assert found.last is None
    again, same = few.read(large, shape)
    assert same is found
    assert again is not first
    assert same_program(again, first)


def test_threads_and_interrupts() -> None:
    """Threads that capture one module at once all get its program; Ctrl-C on the way leaves nothing half done."""
    nets = [made(MODELS["dense"][0], seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        programs = list(pool.map(lambda net: nf.capture(net, shape=(6,)), 8 * nets))
    assert all(same_program(p, programs[i % 4]) for i, p in enumerate(programs))
    net = made(Residual, 0)
    plain = nf.capture(net, shape=(6,))
    pressed = net.second.register_forward_hook(lambda *given: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        nf.capture(net, shape=(6,))
    pressed.remove()
    assert same_program(nf.capture(net, shape=(6,)), plain)
