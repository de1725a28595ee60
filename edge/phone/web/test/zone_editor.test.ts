import { describe, expect, test } from "vitest";
import { fitted, within } from "../src/overlay";
import type { Point } from "../src/schema";
import { areaOf, enclosed, misplaced, simplified } from "../src/zone_editor";

/** A finger's way along the sides of a polygon, with a little tremor. */
function way(corners: readonly Point[], steps = 40): Point[] {
  return corners.flatMap(([x0, y0], index) => {
    const [x1, y1] = corners[(index + 1) % corners.length];
    return Array.from({ length: steps }, (_, step): Point => {
      const share = step / steps;
      const tremor = 0.003 * Math.sin(7 * step);
      return [x0 + share * (x1 - x0) + tremor, y0 + share * (y1 - y0) - tremor];
    });
  });
}

describe("a finger's way", () => {
  test("becomes the few corners that it goes around", () => {
    const corners = enclosed(way([[0.1, 0.2], [0.7, 0.2], [0.7, 0.9], [0.1, 0.9]])); // prettier-ignore
    expect(corners?.length).toBeLessThanOrEqual(6);
    expect(areaOf(corners ?? [])).toBeCloseTo(0.42, 1);
  });

  test("that is a slip is no zone", () => {
    expect(enclosed([[0.5, 0.5]])).toBeNull();
    expect(enclosed([[0.1, 0.1], [0.9, 0.9]])).toBeNull(); // prettier-ignore
    expect(enclosed(way([[0.5, 0.5], [0.53, 0.5], [0.53, 0.53]]))).toBeNull(); // prettier-ignore
  });

  test("keeps its ends and the corner between them", () => {
    const line: Point[] = [[0, 0], [0.2, 0.001], [0.4, 0], [0.4, 0.3]]; // prettier-ignore
    expect(simplified(line, 0.01)).toEqual([[0, 0], [0.4, 0], [0.4, 0.3]]); // prettier-ignore
  });
});

describe("the picture on the screen", () => {
  test("lies in the middle, whole", () => {
    expect(fitted({ width: 400, height: 400 }, { width: 1280, height: 720 })).toEqual([0, 87.5, 400, 225]);
    expect(fitted({ width: 400, height: 200 }, { width: 720, height: 1280 })).toEqual([143.75, 0, 112.5, 200]);
  });

  test("gives fractions for a finger, at most its edge", () => {
    const place = [0, 87.5, 400, 225] as const;
    expect(within([100, 200], place)).toEqual([0.25, 0.5]);
    expect(within([500, 10], place)).toEqual([1, 0]);
  });
});

test("a zone is misplaced once the picture has another shape, not another size", () => {
  const zone = (aspect?: number) => ({ name: "hives", corners: [], ...(aspect === undefined ? {} : { aspect }) });
  expect(misplaced([zone(16 / 9)], { width: 640, height: 360 })).toBe(false);
  expect(misplaced([zone(16 / 9)], { width: 641, height: 360 })).toBe(false);
  expect(misplaced([zone(16 / 9), zone(9 / 16)], { width: 640, height: 360 })).toBe(true);
  expect(misplaced([zone(16 / 9)], { width: 640, height: 480 })).toBe(true);
  expect(misplaced([zone()], { width: 640, height: 480 })).toBe(false);
});
