"""Check a proof of how many activation regions a network has: ``python -I -S check_regions.py STATEMENT PROOF``.

Standard library and integers only; rules and reasons: docs/proofs.md. With ``PART PARTS`` only that share of the first
layer's cells is checked. Status: 0 accepted, 1 refused, 2 not checked. An affine function is a list of integers, the
constant last. A *cell* is where its *walls* are positive; all layers so far are affine on it, and the *cuts* of the
next divide it. Of *literals* bit 2 j: cut j > 0; bit 2 j + 1: cut j < 0.
"""

import gzip
import hashlib
import json
import re
import sys
from bisect import bisect_left
from fractions import Fraction
from itertools import accumulate, combinations, count, islice
from math import gcd, lcm
from operator import mul

STATEMENT_BYTES, LINE_BYTES, DIGITS = 2**28, 2**26, 4000  # of what is read: so no file fills the memory
LAYERS, CELLS = 200, 2**21  # of a network; of a layer in one cell of the layers before it


class Refused(Exception):
    """The proof does not prove what it says."""


def require(holds, reason):
    if not holds:
        raise Refused(reason)


def scaled(row, width):
    """Numbers, each an integer, a decimal (the float64 nearest to it) or "p/q": as integers, and what divides them."""
    for value in row:
        fraction = type(value) is str and re.fullmatch(f"-?[0-9]{{1,{DIGITS}}}/[0-9]{{1,{DIGITS}}}", value)
        require(fraction or type(value) in (int, float), "a number was due")
    require(len(row) == width, f"a row of {width} numbers was due")
    scale = lcm(*(Fraction(v).denominator for v in row))
    return [int(Fraction(v) * scale) for v in row], scale


def entries(part, *names):
    """The entries of an object of the statement, which is read as pairs of a name and a value."""
    require(type(part) is tuple and sorted(n for n, _ in part) == sorted(names), f"a part has just {names}, once each")
    return [dict(part)[name] for name in names]


class StatedLayer:
    """Rows over the outputs of earlier layers, and the units that read them."""

    def __init__(self, part, widths):
        self.sources, weight, bias, units = entries(part, "from", "weight", "bias", "units")
        require(all(type(s) is int and 0 <= s < len(widths) for s in self.sources), "a layer reads earlier layers")
        require(len(weight) == len(bias) > 0, "a layer has a row, and a bias for each")
        self.rows = [scaled([*w, b], sum(widths[s] for s in self.sources) + 1) for w, b in zip(weight, bias)]
        self.groups = entries(units, "max")[0] if dict(units).keys() == {"max"} else None
        if self.groups is None:
            knots, slopes, offsets = entries(units, "knots", "slopes", "offsets")
            require(len(slopes) == len(offsets) == len(knots) + 1, "there is one piece more than knots")
            self.knots, n = scaled(knots, len(knots))
            self.divisor, self.pieces = n, [scaled(piece, 2) for piece in zip(slopes, offsets)]
            joints = zip(self.knots, self.pieces, self.pieces[1:])
            jumps = [(a * q - c * p) * t + (b * q - d * p) * n for t, ((a, b), p), ((c, d), q) in joints]
            require(sorted(set(self.knots)) == self.knots and not any(jumps), "knots increase, and no unit jumps")
        else:
            named = all(group and all(type(r) is int and 0 <= r < len(weight) for r in group) for group in self.groups)
            require(named and self.groups, "a maximum is one of rows")
        self.width = len(self.groups or self.rows)


def read_statement(data):
    """The number of inputs, the layers, and the walls of the domain."""
    parsed = json.loads(data, object_pairs_hook=tuple)
    version, m, parts, domain = entries(parsed, "format", "inputs", "layers", "domain")
    require(version == "netfold-statement 1", "a statement of version 1 was due")
    require(type(m) is int and 0 < m <= 2**16 and 0 < len(parts) <= LAYERS, "inputs or layers: none, or too many")
    layers = []
    for part in parts:
        layers.append(StatedLayer(part, [m, *(layer.width for layer in layers)]))
    return m, layers, [scaled(row, m + 1)[0] for row in domain]


def dot(a, b):
    return sum(map(mul, a, b))


def echelon(equations, size):
    """Steps (unknown, equation) that solve ``dot(equation, x) = 0``, each for its first unknown left, and the free."""
    steps, free = [], list(range(size))
    for line in equations:
        last = 1
        for unknown, earlier in steps:
            pivot, factor = earlier[unknown], line[unknown]
            line, last = [(pivot * a - factor * b) // last for a, b in zip(line, earlier)], pivot
        unknown = next((k for k in free if line[k]), None)
        if unknown is not None:
            steps.append((unknown, line))
            free.remove(unknown)
    return steps, free


def solved(steps, size, known):
    """The solution with given free unknowns, times the size of the last pivot, which makes it integers (Cramer)."""
    x, last = [0] * size, abs(steps[-1][1][steps[-1][0]]) if steps else 1
    for unknown, value in known:
        x[unknown] = last * value
    for unknown, line in reversed(steps):
        x[unknown] = -dot(line, x) // line[unknown]
    return x


class CutBlock:
    """Cuts of a layer on a cell. A unit with several states is *open*; a *code* is a number for the states of these."""

    def __init__(self, m, layer=None, values=()):
        self.m, self.cuts, self.states, self.outputs = m, [], [], []
        if layer:
            for unit in self.units(layer, [values[s] for s in layer.sources]):
                self.choose(unit) if layer.groups else self.bend(layer, *unit)
        self.cuts = [[v // common for v in cut] for cut in self.cuts for common in [gcd(*cut)]]
        self.weights = [*accumulate(map(len, self.states[:0:-1]), mul, initial=1)][::-1]
        self.open = [(masks, w) for masks, w in zip(self.states, self.weights) if len(masks) > 1]

    def units(self, layer, sources):
        """Of every unit its row as a function of the point, integers and what divides them; or its candidates."""
        scale = lcm(*(s for s, _ in sources))
        vectors = [*((scale // s, v) for s, outputs in sources for v in outputs), (scale, [0] * self.m + [1])]
        used = [i for i, (_, v) in enumerate(vectors) if v]
        columns = list(zip(*([f * a for a in v] for f, v in (vectors[i] for i in used))))
        picked = [([weights[i] for i in used], size * scale) for weights, size in layer.rows]
        rows = [([dot(weights, column) for column in columns], size) for weights, size in picked]
        return [[rows[r] for r in group] for group in layer.groups] if layer.groups else rows

    def bend(self, layer, row, scale):
        """A unit with knots. Where its row is constant its state is known; a value on a knot is below it."""
        (*slope, constant), d, at = row, layer.divisor, 2 * len(self.cuts)
        cuts = [[*(d * v for v in slope), d * constant - t * scale] for t in layer.knots]
        outputs = [([*(a * v for v in slope), a * constant + b * scale], s * scale) for (a, b), s in layer.pieces]
        if not any(slope):
            cuts, outputs = [], [outputs[sum(cut[-1] > 0 for cut in cuts)]]
        n = len(cuts)
        self.states.append([sum((1 + (k >= s)) << at + 2 * k for k in range(n)) for s in range(n + 1)])
        self.outputs.append(outputs)
        self.cuts += cuts

    def choose(self, rows):
        """The largest of rows. Of two that differ by a constant the smaller is out, of equal ones the later."""
        pairs = combinations(enumerate(rows), 2)
        ahead = {(i, j): [q * v - p * w for v, w in zip(a, b)] for (i, (a, p)), (j, (b, q)) in pairs}
        out = {i if lead[-1] < 0 else j for (i, j), lead in ahead.items() if not any(lead[:-1])}
        masks = {i: 0 for i in range(len(rows)) if i not in out}
        for i, j in combinations(masks, 2):
            masks[i] |= 1 << 2 * len(self.cuts)
            masks[j] |= 2 << 2 * len(self.cuts)
            self.cuts.append(ahead[i, j])
        self.states.append(list(masks.values()))
        self.outputs.append([rows[i] for i in masks])

    def inside(self, code, excluded):
        """Of a cell: its own walls as (cut, sign), those that follow from others left out, and outputs of all units."""
        states = [code // w % len(masks) for masks, w in zip(self.states, self.weights)]
        held = sum(masks[s] for masks, s in zip(self.states, states))
        literals = [(j, held >> 2 * j & 3) for j in range(len(self.cuts)) if held >> 2 * j & 3]
        own = [(j, 3 - 2 * literal) for j, literal in literals if 3 - literal << 2 * j not in excluded]
        outputs = [results[s] for results, s in zip(self.outputs, states)]
        scale = lcm(*(s for _, s in outputs))
        return own, (scale, [[scale // s * v for v in row] if any(row) else None for row, s in outputs])

    def named(self, text, count, most):
        """The members of a set that a proof names."""
        mask = int(text, 16) if len(text) <= count // 4 + 1 else -1
        require(0 <= mask < 1 << count and mask.bit_count() <= most, "a set names what is not there, or too much")
        return [i for i in range(count) if mask >> i & 1]

    def star(self, token, walls):
        """Rule: around a point on independent functions these have all combinations of signs."""
        (text, _, rest), functions, possible, codes = token.partition(":"), [*walls, *self.cuts], 0, [0]
        tight = self.named(text, len(functions), self.m)
        steps, free = echelon([functions[i] for i in tight], self.m + 1)
        exponent, *numbers = [int(v) for v in (rest or "0").split(",") if len(v) <= DIGITS]
        require(len(steps) == len(tight) and free[-1] == self.m, "a star is on functions that depend on each other")
        require(len(numbers) == len(free) - 1 and 0 <= exponent <= 5000, "a star has a number for each free coordinate")
        x = solved(steps, self.m + 1, zip(free, [*numbers, 1 << exponent]))
        for i, function in enumerate(functions, -len(walls)):
            value = dot(function, x) if i + len(walls) not in tight else None
            require(value is None or value > 0 or value < 0 <= i, "a star is outside, or on what it does not name")
            possible |= (3 if value is None else 1 if value > 0 else 2) << 2 * i if i >= 0 else 0
        for masks, weight in self.open:
            options = [s * weight for s, mask in enumerate(masks) if not mask & ~possible]
            require(len(codes) * len(options) <= CELLS, "a layer has too many cells in one cell")
            codes = [code + option for code in codes for option in options]
        return codes

    def cone(self, token, walls):
        """Rule: a cut with one sign at the corner and along the edges of m independent walls has it in the cell."""
        m, used = self.m, self.named(token, len(walls), self.m)
        steps, free = echelon([[*walls[i], *(-(i == k) for k in used)] for i in used], m + 1 + len(used))
        require(len(used) == m == free[0], "a cone is made by m independent walls")
        corners = [solved(steps, 2 * m + 1, [(k, 1)])[: m + 1] for k in free]
        for j, cut in enumerate(self.cuts):
            values = [dot(cut, corner) for corner in corners]
            if any(values) and (min(values) >= 0 or max(values) <= 0):
                yield (2 if max(values) > 0 else 1) << 2 * j

    def lemma(self, token, walls):
        """Rule: literals exclude each other if a positive combination of them and walls is constant and <= 0."""
        functions = [*walls, *self.cuts]
        used = self.named(token, len(functions), self.m + 1)
        *gradients, constants = zip(*(functions[i] for i in used))
        steps, free = echelon(gradients, len(used))
        require(len(free) == 1, "a lemma has not one combination")
        factors = solved(steps, len(used), [(free[0], 1)])
        for turn in (1, -1):
            pairs = [(turn * v, i - len(walls)) for v, i in zip(factors, used) if v]
            if turn * dot(factors, constants) <= 0 and all(v > 0 or j >= 0 for v, j in pairs):
                yield sum((1 if v > 0 else 2) << 2 * j for v, j in pairs if j >= 0)

    def cells(self, shown, excluded):
        """Rule: the codes of the cells, in order, if all others are excluded; without any shown, the only one left."""
        codes, by_unit, ends = sorted(shown), [[] for _ in self.open], [max(g).bit_length() for g, _ in self.open]
        for literals in excluded:
            by_unit[bisect_left(ends, literals.bit_length())].append(literals)
        todo = [(0, 0, len(codes), 0, 0)]
        while todo:
            u, low, high, code, held = todo.pop()
            if u == len(self.open):
                codes = codes or [code]
                continue
            left, (masks, weight) = [], self.open[u]
            for s, mask in enumerate(masks):
                now, until = held | mask, bisect_left(codes, code + (s + 1) * weight, low, high)
                if until > low or not any(e & now == e for e in by_unit[u]):
                    require(until > low or not codes, "states of a cell are neither shown nor excluded")
                    left.append((u + 1, low, until, code + s * weight, now))
                low = until
            require(codes or len(left) == 1, "of a cell nothing is shown, and not all but one state is excluded")
            todo += left
        return codes


class Proof:
    """The lines of a proof, read from the first to the last."""

    def __init__(self, lines, layers, claim, part, parts):
        self.lines, self.layers, self.claim, self.part, self.parts = lines, layers, claim, part, parts

    def tokens(self, depth, block, walls):
        """What the next line shows and excludes."""
        head, *columns = next(self.lines, "").split(";")
        require(head == str(depth) and len(columns) == 3, f"a line about layer {depth} was due")
        shown, excluded = set(), set()
        for rule, found, column in zip((block.star, block.cone, block.lemma), (shown, excluded, excluded), columns):
            for token in column.split():
                before = len(found)
                found.update(rule(token, walls))
                require(len(found) > before, "a part of a line shows nothing that is new")
                require(len(shown) <= min(self.claim, CELLS), "there are more regions than claimed, or can be held")
        return shown, excluded

    def regions(self, depth, values, walls, m):
        """The number of regions in a cell that is not empty."""
        block, total = CutBlock(m, self.layers[depth - 1], values), 0
        shown, excluded = self.tokens(depth, block, walls) if block.cuts else ({0}, set())
        codes = block.cells(shown, excluded)
        if depth == len(self.layers):
            return len(codes)
        for n, code in enumerate(codes):
            signs, outputs = block.inside(code, excluded)
            cell = [*values, outputs], [*walls, *([sign * v for v in block.cuts[j]] for j, sign in signs)]
            if depth > 1:
                found = self.regions(depth + 1, *cell, m)
            else:
                (mark, stated, size), lines, own = next(self.lines, "").split(), self.lines, n % self.parts == self.part
                found, size, read = int(stated), int(size), count()
                require(mark == "=" and found > 0, "the count of a cell of the first layer was due")
                self.lines = (line for line, _ in zip(islice(lines, size), read))
                right = not own or self.regions(2, *cell, m) == found
                unread = sum(1 for _ in self.lines)
                right = right and not (own and unread) and next(read) == size
                require(right, "a cell has another count, or other lines")
                self.lines = lines
            total += found
            require(total <= self.claim, "there are more regions than claimed")
        return total


def check(data, lines, part=0, parts=1):
    """The number of regions that a proof, given as lines, proves of a statement, given as bytes."""
    (m, layers, walls), (name, version, digest, claim) = read_statement(data), next(lines, "").split()
    require((name, version) == ("netfold-proof", "1"), "a proof of version 1 was due")
    require(digest == hashlib.sha256(data).hexdigest(), "the proof is about another statement")
    proof = Proof(lines, layers, int(claim), part, parts)
    shown, excluded = proof.tokens(0, CutBlock(m), walls)
    require(bool(shown) != (0 in excluded), "it is not shown whether the domain has an inside")
    inputs = 1, [[int(i == k) for k in range(m + 1)] for i in range(m)]
    found = proof.regions(1, [inputs], walls, m) if shown else 0
    require(next(lines, None) is None, "the proof goes on after its end")
    require(found == proof.claim, f"{found} regions are proved and {proof.claim} claimed")
    return found


def verdict(statement, proof, part=0, parts=1):
    """Exit status, and why, for two files."""
    try:
        with open(statement, "rb") as stated, open(proof, "rb") as raw:
            data, packed = stated.read(STATEMENT_BYTES), raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            require(len(data) < STATEMENT_BYTES, "the statement is too long")
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            rows = iter(lambda: file.readline(LINE_BYTES).decode("ascii"), "")
            lines = (require(len(row) < LINE_BYTES, "a line is too long") or row for row in rows)
            found = check(data, lines, part, parts)
    except (Exception, MemoryError) as error:
        unread = isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile)
        told = f"{error}" if isinstance(error, Refused) else f"no statement, or no proof of one ({error!r:.200})"
        return (2, f"not checked: {error}") if unread else (1, f"refused: {told}")
    return 0, f"accepted: exactly {found} activation regions" + (f", if all {parts} parts are" if parts > 1 else "")


if __name__ == "__main__":
    share = [int(v) for v in sys.argv[3:] if v.isdecimal() and len(v) < 10]
    right = len(sys.argv) == 3 or (len(sys.argv) == 5 and len(share) == 2 and share[0] < share[1])
    usage = "usage: check_regions.py STATEMENT PROOF [PART PARTS], PART from 0 to PARTS - 1"
    status, words = verdict(sys.argv[1], sys.argv[2], *share) if right else (2, usage)
    print(words)
    sys.exit(status)
