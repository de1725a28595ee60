/** Polygons over the picture: zones in which a bear matters, masks in which nothing does; as in `edge/detect/zones.py`. */

import type { BoxXYWH, Point, Polygon, Zone } from "./schema";

/** Return true if an animal stands in a zone: the middle of its box's lower edge (its feet) or its centre. */
export function holds(zone: Zone, [x, y, w, h]: BoxXYWH): boolean {
  return contains(zone.corners, [x + w / 2, y + h]) || contains(zone.corners, [x + w / 2, y + h / 2]);
}

/** Return true if any part of a zone lies in a box, judged on a grid of 16 x 16 points and at its corners. */
export function touches(zone: Zone, box: BoxXYWH): boolean {
  const [x, y, w, h] = box;
  const isIn = ([atX, atY]: Point): boolean => x <= atX && atX <= x + w && y <= atY && atY <= y + h;
  return covered([zone.corners], box) > 0 || zone.corners.some(isIn);
}

/** Return true if a point lies in a polygon (even-odd rule); a point past the frame's edge counts as on the edge. */
export function contains(corners: Polygon, point: Point): boolean {
  // On the frame's very edge the rule would be up to rounding.
  const [x, y] = point.map((at) => Math.min(Math.max(at, 1e-9), 1 - 1e-9));
  let odd = false;
  for (const [x0, y0, x1, y1] of edges(corners)) {
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) odd = !odd;
  }
  return odd;
}

/** Return which pixels of a picture of this size have their centre in one of the polygons: 1 or 0, row by row. */
export function drawn(polygons: readonly Polygon[], width: number, height: number): Uint8Array {
  return grid(polygons, centres(width), centres(height));
}

/** Return the share of a box that polygons cover together, 0 to 1, judged on a grid of 16 x 16 points. */
export function covered(polygons: readonly Polygon[], [x, y, w, h]: BoxXYWH): number {
  const steps = centres(16);
  const found = grid(polygons, steps.map((at) => x + w * at), steps.map((at) => y + h * at));
  return found.reduce((sum, each) => sum + each, 0) / found.length;
}

function centres(count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i + 0.5) / count);
}

function edges(corners: Polygon): [number, number, number, number][] {
  return corners.map((corner, i) => [...corner, ...corners[(i + 1) % corners.length]]);
}

/** Even-odd rule for every point of a grid, by any of the polygons. */
function grid(polygons: readonly Polygon[], xs: readonly number[], ys: readonly number[]): Uint8Array {
  const found = new Uint8Array(xs.length * ys.length);
  for (const corners of polygons) {
    const sides = edges(corners);
    ys.forEach((y, row) => {
      const crossings = sides
        .filter(([, y0, , y1]) => y0 > y !== y1 > y)
        .map(([x0, y0, x1, y1]) => ((x1 - x0) * (y - y0)) / (y1 - y0) + x0);
      xs.forEach((x, column) => {
        if (crossings.filter((at) => x < at).length % 2 === 1) found[row * xs.length + column] = 1;
      });
    });
  }
  return found;
}
