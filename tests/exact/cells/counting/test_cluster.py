"""The same count on a Dask cluster of real worker processes, some of which are killed on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import netfold as nf
from netfold.errors import InvalidInputError, NetfoldError
from netfold.exact.cells.counting import cluster, queue
from netfold.exact.cells.counting.cluster import on_cluster, require_client
from netfold.exact.cells.counting.queue import Work
from tests.exact.cells.counting.trees import Tree
from tests.exact.cells.networks import COUNTS, case, module

distributed = pytest.importorskip("distributed")


def nothing() -> None:
    pass


@contextmanager
def preloading(context: Any, modules: list[str]) -> Iterator[None]:
    """Fork servers started from here on import some modules first."""
    context().set_forkserver_preload(modules)
    yield


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A scheduler and two worker processes of one thread each; what a dying worker is at is netfold's to repeat."""
    import dask
    from distributed.utils import get_mp_context

    # Workers are forked from a process that has imported netfold already, so that a new one is there at once.
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.multiprocessing-method": "forkserver"}
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        dask.config.set(settings),
        preloading(get_mp_context, ["distributed", "netfold", "netfold.exact.cells.counting.cluster"]),
        distributed.LocalCluster(**options, silence_logs=50) as local,
        distributed.Client(local) as connected,
    ):
        yield connected


def test_worker_killed_on_the_way(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is killed while it counts: nothing is lost and nothing is counted twice."""
    monkeypatch.setattr(queue, "SMALLEST", 8)
    monkeypatch.setattr(queue, "LARGEST", 16)
    tree, work, killed = Tree(9, seed=2, pause=0.005), Work(), []

    def tick() -> None:
        if not killed and work.taken > 40:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    on_cluster(client, tree, work, tick, inradius=True)
    assert killed
    assert work.sums.regions == tree.leaves()
    assert work.sums.smallest_inradius == tree.smallest()


def test_interrupted_and_resumed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C tasks are called off, and what is left makes the whole."""
    monkeypatch.setattr(queue, "SMALLEST", 8)
    monkeypatch.setattr(queue, "LARGEST", 64)
    tree, work = Tree(9, seed=2), Work()

    def press() -> None:
        if work.taken > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_cluster(client, tree, work, press)
    assert not work.finished
    sums, items = work.snapshot()
    again = Work(items, sums)
    on_cluster(client, tree, again, nothing)
    assert again.sums.regions == tree.leaves()


class Other(Tree):
    """A tree that every process takes for another one."""

    @property
    def fingerprint(self) -> dict[str, str]:
        return {"domain": "none", "network": str(os.getpid()), "rule": "leaves"}


class Deadly(Tree):
    """A tree with one item that kills whoever counts it."""

    def run(self, item: Any, **options: Any) -> Any:
        if len(item) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(item, **options)


def test_worker_with_another_tree(client: Any) -> None:
    """A worker that does not make the same tree of the network is found out."""
    with pytest.raises(NetfoldError, match="same netfold"):
        on_cluster(client, Other(5), Work(), nothing)


def test_what_is_no_client() -> None:
    """Anything else is refused by name."""
    with pytest.raises(InvalidInputError, match="got str"):
        require_client("tcp://somewhere:8786")


def test_a_network_on_a_cluster(client: Any, tmp_path: Path) -> None:
    """Through the front door: workers get the network, the count is the known one, and the checkpoint holds it."""
    net = nf.capture(module(case("M1")), shape=(4,))
    count = nf.count_regions(net, client=client, checkpoint=tmp_path / "count.json")
    assert int(count) == COUNTS["M1"]
    assert nf.count_regions(net, checkpoint=tmp_path / "count.json", threads=1) == count
    with pytest.raises(InvalidInputError, match="either threads or a client"):
        nf.count_regions(net, client=client, threads=2)


def test_item_that_kills_every_worker(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after some tries, with an error that says so, and stays countable."""
    monkeypatch.setattr(cluster, "TRIES", 1)
    work = Work()
    with pytest.raises(NetfoldError, match="given up"):
        on_cluster(client, Deadly(5), work, nothing)
    assert len(work.waiting) == 1
