import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { BoxXYWH, Point, Polygon } from "../src/schema";
import { contains, covered, drawn, holds, touches } from "../src/zones";

interface Vectors {
  readonly polygons: Polygon[];
  readonly points: Point[];
  readonly contains: boolean[][];
  readonly boxes: BoxXYWH[];
  readonly covered: number[][];
  readonly together: number[];
  readonly holds: boolean[][];
  readonly touches: boolean[][];
  readonly size: [number, number];
  readonly drawn: string[][];
  readonly drawn_together: string[];
}

const { zones }: { zones: Vectors } = JSON.parse(
  readFileSync(new URL("vectors/decisions.json", import.meta.url), "utf-8"),
);
const two = [zones.polygons[0], zones.polygons[4]];

function rows(found: Uint8Array): string[] {
  const [width, height] = zones.size;
  return Array.from({ length: height }, (_, row) =>
    Array.from(found.subarray(row * width, (row + 1) * width), (each) => (each ? "#" : ".")).join(""),
  );
}

test.each(zones.polygons.map((corners, i) => [i, corners] as const))("polygon %i is Python's", (i, corners) => {
  const zone = { name: "zone", corners };
  expect(zones.points.map((point) => contains(corners, point))).toEqual(zones.contains[i]);
  expect(zones.boxes.map((box) => covered([corners], box))).toEqual(zones.covered[i]);
  expect(zones.boxes.map((box) => holds(zone, box))).toEqual(zones.holds[i]);
  expect(zones.boxes.map((box) => touches(zone, box))).toEqual(zones.touches[i]);
  expect(rows(drawn([corners], ...zones.size))).toEqual(zones.drawn[i]);
});

test("polygons together are Python's", () => {
  expect(zones.boxes.map((box) => covered(two, box))).toEqual(zones.together);
  expect(rows(drawn(two, ...zones.size))).toEqual(zones.drawn_together);
  expect(rows(drawn([], ...zones.size)).join("")).not.toContain("#");
});
