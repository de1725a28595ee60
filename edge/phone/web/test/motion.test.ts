import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MotionFinder, type Motion, type MotionSettings, smallGrey } from "../src/motion";
import type { Picture, Polygon } from "../src/schema";
import { coloured, ground, noise } from "./formula";

interface Step {
  readonly time: number;
  readonly sum: number;
  readonly view?: readonly [number, number];
  readonly boxes?: readonly (readonly [number, number, number, number, number])[];
  readonly light?: readonly [number, number, number];
  readonly again?: boolean;
  readonly expect: {
    readonly regions: readonly (readonly number[])[];
    readonly background?: readonly number[];
    readonly deviation?: readonly number[];
    readonly reset?: boolean;
    readonly moving?: boolean;
    readonly large?: boolean;
  };
}

interface Case {
  readonly name: string;
  readonly masks?: readonly Polygon[];
  readonly settings?: Readonly<Record<string, number>>;
  readonly steps: readonly Step[];
}

interface Vectors {
  readonly settings: { readonly width_px: number };
  readonly probes: readonly (readonly [number, number])[];
  readonly small_grey: readonly {
    readonly size_wh: readonly [number, number];
    readonly height: number;
    readonly probes: readonly (readonly [number, number])[];
    readonly values: readonly number[];
  }[];
  readonly cases: readonly Case[];
}

const FILE = new URL("../../../../tests/detect/motion_vectors.json", import.meta.url);
const VECTORS: Vectors = JSON.parse(readFileSync(FILE, "utf8"));
// Where much happens together; without background and deviation.
const MORE: Pick<Vectors, "cases"> = JSON.parse(readFileSync(new URL("vectors/motion.json", import.meta.url), "utf8"));
const [WIDTH, HEIGHT] = [64, 36];

function grey(step: Step, index: number): Picture {
  const data = new Uint8ClampedArray(4 * WIDTH * HEIGHT).fill(255);
  const [right, down] = step.view ?? [0, 0]; // in half pixels
  const [halfX, halfY] = [Math.abs(right % 2), Math.abs(down % 2)];
  const [times, by, plus] = step.light ?? [1, 1, 0];
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
    const [atX, atY] = [x + Math.floor(right / 2), y + Math.floor(down / 2)];
    let level = Math.floor((ground(atX, atY) + ground(atX + halfX, atY + halfY)) / 2);
    for (const [left, top, w, h, shade] of step.boxes ?? []) {
      if (x >= left && x < left + w && y >= top && y < top + h) level = shade;
    }
    level = Math.floor((level * times) / by) + plus + noise(x, y, index);
    data.fill(Math.min(Math.max(level, 0), 255), 4 * i, 4 * i + 3);
  }
  return { data, width: WIDTH, height: HEIGHT };
}

function camel(settings: Readonly<Record<string, number>>): Partial<MotionSettings> {
  const named = Object.entries(settings).map(([name, value]) => [
    name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ]);
  return Object.fromEntries(named);
}

function close(said: readonly number[], told: readonly number[], tolerance: number, what: string): void {
  expect(said.length, what).toBe(told.length);
  said.forEach((value, i) => expect(Math.abs(value - told[i]), what).toBeLessThanOrEqual(tolerance));
}

describe("the same motion as the Python runtime finds", () => {
  test.each([...VECTORS.cases, ...MORE.cases])("$name", ({ masks, settings, steps }) => {
    const finder = new MotionFinder({ widthPx: VECTORS.settings.width_px, ...camel(settings ?? {}) }, masks);
    steps.forEach((step, index) => {
      const picture = grey(step, index);
      expect(picture.data.reduce((sum, level, at) => sum + (at % 4 ? 0 : level), 0)).toBe(step.sum);
      const motion = finder.find(picture, step.time, step.again ?? false);
      const { reset, moving, large } = motion;
      const told = { reset: false, moving: false, large: false, ...step.expect };
      expect({ reset, moving, large }, `step ${index}`).toEqual({ reset: told.reset, moving: told.moving, large: told.large });
      expect(motion.regions.length, `step ${index}`).toBe(told.regions.length);
      motion.regions.forEach(({ box, kind }, i) => {
        expect(kind).toBe("motion");
        close(box, told.regions[i], 0.002, `step ${index}, region ${i}`);
      });
      const place = finder.place;
      if (!place) throw new Error("no place was begun");
      const at = VECTORS.probes.map(([x, y]) => y * WIDTH + x);
      for (const kept of ["background", "deviation"] as const) {
        const values = step.expect[kept];
        if (values) close(at.map((i) => place[kept][i]), values, 0.05, `step ${index}, ${kept}`);
      }
    });
  });
});

test.each(VECTORS.small_grey)("a coloured picture of $size_wh gives the same small grey picture", ({ size_wh, height, probes, values }) => {
  const grey = smallGrey(coloured(...size_wh), WIDTH);
  expect([grey.width, grey.height, grey.data.length]).toEqual([WIDTH, height, WIDTH * height]);
  close(probes.map(([x, y]) => grey.data[y * WIDTH + x]), values, 0.001, "grey"); // to the bit; the file has three places
});

test("another size of picture begins the place again", () => {
  const finder = new MotionFinder();
  expect(finder.find(coloured(64, 36), 0).reset).toBe(true);
  expect(finder.find(coloured(64, 36), 1).reset).toBe(false);
  const turned: Motion = finder.find(coloured(36, 64), 2);
  expect([turned.reset, turned.grey.height]).toEqual([true, 569]);
});

test("what is no picture is refused", () => {
  const wrong = { data: new Uint8ClampedArray(3 * 64 * 36), width: 64, height: 36 };
  expect(() => new MotionFinder().find(wrong, 0)).toThrow("64 x 36");
  expect(() => new MotionFinder().find({ ...wrong, data: new Uint8ClampedArray(0), width: 0 }, 0)).toThrow("0 x 36");
});
