"""Forged proofs: damage of many kinds to the text of a proof, and a checker that believes what a proof says of itself.

A proof may be damaged and still prove the same true count: another point in the same region, a lemma that nobody
needs. What must never be is an accepted proof of a false one. `believing` is the harder test: it takes every count in
a proof for right, so that a forgery need not fit them; what it then counts must be the true number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import netfold as nf
from netfold.exact.proofs import check_regions as rules
from tests.exact.cells import networks

Lines = list[str]


class Believing(rules.Proof):
    """Reads the counts of a proof and believes them whatever they are."""

    def regions(self, depth, values, walls, m):
        """The number of regions in a cell, whatever the proof says it is."""
        block, total = rules.CutBlock(m, self.layers[depth - 1], values), 0
        shown, excluded = self.tokens(depth, block, walls) if block.cuts else ({0}, set())
        codes = block.cells(shown, excluded)
        if depth == len(self.layers):
            return len(codes)
        for code in codes:
            if depth == 1:
                rules.require(next(self.lines, "").split()[:1] == ["="], "a count was due")
            own, outputs = block.inside(code, excluded)
            inner = [*walls, *([sign * v for v in block.cuts[j]] for j, sign in own)]
            total += self.regions(depth + 1, [*values, outputs], inner, m)
        return total


def believing(data: bytes, lines: Lines) -> int:
    """What a proof shows, whatever it claims."""
    m, layers, walls = rules.read_statement(data)
    proof = Believing(iter(lines[1:]), layers, 1 << 60, 0, 1)
    shown, excluded = proof.tokens(0, rules.CutBlock(m), walls)
    rules.require(bool(shown) != (0 in excluded), "the domain")
    inputs = 1, [[int(i == k) for k in range(m + 1)] for i in range(m)]
    found = proof.regions(1, [inputs], walls, m) if shown else 0
    rules.require(next(proof.lines, None) is None, "the proof goes on")
    return found


def proofs(folder: Path, seed: int) -> Iterator[tuple[bytes, Lines, int]]:
    """Statements, proofs and counts of random networks, ordinary and degenerate, on all kinds of domains."""
    for number in range(seed, seed + 10**6):
        rng = random.Random(number)
        m = rng.randint(1, 3)
        generator = networks.np.random.default_rng(number)
        flaws = rng.sample(networks.FLAWS, rng.randint(0, 2))
        widths = [rng.randint(1, 4) for _ in range(rng.randint(1, 3))]
        layers = networks.random_layers(generator, m, widths, integers=rng.random() < 0.5, flaws=flaws)
        domain = rng.choice([None, nf.Box([-1.0] * m, [2.0] * m), nf.Polytope([[1.0] * m], [1.0])])
        proof = folder / f"{number}.nfp"
        net = networks.module(layers)
        count = nf.count_regions(net, domain, shape=(m,), proof=proof, threads=1, progress=False)
        statement = folder / f"{number}.statement.json"
        yield statement.read_bytes(), proof.read_text().splitlines(), int(count)


def mutated(lines: Lines, rng: random.Random) -> Lines:
    """The lines with one to three pieces of damage."""
    new = list(lines)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice(DAMAGE)(new, rng)
    return new


def _some(
    lines: Lines, rng: random.Random, which: Callable[[str], bool] = lambda line: line[:1].isdigit()
) -> int | None:
    places = [i for i, line in enumerate(lines) if which(line)]
    return rng.choice(places) if places else None


def _on_tokens(change: Callable[[list[list[str]], random.Random], None]) -> Callable[[Lines, random.Random], None]:
    def damage(lines: Lines, rng: random.Random) -> None:
        at = _some(lines, rng)
        if at is not None:
            head, *columns = lines[at].split(";")
            tokens = [column.split() for column in columns]
            change(tokens, rng)
            lines[at] = ";".join([head, *(" ".join(column) for column in tokens)])

    return damage


def _pick(tokens: list[list[str]], rng: random.Random) -> tuple[list[str], int] | None:
    places = [(column, i) for column in tokens for i in range(len(column))]
    return rng.choice(places) if places else None


def _drop(tokens: list[list[str]], rng: random.Random) -> None:
    if found := _pick(tokens, rng):
        found[0].pop(found[1])


def _repeat(tokens: list[list[str]], rng: random.Random) -> None:
    if found := _pick(tokens, rng):
        found[0].append(found[0][found[1]])


def _move(tokens: list[list[str]], rng: random.Random) -> None:
    if (found := _pick(tokens, rng)) and tokens:
        rng.choice(tokens).append(found[0].pop(found[1]))


def _flip(tokens: list[list[str]], rng: random.Random) -> None:
    if found := _pick(tokens, rng):
        column, i = found
        mask, colon, rest = column[i].partition(":")
        column[i] = f"{int(mask, 16) ^ 1 << rng.randrange(12):x}{colon}{rest}"


def _number(tokens: list[list[str]], rng: random.Random) -> None:
    stars = [i for i, token in enumerate(tokens[0]) if ":" in token] if tokens else []
    if stars:
        i = rng.choice(stars)
        mask, _, rest = tokens[0][i].partition(":")
        numbers = [int(v) for v in rest.split(",")]
        k = rng.randrange(len(numbers))
        numbers[k] = rng.choice([numbers[k] + 1, -numbers[k], 0, numbers[k] * 1000, rng.randint(-99, 99)])
        tokens[0][i] = f"{mask}:{','.join(map(str, numbers))}"


def _new_lemma(tokens: list[list[str]], rng: random.Random) -> None:
    if len(tokens) == 3:
        tokens[2].append(f"{rng.randrange(1, 1 << 10):x}")


def _new_star(tokens: list[list[str]], rng: random.Random) -> None:
    if tokens:
        numbers = ",".join(str(rng.randint(-9, 9)) for _ in range(rng.randint(1, 4)))
        tokens[0].append(f"{rng.randrange(1 << 8):x}" + rng.choice(["", f":{numbers}"]))


def _shuffle(tokens: list[list[str]], rng: random.Random) -> None:
    for column in tokens:
        rng.shuffle(column)


def _empty(tokens: list[list[str]], rng: random.Random) -> None:
    if tokens:
        rng.choice(tokens).clear()


def _drop_line(lines: Lines, rng: random.Random) -> None:
    if len(lines) > 1:
        lines.pop(rng.randrange(1, len(lines)))


def _repeat_line(lines: Lines, rng: random.Random) -> None:
    if len(lines) > 1:
        at = rng.randrange(1, len(lines))
        lines.insert(rng.randrange(1, len(lines) + 1), lines[at])


def _swap_lines(lines: Lines, rng: random.Random) -> None:
    if len(lines) > 2:
        i, j = rng.sample(range(1, len(lines)), 2)
        lines[i], lines[j] = lines[j], lines[i]


def _depth(lines: Lines, rng: random.Random) -> None:
    at = _some(lines, rng)
    if at is not None:
        lines[at] = f"{rng.randint(0, 4)};{lines[at].partition(';')[2]}"


def _part(lines: Lines, rng: random.Random) -> None:
    at = _some(lines, rng, lambda line: line.startswith("="))
    if at is not None:
        _, regions, size = lines[at].split()
        lines[at] = f"= {int(regions) + rng.choice([-1, 0, 1])} {max(0, int(size) + rng.choice([-1, 0, 1]))}"


def _claim(lines: Lines, rng: random.Random) -> None:
    *head, claim = lines[0].split(" ")
    if claim.isdigit():
        lines[0] = " ".join([*head, str(max(0, int(claim) + rng.choice([-1, 1, 10])))])


def _cut(lines: Lines, rng: random.Random) -> None:
    del lines[rng.randrange(1, len(lines) + 1) :]


def _letter(lines: Lines, rng: random.Random) -> None:
    at = rng.randrange(len(lines))
    if lines[at]:
        i = rng.randrange(len(lines[at]))
        lines[at] = lines[at][:i] + rng.choice("0123456789abcdef;:, =-") + lines[at][i + 1 :]


DAMAGE: list[Callable[[Lines, random.Random], None]] = [
    *map(_on_tokens, (_drop, _repeat, _move, _flip, _flip, _number, _new_lemma, _new_star, _shuffle, _empty)),
    *(_drop_line, _repeat_line, _swap_lines, _depth, _part, _claim, _cut, _letter),
]


def attacked(folder: Path, seed: int, mutations: int, each: int = 40) -> dict[str, int]:
    """How often damaged proofs were refused, accepted with the true count, or with a false one; and so by `believing`."""
    ends = dict.fromkeys(("refused", "true", "false", "believed false"), 0)
    for data, lines, count in islice(proofs(folder, seed), -(-mutations // each)):
        rng = random.Random(seed)
        for _ in range(each):
            forged = mutated(lines, rng)
            try:
                ends["true" if rules.check(data, iter(forged)) == count else "false"] += 1
            except EXPECTED:
                ends["refused"] += 1
            try:
                ends["believed false"] += believing(data, forged) != count
            except EXPECTED:
                continue
    return ends


EXPECTED = (rules.Refused, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError)
"""What the checker's `verdict` takes for a refusal."""
