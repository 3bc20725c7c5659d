"""Check a proof of how many activation regions a network has: ``python -I -S check_regions.py STATEMENT PROOF``.

Standard library and integers only; it needs nothing else of what writes proofs. Rules and reasons: docs/proofs.md. With
``PART PARTS`` only that share of the first layer's cells is checked. Status: 0 accepted, 1 refused, 2 not checked.

An affine function is a list of integers, the constant last. A *cell* is where its *walls* are positive; all layers so
far are affine on it, and the *cuts* of the next divide it. Of *literals* bit 2 j: cut j > 0; bit 2 j + 1: cut j < 0.
"""

import gzip
import hashlib
import json
import re
import sys
from bisect import bisect_left
from fractions import Fraction
from itertools import combinations
from math import gcd, lcm
from operator import mul

STATEMENT_BYTES, LINE_BYTES, DIGITS = 2**28, 2**26, 4000  # of what is read: so no file fills the memory
LAYERS, CELLS = 200, 2**21  # of a network; of a layer in one cell of the layers before it


class Refused(Exception):
    """The proof does not prove what it says."""


def require(holds, reason):
    if not holds:
        raise Refused(reason)


def exact(value):
    """A number of the statement: an integer, a decimal (the float64 nearest to it) or a fraction "p/q"."""
    fraction = type(value) is str and re.fullmatch(f"-?[0-9]{{1,{DIGITS}}}/[0-9]{{1,{DIGITS}}}", value)
    require(fraction or type(value) in (int, float), "a number was due")
    return Fraction(value)


def scaled(row, width):
    """A row of numbers as integers, and what these are to be divided by."""
    numbers = [exact(v) for v in row]
    require(len(numbers) == width, f"a row of {width} numbers was due")
    scale = lcm(*(v.denominator for v in numbers))
    return [v.numerator * (scale // v.denominator) for v in numbers], scale


def once(pairs):
    require(len(dict(pairs)) == len(pairs), "the statement says something twice")
    return dict(pairs)


def entries(part, *names):
    require(type(part) is dict and set(part) == set(names), f"a part of the statement has just {names}")
    return [part[name] for name in names]


class StatedLayer:
    """Rows over the outputs of earlier layers, and the units that read them."""

    def __init__(self, part, widths):
        self.sources, weight, bias, units = entries(part, "from", "weight", "bias", "units")
        require(all(type(s) is int and 0 <= s < len(widths) for s in self.sources), "a layer reads earlier layers")
        require(len(weight) == len(bias) > 0, "a layer has a row, and a bias for each")
        self.rows = [scaled([*w, b], sum(widths[s] for s in self.sources) + 1) for w, b in zip(weight, bias)]
        self.groups, rows = entries(units, "max")[0] if "max" in units else None, range(len(weight))
        if self.groups is None:
            parts = [[exact(v) for v in numbers] for numbers in entries(units, "knots", "slopes", "offsets")]
            self.knots, self.pieces = parts[0], list(zip(*parts[1:]))
            require(len(parts[1]) == len(parts[2]) == len(parts[0]) + 1, "there is one piece more than knots")
            require(all(a < b for a, b in zip(self.knots, self.knots[1:])), "knots increase")
            joints = zip(self.knots, self.pieces, self.pieces[1:])
            require(all((a - c) * t + b - d == 0 for t, (a, b), (c, d) in joints), "a unit jumps")
            sizes = [lcm(a.denominator, b.denominator) for a, b in self.pieces]
            self.integers = [(int(a * n), int(b * n), n) for (a, b), n in zip(self.pieces, sizes)]
        else:
            named = all(group and all(type(r) is int and r in rows for r in group) for group in self.groups)
            require(named and self.groups, "a maximum is one of rows")
        self.width = len(self.groups or self.rows)


def read_statement(data):
    """The number of inputs, the layers, and the walls of the domain."""
    names = "format", "inputs", "layers", "domain"
    version, m, parts, domain = entries(json.loads(data, object_pairs_hook=once), *names)
    require(version == "netfold-statement 1", "a statement of version 1 was due")
    require(type(m) is int and 0 < m <= 2**16 and 0 < len(parts) <= LAYERS, "inputs or layers: none, or too many")
    layers, widths = [], [m]
    for part in parts:
        layers.append(StatedLayer(part, widths))
        widths.append(layers[-1].width)
    return m, layers, [scaled(row, m + 1)[0] for row in domain]


def dot(a, b):
    return sum(map(mul, a, b))


def echelon(equations, size):
    """Triangular form of ``dot(equation, x) = 0``: steps (unknown, equation), and the unknowns that stay free.

    Every equation is solved for its first unknown that is left. Divisions leave no rest (Bareiss).
    """
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
        self.m, self.cuts, self.states, self.outputs, weight = m, [], [], [], 1
        if layer:
            rows = self.composed(layer, [values[s] for s in layer.sources])
            for unit in layer.groups or rows:
                self.choose([rows[r] for r in unit]) if layer.groups else self.bend(layer, *unit)
        self.cuts, self.weights = [[v // common for v in cut] for cut in self.cuts for common in [gcd(*cut)]], []
        for masks in reversed(self.states):
            self.weights.insert(0, weight)
            weight *= len(masks)
        self.open = [(masks, w) for masks, w in zip(self.states, self.weights) if len(masks) > 1]

    def composed(self, layer, sources):
        """Rows as functions of the point: integers and what they are to be divided by."""
        scale = lcm(*(s for s, _ in sources))
        vectors = [(scale // s, v) for s, outputs in sources for v in outputs]
        used, rows = [i for i, (_, v) in enumerate(vectors) if v], []
        columns = list(zip(*([f * a for a in v] for f, v in (vectors[i] for i in used)))) or [()] * (self.m + 1)
        for weights, size in layer.rows:
            picked = [weights[i] for i in used]
            row = [dot(picked, column) for column in columns]
            row[-1] += weights[-1] * scale
            rows.append((row, size * scale))
        return rows

    def bend(self, layer, row, scale):
        """A unit with knots. Where its row is constant its state is known; a value on a knot is below it."""
        cuts, outputs, at = [[t.denominator * v for v in row] for t in layer.knots], [], 2 * len(self.cuts)
        for t, cut in zip(layer.knots, cuts):
            cut[-1] -= t.numerator * scale
        for slope, offset, size in layer.integers:
            outputs.append(([slope * v for v in row], size * scale))
            outputs[-1][0][-1] += offset * scale
        if not any(row[:-1]):
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
            value = None if i + len(walls) in tight else dot(function, x)
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
        self.lines, self.layers, self.claim, self.part, self.parts, self.read = lines, layers, claim, part, parts, 0

    def line(self, separator=None):
        self.read += 1
        return next(self.lines, "").split(separator)

    def tokens(self, depth, block, walls):
        """What the next line shows and excludes."""
        head, *columns = self.line(";")
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
        block, total, stated, end, found = CutBlock(m, self.layers[depth - 1], values), 0, 0, 0, 0
        shown, excluded = self.tokens(depth, block, walls) if block.cuts else ({0}, set())
        codes = block.cells(shown, excluded)
        if depth == len(self.layers):
            return len(codes)
        for n, code in enumerate(codes):
            if depth == 1:
                mark, stated, size = self.line()
                stated, end = int(stated), self.read + int(size)
                require(mark == "=" and stated > 0, "the count of a cell of the first layer was due")
            if depth > 1 or n % self.parts == self.part:
                own, outputs = block.inside(code, excluded)
                inner = [*walls, *([sign * v for v in block.cuts[j]] for j, sign in own)]
                found = self.regions(depth + 1, [*values, outputs], inner, m)
                require(depth > 1 or (found, self.read) == (stated, end), "a cell has another count, or other lines")
            while depth == 1 and self.read < end:
                require(self.line(), "the proof ends too early")
            total += found if depth > 1 else stated
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


def lines_of(file):
    while line := file.readline(LINE_BYTES).decode("ascii"):
        yield line if len(line) < LINE_BYTES else require(False, "a line is too long")


def verdict(statement, proof, part=0, parts=1):
    """Exit status, and why, for two files."""
    try:
        with open(statement, "rb") as file, open(proof, "rb") as raw:
            data, packed = file.read(STATEMENT_BYTES), raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            require(len(data) < STATEMENT_BYTES, "the statement is too long")
            found = check(data, lines_of(gzip.GzipFile(fileobj=raw) if packed else raw), part, parts)
    except (Exception, MemoryError) as error:
        unread = isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile)
        told = f"{error}" if isinstance(error, Refused) else f"no statement, or no proof of one ({error!r:.200})"
        return (2, f"not checked: {error}") if unread else (1, f"refused: {told}")
    return 0, f"accepted: exactly {found} activation regions" + (f", if all {parts} parts are" if parts > 1 else "")


if __name__ == "__main__":
    share = [int(v) for v in sys.argv[3:] if v.isdecimal() and len(v) < 10] or [0, 1]
    status, words = 2, "usage: check_regions.py STATEMENT PROOF [PART PARTS], PART from 0 to PARTS - 1"
    if len(sys.argv) in (3, 5) and len(share) == 2 and share[0] < share[1]:
        status, words = verdict(sys.argv[1], sys.argv[2], *share)
    print(words)
    sys.exit(status)
