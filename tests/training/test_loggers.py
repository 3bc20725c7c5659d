"""What the documented lines hand to TensorBoard and MLflow is read back from their files by the libraries themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netfold as nf
from tests.training import test_frameworks
from tests.training.test_frameworks import monitor, network

Read = dict[str, list[tuple[int, float]]]


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's folders of files need no database, and its small package has nothing else."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def trained(log: Callable[[dict[str, float], int], Any]) -> nf.monitors.History:
    """Ten steps of a plain loop."""
    watched, net = monitor(), network()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for step in range(10):
        numbers = watched(net, step)
        if numbers is not None:
            log(numbers, step)
        optimizer.zero_grad()
        net(torch.ones(4, 4)).square().sum().backward()
        optimizer.step()
    return watched.history


def same(read: Read, history: nf.monitors.History, prefix: str = "", plain: bool = True) -> None:
    """Every number of the history at its step, and no other."""
    told = {name: history[name] for name in history.names}
    expected = {prefix + name: values for name, values in (nf.monitors.plain_names(told) if plain else told).items()}  # type: ignore[arg-type]
    assert history.steps == [0, 4, 8]
    assert {name for name in read if name.startswith(prefix)} >= set(expected)
    for name, values in expected.items():
        assert [step for step, _ in read[name]] == history.steps
        assert np.allclose([value for _, value in read[name]], values, rtol=1e-6)


def of_tensorboard(folder: Path) -> Read:
    """All scalars below a folder."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def of_mlflow(client: Any, run: str) -> Read:
    """All metrics of a run."""
    names = client.get_run(run).data.metrics
    return {name: [(m.step, m.value) for m in client.get_metric_history(run, name)] for name in names}


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path) -> None:
    """From a plain loop, under the names of the tables."""
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:

        def log(numbers: dict[str, float], step: int) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)

        history = trained(log)
    same(of_tensorboard(tmp_path), history, plain=False)


@pytest.mark.filterwarnings("ignore")
def test_mlflow(tmp_path: Path) -> None:
    """From a plain loop, under plain names."""
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        history = trained(lambda numbers, step: mlflow.log_metrics(nf.monitors.plain_names(numbers), step=step))
    same(of_mlflow(mlflow.MlflowClient(), run.info.run_id), history)


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_hands_them_to_what_it_reports_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attached callback, through the trainer's own log, to TensorBoard."""
    pytest.importorskip("tensorboard")
    pytest.importorskip("accelerate")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    watched = nf.monitors.Monitor(
        nf.monitors.AlongPaths(test_frameworks.LINE), every=4, budget=None, part=lambda model: model.net
    )
    callback, training = nf.monitors.transformers_callback(watched), test_frameworks.TestTransformers()
    training.transformers = pytest.importorskip("transformers")
    trainer = training.trainer(tmp_path, [callback], 10, ("tensorboard",))
    callback.attach(trainer)
    trainer.train()
    read = of_tensorboard(tmp_path / "logs")
    same({name.removeprefix("train/"): values for name, values in read.items()}, watched.history, "netfold/")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["tensorboard", "mlflow"])
def test_lightning_hands_them_to_its_loggers(tmp_path: Path, library: str) -> None:
    """The callback through Lightning's own logger of either."""
    pytest.importorskip(library)
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    uri = (tmp_path / "runs").as_uri()
    ways = {
        "tensorboard": lambda: loggers.TensorBoardLogger(tmp_path, name="logs", version=0),
        "mlflow": lambda: loggers.MLFlowLogger(tracking_uri=uri),
    }
    logger, watched = ways[library](), monitor()
    training = test_frameworks.TestLightning()
    training.lightning = pytest.importorskip("lightning.pytorch")
    training.fit(tmp_path, [nf.monitors.lightning_callback(watched)], 10, logger=logger)
    read = of_tensorboard(tmp_path / "logs" / "version_0") if library == "tensorboard" else None
    same(read or of_mlflow(logger.experiment, logger.run_id), watched.history, "netfold/")
