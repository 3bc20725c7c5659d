"""Elementwise layers on straight paths, compiled: which units change state, where, and how the image bends.

A row holds the pre-activations at one vertex; segment ``s`` joins rows ``s`` and ``s + 1`` of one path, and inside
it every pre-activation is affine. A unit crosses a knot inside a segment where its ends lie strictly on different
sides; where a pre-activation equals the knot at a vertex, the two segments that meet there decide whether the
state changes or the knot is only touched. ``pieces`` holds the functions' parameters (`netfold.exact.line.pieces`).
"""

from __future__ import annotations

import numpy as np

from netfold.exact.line.pieces import FAR, KNOT, OFFSET, SLOPE, VALUE, columns, entry, of
from netfold.exact.numerics import bits
from netfold.exact.numerics.angles import angle_beside, angle_of_chord
from netfold.exact.numerics.bits import POWERS, WORD
from netfold.exact.numerics.compiled import FAST, compiled, order
from netfold.exact.numerics.sums import largest
from netfold.exact.paths.records import HIGH, LOW, ZERO, crossings_room, scan_room
from netfold.exact.paths.segments import FLAT2, NORM2, RADIAL, RESOLVED2, SAME, SPEED2, TIE, TURN

LAST = 1.0 - 2.0**-53
"""The last position inside a segment."""

FINITE = True
"""For loops that meet no infinite value: smallest values too are then found with vector instructions."""

FEW = 24
"""Crossings up to which a segment's list is sorted by insertion."""

UNRANKED = np.empty(0, np.int64)

FAR_BITS = np.array([FAR]).view(np.int64)[0]


@compiled(FAST)
def piece(a, b, pieces, j):
    """The piece on which a unit leaves ``a`` on the way to ``b``."""
    low, high = entry(pieces, KNOT, j), entry(pieces, KNOT + 1, j)
    return ((a > low) | ((a == low) & (b > low))) + 0 + ((a > high) | ((a == high) & (b > high)))


@compiled(FAST, inline=True)
def slope_towards(table, a, b, j):
    """Slope of the piece on which a unit leaves ``a`` on the way to ``b``, without a jump."""
    low, high = of(table[KNOT], j), of(table[KNOT + 1], j)
    found = of(table[SLOPE], j)
    found = of(table[SLOPE + 1], j) if (a > low) | ((a == low) & (b > low)) else found
    return of(table[SLOPE + 2], j) if (a > high) | ((a == high) & (b > high)) else found


@compiled(FAST)
def turn(behind, here, ahead, pieces, into2, out2):
    """Angle between the image's directions before and after a vertex, accurate where it is small."""
    table = columns(pieces)
    into, out, gap2 = 1.0 / np.sqrt(into2), 1.0 / np.sqrt(out2), 0.0
    for j in range(len(here)):
        a, b, c = behind[j], here[j], ahead[j]
        gap = slope_towards(table, b, a, j) * (b - a) * into - slope_towards(table, b, c, j) * (c - b) * out
        gap2 += gap * gap
    return angle_of_chord(gap2)


@compiled(FAST)
def speed2_before(behind, here, pieces):
    """Squared length of the image's last direction before a vertex."""
    table, total = columns(pieces), 0.0
    for j in range(len(here)):
        total += (slope_towards(table, here[j], behind[j], j) * (here[j] - behind[j])) ** 2
    return total


@compiled(FINITE)
def states(h, pieces, above, touches, closest, sums):
    """Write which pre-activations of a row lie above the knots and above zero, as bits.

    They go to ``above[row, plane, word]``. ``touches`` says whether a row holds a pre-activation that equals a knot
    or zero. ``closest`` is its smallest other distance to a knot, relative to the mean size of its entries. ``sums``
    takes `FLAT2`, and in the place of `TURN` the smallest distance to a knot or zero.
    """
    table, (rows, units) = columns(pieces), h.shape
    for s in range(rows):
        here = h[s]
        for w in range(above.shape[2]):
            low, high, zero, offset = 0, 0, 0, w * WORD
            for i in range(min(WORD, units - offset)):
                a, bit = here[offset + i], POWERS[i]
                low |= bit if a > of(table[KNOT], offset + i) else 0
                high |= bit if a > of(table[KNOT + 1], offset + i) else 0
                zero |= bit if a > 0.0 else 0
            above[s, LOW, w], above[s, HIGH, w], above[s, ZERO, w] = low, high, zero
        # numbers that are not negative are ordered as their bits are, and smallest integers are vector instructions;
        # a distance of zero, less one, is the largest unsigned integer
        nearest, met, scale = bits.LARGEST, FAR_BITS, 0.0
        for j in range(units):
            a = here[j]
            gap = bits.of_float(min(abs(a - of(table[KNOT], j)), abs(a - of(table[KNOT + 1], j))))
            met = min(met, min(gap, bits.of_float(abs(a))))
            nearest = min(nearest, np.uint64(gap) - np.uint64(1))
            scale += abs(a)
        gap = FAR if nearest == bits.LARGEST else bits.to_float(np.int64(nearest) + 1)
        touches[s], sums[s, FLAT2] = met == 0, RESOLVED2 * scale * scale
        closest[s] = gap * (units / scale) if scale > 0.0 else FAR
        sums[s, TURN] = bits.to_float(met)


@compiled(FAST)
def crossed(a, b, pieces, j):
    """How many knots lie strictly between two pre-activations of a unit, and whether zero does."""
    low, high = entry(pieces, KNOT, j), entry(pieces, KNOT + 1, j)
    knots = (((a < low) & (b > low)) | ((a > low) & (b < low))) + 0
    return knots + (((a < high) & (b > high)) | ((a > high) & (b < high))), (a < 0.0 < b) | (a > 0.0 > b)


@compiled(FAST)
def scan(h, path, before, pieces, opened):
    """Count the changes of state a segment and describe its image at its start.

    ``before`` is the vertex before row 0, or empty. Changes exactly at a vertex count for the segment that
    starts there. ``opened`` takes the image at the vertices, where it has room for them.
    """
    table, (rows, units) = columns(pieces), h.shape
    found = scan_room(rows, units)
    counts, signs, touches, closest, sums, above, near = found
    states(h, pieces, above, touches, closest, sums)
    unwanted = np.empty(units)
    for s in range(rows):
        joined = s + 1 < rows and path[s] == path[s + 1]
        comes = before.shape[0] > 0 if s == 0 else path[s - 1] == path[s]
        follows = joined and comes
        here, ahead = h[s], h[s + 1] if joined else h[s]
        behind = (before[0] if s == 0 else h[s - 1]) if comes else here
        flat2 = max(sums[s, FLAT2], sums[s + 1, FLAT2] if joined else 0.0)
        flat2 = max(flat2, RESOLVED2 * size(behind) ** 2 if s == 0 else sums[s - 1, FLAT2] if comes else 0.0)
        tie = TIE / units * np.sqrt(flat2 / RESOLVED2)
        near[s] = sums[s, TURN] <= tie and unsure(behind, here, ahead, pieces, comes, joined, tie)
        image = opened[s] if s < len(opened) else unwanted
        if touches[s]:
            sums[s, TURN] = 0.0
            counts[s], signs[s] = touching(behind, here, ahead, pieces, follows, sums[s], image)
            continue
        speed2, radial, norm2, into2, along = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(units):
            a, b = here[j], ahead[j]
            above_low, above_high = a > of(table[KNOT], j), a > of(table[KNOT + 1], j)
            slope = of(table[SLOPE + 1], j) if above_low else of(table[SLOPE], j)
            offset = of(table[OFFSET + 1], j) if above_low else of(table[OFFSET], j)
            slope = of(table[SLOPE + 2], j) if above_high else slope
            offset = of(table[OFFSET + 2], j) if above_high else offset
            x, d, e = slope * a + offset, slope * (b - a), slope * (a - behind[j])
            image[j] = x
            speed2 += d * d
            radial += x * d
            norm2 += x * x
            into2 += e * e
            along += e * d
        sums[s, SPEED2], sums[s, RADIAL], sums[s, NORM2], sums[s, TURN] = speed2, radial, norm2, 0.0
        count, zero = 0, 0
        if joined and touches[s + 1]:
            count, zero = passed(here, ahead, pieces)
        elif joined:
            for w in range(above.shape[2]):
                count += bits.count(above[s, LOW, w] ^ above[s + 1, LOW, w])
                count += bits.count(above[s, HIGH, w] ^ above[s + 1, HIGH, w])
                zero += bits.count(above[s, ZERO, w] ^ above[s + 1, ZERO, w])
        counts[s], signs[s] = count, zero
        if follows and into2 > sums[s, FLAT2] and speed2 > sums[s, FLAT2]:
            across2 = into2 * speed2 - along * along
            if across2 < 1e-6 * into2 * speed2:
                sums[s, TURN] = turn(behind, here, ahead, pieces, into2, speed2)
            else:
                sums[s, TURN] = angle_beside(np.sqrt(across2), along)
    return found


@compiled(FAST)
def size(row):
    """Sum of a row's sizes."""
    total = 0.0
    for a in row:
        total += abs(a)
    return total


@compiled(FAST)
def unsure(behind, here, ahead, pieces, follows, joined, tie):
    """Whether a unit is near a knot or zero at a vertex and does not stand on it along a segment that ends there."""
    for j in range(len(here)):
        a = here[j]
        gap = min(abs(a), min(abs(a - entry(pieces, KNOT, j)), abs(a - entry(pieces, KNOT + 1, j))))
        before, after = gap == 0.0 and follows and behind[j] == a, gap == 0.0 and joined and ahead[j] == a
        if gap <= tie and not (before or after):
            return True
        if before and joined and not after and by_rounding(behind, here, ahead, j, tie):
            return True
        if after and follows and not before and by_rounding(ahead, here, behind, j, tie):
            return True
    return False


@compiled(FAST)
def by_rounding(level, here, steep, j, tie):
    """Whether a unit that stands on a knot from ``level`` to ``here`` may do so by rounding alone.

    So it is where other units move, but so little that this one would not be seen to move as on the way to ``steep``.
    """
    moved, larger = 0.0, 0.0
    for i in range(len(here)):
        moved += abs(level[i] - here[i])
        larger += abs(steep[i] - here[i])
    return 0.0 < abs(steep[j] - here[j]) * moved <= SAME * (tie / TIE) * larger


@compiled(FAST)
def passed(here, ahead, pieces):
    """Changes of state and of sign strictly inside a segment, unit by unit."""
    count, zero = 0, 0
    for j in range(len(here)):
        knots, sign = crossed(here[j], ahead[j], pieces, j)
        count += knots
        zero += sign
    return count, zero


@compiled(FAST)
def touching(behind, here, ahead, pieces, follows, sums, image):
    """What `scan` finds at a vertex where a pre-activation equals a knot or zero: changes of state and of sign.

    What happens there is decided by the two segments that meet.
    """
    table = columns(pieces)
    count, zero = passed(here, ahead, pieces)
    speed2, radial, norm2 = 0.0, 0.0, 0.0
    for j in range(len(here)):
        a, b = here[j], ahead[j]
        left, right = piece(a, behind[j], pieces, j), piece(a, b, pieces, j)
        x = entry(pieces, SLOPE + right, j) * a + entry(pieces, OFFSET + right, j)
        d = entry(pieces, SLOPE + right, j) * (b - a)
        x = entry(pieces, VALUE, j) if a == of(table[KNOT], j) else x
        x = entry(pieces, VALUE + 1, j) if a == of(table[KNOT + 1], j) else x
        image[j] = x
        speed2 += d * d
        radial += x * d
        norm2 += x * x
        if follows:
            count += left != right
            was, now = (a > 0.0) | ((a == 0.0) & (behind[j] > 0.0)), (a > 0.0) | ((a == 0.0) & (b > 0.0))
            zero += was != now
    sums[SPEED2], sums[RADIAL], sums[NORM2] = speed2, radial, norm2
    if follows:
        into2 = speed2_before(behind, here, pieces)
        if into2 > sums[FLAT2] and speed2 > sums[FLAT2]:
            sums[TURN] = turn(behind, here, ahead, pieces, into2, speed2)
    return count, zero


@compiled(FAST)
def crossings(h, path, before, pieces, scan):
    """List each segment's changes of state in order of their position.

    A unit's origin and target are its pieces. Changes exactly at the first vertex stand at position 0.
    """
    made = crossings_room(scan.counts)
    start, at, unit, origin, target, slope_from, slope_to, value = made
    above, touches = scan.above, scan.touches
    units, everyone = h.shape[1], ~0
    room = largest(scan.counts)
    found, which, level = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)
    for s in range(len(h) - 1):
        if start[s + 1] == start[s]:
            continue
        m, i = 0, start[s]
        few = start[s + 1] - start[s] <= FEW
        here, ahead = h[s], h[s + 1]
        if touches[s] and (before.shape[0] > 0 if s == 0 else path[s - 1] == path[s]):
            behind = before[0] if s == 0 else h[s - 1]
            for j in range(units):
                was, now = piece(here[j], behind[j], pieces, j), piece(here[j], ahead[j], pieces, j)
                if was != now:
                    at[i], unit[i], origin[i], target[i] = 0.0, j, was, now
                    slope_from[i], slope_to[i] = 0.0, 0.0
                    value[i] = entry(pieces, VALUE if here[j] == entry(pieces, KNOT, j) else VALUE + 1, j)
                    i += 1
        tied = touches[s] or touches[s + 1]
        for w in range(above.shape[2]):
            low, high = above[s, LOW, w] ^ above[s + 1, LOW, w], above[s, HIGH, w] ^ above[s + 1, HIGH, w]
            left = everyone if tied else low | high
            while left != 0:
                j = w * WORD + bits.first(left)
                left &= left - 1
                if j >= units:
                    break
                a, b = here[j], ahead[j]
                for r in range(2):
                    k = entry(pieces, KNOT + r, j)
                    if ((a < k) & (b > k)) | ((a > k) & (b < k)):
                        root, p = (k - a) / (b - a), m
                        root = root if root < LAST else LAST  # as where it is no number: values overflow
                        while few and p > 0 and found[p - 1] > root:
                            found[p], which[p], level[p] = found[p - 1], which[p - 1], level[p - 1]
                            p -= 1
                        found[p], which[p], level[p] = root, j, r
                        m += 1
        rank = UNRANKED if few else order(found[:m])
        for n in range(m):
            p = n if few else rank[n]
            j, r = which[p], level[p]
            d = ahead[j] - here[j]
            rises = d > 0.0
            at[i], unit[i] = found[p], j
            origin[i], target[i] = r if rises else r + 1, r + 1 if rises else r
            slope_from[i] = entry(pieces, SLOPE + origin[i], j) * d
            slope_to[i] = entry(pieces, SLOPE + target[i], j) * d
            value[i] = entry(pieces, VALUE + r, j)
            i += 1
    return made


@compiled(FAST)
def image(h, segment, at, pieces, cross, unit, value, out):
    """The image at refined rows: row ``i`` lies in segment ``segment[i]`` at position ``at[i]``.

    The units that change there (entries ``cross[i]`` to ``cross[i + 1]``) take their value exactly.
    """
    table = columns(pieces)
    for i in range(len(at)):
        s, lam = segment[i], at[i]
        here, ahead = h[s], h[s + 1] if lam > 0.0 else h[s]
        for j in range(h.shape[1]):
            z = here[j] + lam * (ahead[j] - here[j])
            slope, offset = of(table[SLOPE], j), of(table[OFFSET], j)
            slope = of(table[SLOPE + 1], j) if z > of(table[KNOT], j) else slope
            offset = of(table[OFFSET + 1], j) if z > of(table[KNOT], j) else offset
            slope = of(table[SLOPE + 2], j) if z > of(table[KNOT + 1], j) else slope
            offset = of(table[OFFSET + 2], j) if z > of(table[KNOT + 1], j) else offset
            y = slope * z + offset
            y = of(table[VALUE], j) if z == of(table[KNOT], j) else y
            out[i, j] = of(table[VALUE + 1], j) if z == of(table[KNOT + 1], j) else y
        for k in range(cross[i], cross[i + 1]):
            out[i, unit[k]] = value[k]
