"""Items on many threads: nothing is lost, nothing is counted twice, whoever counts and whatever goes wrong."""

from __future__ import annotations

import numpy as np
import pytest

from netfold.exact.cells.counting import queue
from netfold.exact.cells.counting.progress import Bar, Shares
from netfold.exact.cells.counting.queue import Work, on_threads
from netfold.exact.cells.engine import Outcome, Prefix, whole
from tests.exact.cells.counting.trees import Tree

TREE = Tree(12, seed=1)
LEAVES = TREE.leaves()


def nothing() -> None:
    pass


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets so small that even these trees are cut into hundreds of items."""
    monkeypatch.setattr(queue, "SMALLEST", 8)
    monkeypatch.setattr(queue, "LARGEST", 64)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("limits", [(1, 1), (7, 7), (50, 400), (1 << 16, 1 << 20)])
def test_sums_do_not_depend_on_threads_or_budgets(
    monkeypatch: pytest.MonkeyPatch, threads: int, limits: tuple[int, int]
) -> None:
    """Leaves, smallest inradius and decisions are those of one walk through the tree."""
    monkeypatch.setattr(queue, "SMALLEST", limits[0])
    monkeypatch.setattr(queue, "LARGEST", limits[1])
    tree, work = Tree(9, seed=2), Work()
    on_threads(tree, work, threads, nothing, inradius=True)
    assert work.finished
    assert work.sums.regions == tree.leaves()
    assert work.sums.smallest_inradius == tree.smallest()
    assert work.sums.decisions == tree.run(whole()).decisions


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
def test_interrupted_anywhere(seed: int) -> None:
    """After Ctrl-C what is summed up and what is left make the whole: again and again until it is done."""
    tree, rng = Tree(11, seed=3, pause=0.001), np.random.default_rng(seed)
    expected, work, interruptions = tree.leaves(), Work(), 0

    def press() -> None:
        if rng.random() < 0.5:
            raise KeyboardInterrupt

    while True:
        try:
            on_threads(tree, work, 3, press)
            break
        except KeyboardInterrupt:
            interruptions += 1
            sums, items = work.snapshot()
            rest = sum(tree.leaves(tuple(item.tolist())) for item in items)
            assert sums.regions + rest == expected
            work = Work(items, sums)
    assert work.sums.regions == expected
    assert interruptions > 0


@pytest.mark.usefixtures("small")
def test_an_error_leaves_everything_countable() -> None:
    """The error of an item comes out, the other threads stop, and the item waits again."""

    class Fails(Tree):
        def run(self, item: Prefix, **options: object) -> Outcome:
            if len(item) == 7:
                raise MemoryError("too much")
            return super().run(item, **options)  # type: ignore[arg-type]

    work = Work()
    with pytest.raises(MemoryError, match="too much"):
        on_threads(Fails(12, seed=1), work, 2, nothing)
    sums, items = work.snapshot()
    assert not work.under_way
    assert any(len(item) == 7 for item in items)
    again = Work(items, sums)
    on_threads(TREE, again, 2, nothing)
    assert again.sums.regions == LEAVES


@pytest.mark.usefixtures("small")
def test_the_queue_stays_short() -> None:
    """The item last added is taken first: the queue grows with the depth, not with the number of items."""
    work, longest = Work(), 0
    while (taken := work.take(1)) is not None:
        work.finish(taken[0], TREE.run(taken[1], budget=8), 1e-3)
        longest = max(longest, len(work.waiting))
    assert work.sums.regions == LEAVES
    assert work.taken > 500
    assert longest < 3 * 12 * 2


def test_budgets_follow_the_clock() -> None:
    """A budget lasts about as long as asked for; while hands are idle it is small."""
    work = Work([whole()] * 8)
    work.pace.rate = 1000.0
    for _ in range(40):
        work.pace.learn(10_000, 0.1)
    ticket = work.take(2)
    assert ticket is not None
    assert ticket[2] == pytest.approx(100_000 * queue.LONG, rel=0.01)
    work.waiting.clear()
    work.waiting.append(whole())
    ticket = work.take(2)
    assert ticket is not None
    assert ticket[2] == pytest.approx(100_000 * queue.SHORT, rel=0.01)


def test_slow_decisions_keep_budgets_small() -> None:
    """The first budget is the smallest, and so it stays where a decision takes a second; elsewhere it grows at once."""
    slow, fast = queue.Pace(), queue.Pace()
    assert slow.budget(queue.LONG) == queue.SMALLEST
    for _ in range(4):
        slow.learn(queue.SMALLEST, float(queue.SMALLEST))
        fast.learn(fast.budget(queue.LONG), fast.budget(queue.LONG) / 1e6)
    assert slow.budget(queue.LONG) == queue.SMALLEST
    assert fast.budget(queue.LONG) > 4e5


def test_shares_of_a_cut_through_the_tree_are_one() -> None:
    """Shares of items that together hold everything add up to 1; those of finished ones are missing."""
    tree = Tree(10, seed=5, hollow=False)
    items, shares = [whole()], Shares(tree)
    assert shares.left(items) == 1.0
    rng = np.random.default_rng(0)
    done = 0.0
    for _ in range(30):
        node = items.pop(rng.integers(len(items)))
        alone = Shares(tree).left([node])
        below = tree.run(node, stop=len(node) + 1, budget=1)
        if len(node) == tree.depth - 1 or rng.random() < 0.2:
            done += alone
        else:
            items += below.leftover
        assert shares.left(items) == pytest.approx(1.0 - done)
    assert 0 < done < 1


def test_shares_take_no_longer_than_allowed() -> None:
    """Without time nothing is looked up: what waits is taken for whole, never for less than it is."""
    items = TREE.run(whole(), budget=40).leftover
    assert Shares(TREE).left(items, seconds=-1.0) == 1.0


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for, it tells regions and what waits on stderr; by default a pipe sees nothing."""
    for progress, shown in ((True, True), (None, False), (False, False)):
        work = Work()
        bar = Bar(TREE, work, progress)
        bar.show(work)
        on_threads(TREE, work, 1, nothing)
        bar.next = 0.0
        bar.show(work)
        bar.close()
        written = capsys.readouterr()
        assert written.out == ""
        assert (f"{LEAVES:,} regions" in written.err and "100%" in written.err) == shown
        assert bool(written.err) == shown
