"""The callbacks in the real libraries, training a small real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import netfold as nf
from netfold.training import frameworks

X = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long()
LINE = nf.Line([-1.0, 0.5, 0.0, 1.0], [1.0, -0.5, 2.0, 0.0])


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 2))


def monitor() -> nf.monitors.Monitor:
    return nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=4, budget=None)


class TestLightning:
    lightning: Any = None

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        self.lightning = pytest.importorskip("lightning.pytorch")

    def fit(
        self, folder: Path, callbacks: list[Any], steps: int, checkpoint: Path | None = None, logger: Any = None
    ) -> tuple[Any, Any]:
        lightning = self.lightning

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = network()

            def forward(self, x: Tensor) -> Tensor:
                return self.net(x)

            def training_step(self, batch: Any, index: int) -> Tensor:
                return cross_entropy(self(batch[0]), batch[1])

            def configure_optimizers(self) -> Any:
                return torch.optim.Adam(self.parameters(), 0.01)

        lightning.seed_everything(3)
        logger = logger or lightning.loggers.CSVLogger(folder, name="logs", version=0)
        trainer = lightning.Trainer(
            max_steps=steps, callbacks=callbacks, logger=logger, accelerator="cpu", enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1, default_root_dir=folder,
        )  # fmt: skip
        module = Module()
        loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
        trainer.fit(module, loader, ckpt_path=checkpoint)
        return trainer, module

    @pytest.mark.filterwarnings("ignore")
    def test_it_measures_logs_and_does_not_disturb(self, tmp_path: Path) -> None:
        """Steps 0, 4, 8 in the history and in the logger; weights bit for bit as without; resumed from a checkpoint."""
        watched = monitor()
        trainer, module = self.fit(tmp_path / "a", [nf.monitors.lightning_callback(watched)], 10)
        _, plain = self.fit(tmp_path / "b", [], 10)
        assert watched.history.steps == [0, 4, 8]
        pairs = zip(module.state_dict().values(), plain.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        logged = (tmp_path / "a" / "logs" / "version_0" / "metrics.csv").read_text()
        assert "netfold/regions" in logged
        assert "netfold/length/net.0 - net.2 relu" in logged
        trainer.save_checkpoint(tmp_path / "c.ckpt")
        resumed = monitor()
        self.fit(tmp_path / "d", [nf.monitors.lightning_callback(resumed)], 14, tmp_path / "c.ckpt")
        assert resumed.history.steps == [0, 4, 8, 12]
        assert resumed.history.records[:3] == watched.history.records


class Classifier(nn.Module):
    """What a Hugging Face Trainer trains: takes labels, gives the loss with the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.net(x)
        return {"loss": cross_entropy(logits, labels), "logits": logits} if labels is not None else {"logits": logits}


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": X[index], "labels": Y[index]}


class TestTransformers:
    transformers: Any = None

    @pytest.fixture(autouse=True)
    def _library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        self.transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")

    def trainer(self, folder: Path, callbacks: list[Any], steps: int, report_to: tuple[str, ...] = ()) -> Any:
        arguments = self.transformers.TrainingArguments(
            output_dir=str(folder), max_steps=steps, per_device_train_batch_size=16, learning_rate=0.01, seed=3,
            use_cpu=True, report_to=list(report_to), logging_steps=5, save_steps=6, disable_tqdm=True,
        )  # fmt: skip
        return self.transformers.Trainer(Classifier(), arguments, train_dataset=Rows(), callbacks=callbacks)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("attached", [False, True])
    def test_it_measures_logs_and_does_not_disturb(self, tmp_path: Path, attached: bool) -> None:
        """Steps 0, 4, 8 in the history and in the log; weights bit for bit as without."""
        watched = nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=4, budget=None, part=lambda model: model.net)
        callback = nf.monitors.transformers_callback(watched)
        with_it = self.trainer(tmp_path / "a", [callback], 10)
        if attached:
            callback.attach(with_it)
        with_it.train()
        plain = self.trainer(tmp_path / "b", [], 10)  # making it sets the seed
        plain.train()
        assert watched.history.steps == [0, 4, 8]
        assert watched.history.missed == {}
        pairs = zip(with_it.model.state_dict().values(), plain.model.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        logged = [entry["step"] for entry in with_it.state.log_history if "netfold/regions" in entry]
        assert logged == [0, 4, 8]

    @pytest.mark.filterwarnings("ignore")
    def test_it_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        """Resumed at step 6 with a fresh monitor: the history begins with what the checkpoint held."""
        first = nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=2, budget=None, part=lambda model: model.net)
        self.trainer(tmp_path, [nf.monitors.transformers_callback(first)], 8).train()
        second = nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=2, budget=None, part=lambda model: model.net)
        self.trainer(tmp_path, [nf.monitors.transformers_callback(second)], 10).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-6")
        )
        assert second.history.steps == [0, 2, 4, 6, 8, 10]
        assert second.history.records[:4] == first.history.records[:4]


@pytest.mark.parametrize("make", [frameworks.lightning_callback, frameworks.transformers_callback])
def test_without_the_library_it_says_what_to_install(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frameworks, "_imported", lambda name: None)
    with pytest.raises(nf.InvalidInputError, match="pip install"):
        make(monitor())
