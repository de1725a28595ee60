"""docs/motion.md in plain numpy, without OpenCV and without speed: what a phone has to do, exactly.

The page names the function of each of its sections; order, rounding and borders are as they stand here.
"""

from __future__ import annotations

import math

import numpy as np

F = np.float32


def lower_median(values):
    return np.sort(values)[(len(values) - 1) // 2] if len(values) else F(0)


def around(picture, reach, border, combine):
    """Combine each pixel's (2 reach + 1) squared neighbours."""
    wide = np.pad(picture, reach, **border)
    height, width = picture.shape
    parts = [wide[j : j + height, i : i + width] for j in range(2 * reach + 1) for i in range(2 * reach + 1)]
    return combine(np.stack(parts), axis=0)


def plain_grey(image, width):
    """Section 1."""
    rows, columns = image.shape[:2]
    height = min(max((2 * width * rows + columns) // (2 * columns), 6), 1280)

    def taps(length, wanted):
        at = (np.arange(wanted) + 0.5) * length / wanted - 0.5
        low = np.floor(at).astype(int)
        return low.clip(0, length - 1), (low + 1).clip(0, length - 1), at - low

    x0, x1, fx = taps(columns, width)
    y0, y1, fy = taps(rows, height)
    image = image.astype(float)
    fx, fy = (part[..., None] if image.ndim == 3 else part for part in (fx, fy))
    across = image[:, x0] * (1 - fx) + image[:, x1] * fx
    small = np.round(across[y0] * (1 - fy[:, None]) + across[y1] * fy[:, None])
    if small.ndim == 3:
        small = np.round(small @ (0.114, 0.587, 0.299))
    return around(small, 1, {"mode": "reflect"}, np.mean).astype(F)


def shares(foreground, seen):
    """Section 3: the share of each cell, for a height of a multiple of 6 and a width of one of 8."""
    h, w = foreground.shape
    cells = [part.reshape(6, h // 6, 8, w // 8).mean((1, 3)) for part in (foreground, seen)]
    tell = cells[1] >= 0.25
    return cells[0][tell] / cells[1][tell] if tell.any() else np.zeros(1)


class Place:
    """Sections 3 to 6."""

    def __init__(self, grey, seen, s):
        self.background, self.seen, self.s, self.gain = grey, seen, s, 1.0
        self.deviation = np.full_like(grey, s.first_deviation)

    def against(self, grey, change, deviation, shows, edges=0.0):
        limit = np.maximum(np.maximum(F(self.s.deviations) * deviation, F(self.s.threshold)), F(edges))
        foreground = (abs(change) > limit) & shows
        cells = shares(foreground, shows)
        return {
            "grey": grey,
            "change": change,
            "deviation": deviation,
            "foreground": foreground,
            "count": foreground.sum(),
            "changed": np.mean(cells > self.s.cell_share),
            "touched": np.mean(cells > self.s.touched_share),
            "gain": 1.0,
            "shift": (0.0, 0.0),
            "shows": shows,
            "edges": edges,
        }

    def compare(self, grey, swaying=True):
        """Section 3, and with it what explains a change."""
        change = grey - self.background
        change = change - lower_median(change[::4, ::4][self.seen[::4, ::4]])
        found = self.against(grey, change, self.deviation, self.seen)
        if swaying and found["touched"] >= self.s.widespread:
            shift = self.sway(grey - change, grey)
            if shift not in (None, (0.0, 0.0)):
                other = self.swayed(found, grey, shift)
                found = other if self.explains(other, found) else found
        if found["touched"] > 0 and (light := self.light(found["grey"], found["shows"])):
            gain, offset = light
            change = found["grey"] - np.clip(gain * self.background + offset, 0, 255)
            other = self.against(found["grey"], change, gain * self.deviation, found["shows"], found["edges"])
            if self.explains(other, found):
                if 0.6 <= self.gain * gain <= 1.7:
                    return other | {"gain": gain, "shift": found["shift"]}
                found["changed"] = 1.0
        return found

    def explains(self, other, found):
        return 2 * other["count"] < found["count"] or other["changed"] < self.s.everywhere <= found["changed"]

    def light(self, grey, shows):
        """Section 5."""
        was, now = self.background[::4, ::4], grey[::4, ::4]
        tells = (was < 250) & (now < 250) & shows[::4, ::4]
        was, now = was[tells], now[tells]
        third = len(was) // 3
        if not third:
            return None
        ordered = np.sort(was)
        dark, bright = was <= ordered[third], was >= ordered[-1 - third]
        spread = lower_median(was[bright]) - lower_median(was[dark])
        if spread < 6:
            return None
        gain = (lower_median(now[bright]) - lower_median(now[dark])) / spread
        if abs(gain - 1) < 0.02:
            return None
        return gain, lower_median(now - gain * was)

    def sway(self, background, grey):
        """Section 4, steps 1 and 2; a picture of 16 pixels or more each way is taken for granted."""
        h, w = grey.shape
        ys, xs = np.mgrid[4 : h - 4 : 4, 4 : w - 4 : 4]
        costs = {}
        for down in range(-4, 5):
            for right in range(-4, 5):
                off = np.minimum(abs(grey[ys + down, xs + right] - background[ys, xs]), 20) * self.seen[ys, xs]
                costs[down, right] = float(np.sum(off.astype(float) ** 2))
        down, right = min(costs, key=costs.__getitem__)
        if max(abs(down), abs(right)) == 4:
            return None

        def lowest(before, at, after):
            bend = before - 2 * at + after
            return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend > 0 else 0.0

        x = right + lowest(*(costs[down, right + i] for i in (-1, 0, 1)))
        y = down + lowest(*(costs[down + i, right] for i in (-1, 0, 1)))
        return math.floor(x * 16 + 0.5) / 16, math.floor(y * 16 + 0.5) / 16

    def swayed(self, found, grey, shift):
        """Section 4, step 3."""
        h, w = grey.shape

        def back(part):
            y, x = np.mgrid[0:h, 0:w].astype(float)
            y, x = y + shift[1], x + shift[0]
            inside = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
            x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
            fx, fy = (x - x0).astype(F), (y - y0).astype(F)

            def at(j, i):
                return part[j.clip(0, h - 1), i.clip(0, w - 1)].astype(F)

            upper = at(y0, x0) * (1 - fx) + at(y0, x0 + 1) * fx
            lower = at(y0 + 1, x0) * (1 - fx) + at(y0 + 1, x0 + 1) * fx
            return upper * (1 - fy) + lower * fy, inside

        background = found["grey"] - found["change"]
        moved, shows = back(grey)
        shows = shows & self.seen & (back(self.seen)[0] >= 1)
        change = moved - background
        change = change - lower_median(change[::4, ::4][shows[::4, ::4]])
        border = {"mode": "edge"}  # repeating the border is ignoring what lies outside
        span = around(background, 1, border, np.max) - around(background, 1, border, np.min)
        return self.against(moved, change, self.deviation, shows, F(self.s.edges) * span) | {"shift": shift}

    def learn(self, found, dt):
        """Section 6."""
        s, change = self.s, found["change"]
        a_background, a_foreground, a_deviation = (
            F(1 - math.exp(-dt / t)) for t in (s.background_s, s.foreground_s, s.deviation_s)
        )
        follow = np.where(found["foreground"], a_foreground, a_background) * found["shows"]
        self.gain *= found["gain"]
        self.background = found["grey"] - (1 - follow) * change
        steady = np.where(found["shows"], a_deviation, F(0))
        self.deviation = found["deviation"] + steady * (abs(change) - found["deviation"])


class PlainMotion:
    """Section 7, and with the others all of docs/motion.md."""

    def __init__(self, settings, masks):
        self.s, self.masks = settings, masks
        self.place = self.kept = self.beside_since = None
        self.time, self.changed_at, self.moving = 0.0, -math.inf, False

    def __call__(self, luma, time, again=False):
        grey = plain_grey(luma, self.s.width_px)
        dt, self.time = max(time - self.time, 0.0), time
        if self.place is None or again:
            xs, ys = ([(i + 0.5) / length for i in range(length)] for length in grey.shape[::-1])
            free = np.array([[not any(odd(mask, x, y) for mask in self.masks) for x in xs] for y in ys])
            self.seen = around(free, 1, {"mode": "constant", "constant_values": True}, np.min)
            self.kept, self.moving, self.changed_at = None, False, -math.inf
            return self.begin(grey, reset=True)
        if self.moving:
            if before := self.before(grey, dt):
                return before
            if self.place.compare(grey, swaying=False)["changed"] >= self.s.everywhere:
                self.changed_at = time
            self.moving = time - self.changed_at <= self.s.moving_s
            return self.begin(grey, reset=not self.moving, moving=self.moving)
        found = self.place.compare(grey)
        if found["changed"] >= self.s.everywhere:
            if before := self.before(grey, dt):
                return before
            self.kept = self.kept or (time, self.place)
            self.moving = time - self.changed_at <= self.s.moving_s
            self.changed_at = time
            return self.begin(grey, reset=not self.moving, moving=self.moving)
        if max(map(abs, found["shift"])) < self.s.swayed_px:
            self.beside_since = None
        elif self.beside_since is None:
            self.beside_since = time
        if self.beside_since is not None and time - self.beside_since > self.s.swayed_s:
            return self.begin(grey, reset=True)
        self.place.learn(found, dt)
        return self.boxes(found)

    def begin(self, grey, **flags):
        self.place, self.beside_since = Place(grey, self.seen, self.s), None
        return {"regions": [], **{name: True for name, said in flags.items() if said}}

    def before(self, grey, dt):
        """Section 8."""
        if self.kept is None or self.time - self.kept[0] > self.s.flash_s:
            self.kept = None
            return None
        found = self.kept[1].compare(grey)
        if found["changed"] > self.s.everywhere / 2:
            return None
        self.place, self.kept, self.moving, self.changed_at = self.kept[1], None, False, -math.inf
        self.place.learn(found, dt)
        return self.boxes(found)

    def boxes(self, found):
        """Section 9."""
        s, (h, w), (right, down) = self.s, found["grey"].shape, found["shift"]
        # Ignoring what lies outside: it is 0 for the maximum and 1 for the minimum.
        wide = around(found["foreground"], 2, {"mode": "constant", "constant_values": False}, np.max)
        closed = around(wide, 2, {"mode": "constant", "constant_values": True}, np.min)
        closed = closed & found["shows"]
        parts = []
        while closed.any():
            heap, part = [tuple(np.argwhere(closed)[0])], []
            closed[heap[0]] = False
            while heap:
                y, x = heap.pop()
                part.append((x, y))
                for at in ((y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)):
                    if 0 <= at[0] < h and 0 <= at[1] < w and closed[at]:
                        closed[at] = False
                        heap.append(at)
            xs, ys = np.array(part).T
            side = int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1
            if max(side) >= s.min_side_px and len(part) >= s.min_area_px:
                parts.append([-len(part), int(xs.min()), int(ys.min()), *side])
        parts = sorted(parts)[:64]
        while pair := next(
            ((i, j) for i in range(len(parts)) for j in range(i + 1, len(parts)) if self.near(parts, i, j)), None
        ):
            i, j = pair
            parts[i] = [parts[i][0] + parts[j][0], *union(parts[i], parts[j])]
            del parts[j]
        regions = []
        for _, x, y, wide, high in sorted(parts)[: s.max_regions]:
            x0, x1 = (min(max(at + right, 0), w) / w for at in (x, x + wide))
            y0, y1 = (min(max(at + down, 0), h) / h for at in (y, y + high))
            regions.append([x0, y0, x1 - x0, y1 - y0])
        large = {"large": True} if any(box[2] * box[3] > s.large for box in regions) else {}
        return {"regions": regions} | large

    def near(self, parts, i, j):
        one, other = parts[i], parts[j]
        _, _, w, h = union(one, other)
        reach = max(self.s.near_px, self.s.near_share * max(*one[3:], *other[3:]))
        areas = one[3] * one[4] + other[3] * other[4]
        return max(w - one[3] - other[3], h - one[4] - other[4]) <= reach and w * h <= 3 * areas


def union(one, other):
    x, y = min(one[1], other[1]), min(one[2], other[2])
    return [x, y, max(one[1] + one[3], other[1] + other[3]) - x, max(one[2] + one[4], other[2] + other[4]) - y]


def odd(corners, x, y):
    """Section 2: whether a ray to the right crosses the polygon's sides an odd number of times."""
    sides = zip(corners, [*corners[1:], corners[0]], strict=True)
    return sum((y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0 for (x0, y0), (x1, y1) in sides) % 2
