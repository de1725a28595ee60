import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { cut, fitTo, square } from "../src/crops";
import { roundEven } from "../src/resize";
import type { BoxXYWH } from "../src/schema";
import { coloured, speckled } from "./formula";

type Pair = readonly [number, number];

interface Kept {
  readonly picture: keyof typeof PICTURES;
  readonly size_wh: Pair;
  readonly sum: number;
  readonly bytes: string; // one in `every`, base64
}

interface Vectors {
  readonly every: number;
  readonly squares: readonly { size_wh: Pair; box: BoxXYWH; context: number; rectangle: readonly number[] }[];
  readonly crops: readonly (Kept & { box: BoxXYWH; size: number; context: number })[];
  readonly fits: readonly (Kept & { to_wh: Pair })[];
}

const PICTURES = { coloured, speckled };
const VECTORS: Vectors = JSON.parse(readFileSync(new URL("vectors/crops.json", import.meta.url), "utf8"));

function same(said: Uint8Array, told: Kept, length: number): void {
  expect(said.length).toBe(length);
  const kept = said.filter((_, i) => i % VECTORS.every === 0);
  expect(Buffer.from(kept)).toEqual(Buffer.from(told.bytes, "base64"));
  expect(said.reduce((sum, level) => sum + level, 0)).toBe(told.sum);
}

test("the rectangles are those of the Python side", () => {
  expect(VECTORS.squares.length).toBeGreaterThan(100);
  for (const { size_wh, box, context, rectangle } of VECTORS.squares) {
    expect(square(box, ...size_wh, context), JSON.stringify([size_wh, box, context])).toEqual(rectangle);
  }
});

describe("crops are those of the Python side to the bit", () => {
  test.each(VECTORS.crops)("$picture $size_wh, $box, $size px, context $context", (told) => {
    const picture = PICTURES[told.picture](...told.size_wh);
    same(cut(picture, told.box, told.size, told.context), told, 3 * told.size * told.size);
  });
});

describe("resized pictures are those of the Python side to the bit", () => {
  test.each(VECTORS.fits)("$picture $size_wh to $to_wh", (told) => {
    same(fitTo(PICTURES[told.picture](...told.size_wh), ...told.to_wh), told, 3 * told.to_wh[0] * told.to_wh[1]);
  });
});

test("halves are rounded to the even neighbour", () => {
  const values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999, 2.5001, 7];
  expect(values.map((value) => roundEven(value) + 0)).toEqual([-2, -2, 0, 0, 2, 2, 2, 3, 7]);
});

test("the picture stays as it is", () => {
  const picture = speckled(64, 48);
  cut(picture, [0.1, 0.1, 0.5, 0.5], 32, 1);
  expect(picture).toEqual(speckled(64, 48));
});
