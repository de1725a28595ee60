import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { logit, Rule, sigmoid } from "../src/evidence";
import { alike, RepeatAlarmFilter, thumbnail } from "../src/repeat_alarms";
import { roundEven } from "../src/resize";
import type { BoxXYWH } from "../src/schema";
import { boxOf, type Card, replay, type Scene } from "./replay";

interface Vectors {
  readonly labels: string[];
  readonly card: Card;
  readonly rules: { threshold: number | null; crop: number; still: number; counts: [number, number, boolean, number][] }[];
  readonly logits: [number, number, number][];
  readonly picture: [number, number];
  readonly thumbnails: [number[], number[]][];
  readonly scenes: Scene[];
}

const vectors: Vectors = JSON.parse(readFileSync(new URL("vectors/decisions.json", import.meta.url), "utf-8"));

describe("what Python says of a scene, frame by frame", () => {
  test.each(vectors.scenes.map((scene) => [scene.name, scene] as const))("%s", (_, scene) => {
    const { said, follows } = replay(scene, vectors.card, vectors.labels);
    expect(said.length).toBeGreaterThanOrEqual(100);
    said.forEach(({ before, tracks, sums, twice, decisions }, i) => {
      const [, , , tracksTold, sumsTold, more = {}] = scene.frames[i];
      const told = { i, before: more.before ?? [], tracks: tracksTold, twice: more.twice ?? [], decisions: more.decisions ?? [] };
      expect({ i, before, tracks, twice, decisions }).toEqual(told);
      expect(sums).toHaveLength(sumsTold.length);
      // The file has whole millionths.
      sums.forEach((sum, k) => expect(Math.abs(1e6 * sum - sumsTold[k])).toBeLessThanOrEqual(0.5 + 1e-3));
    });
    expect(follows).toBe(scene.follows);
  });

  test("there are enough of them, and enough happens", () => {
    const decisions = vectors.scenes.flatMap((scene) => scene.frames.flatMap((row) => row[5]?.decisions ?? []));
    expect(vectors.scenes.length).toBeGreaterThanOrEqual(40);
    expect(decisions.filter((each) => Array.isArray(each) && each[0] === 0).length).toBeGreaterThanOrEqual(60);
    expect(decisions.filter((each) => Array.isArray(each) && each[10] !== null).length).toBeGreaterThanOrEqual(20);
  });
});

test("a score counts as much as in Python", () => {
  for (const { threshold, crop, still, counts } of vectors.rules) {
    const rule = Rule.fromCard(vectors.card, threshold);
    expect(rule.threshold).toBe(crop);
    expect(rule.stillThreshold).toBeCloseTo(still, 12);
    for (const [bear, ood, isStill, told] of counts) expect(rule.evidence(bear, ood, isStill)).toBeCloseTo(told, 9);
  }
  for (const [p, logits, probability] of vectors.logits) {
    expect(logit(p)).toBeCloseTo(logits, 9);
    expect(sigmoid(10 * p - 5)).toBeCloseTo(probability, 12);
  }
});

test("a thumbnail is Python's", () => {
  const [width, height] = vectors.picture;
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const even = x < 32 && y < 16;
      const plane = (c: number): number => even ? 90 : (x * (3 + c) + y * (7 - c) + Math.floor((x * y) / (11 + 2 * c))) % 256;
      data.set([plane(2), plane(1), plane(0), 255], 4 * (y * width + x));
    }
  }
  for (const [ints, told] of vectors.thumbnails) {
    const shown = [...thumbnail({ data, width, height }, boxOf(ints))];
    const cells = told.length > 0 ? told : Array.from({ length: 256 }, () => 0);
    // One grey level of difference, by rounding, is some hundredths of a standard deviation.
    expect(Math.max(...shown.map((cell, i) => Math.abs(cell - cells[i] / 10000)))).toBeLessThan(0.06);
  }
});

describe("spots of repeated alarms", () => {
  const BOX: BoxXYWH = [0.1, 0.2, 0.2, 0.2];
  const HOUR = 3600;
  const stump = Float32Array.from({ length: 256 }, (_, i) => (i % 2 === 0 ? 1 : -1));
  const never = (): Float32Array => {
    throw new Error("looked at for nothing");
  };

  test("three alarms that look alike over two hours hold a spot back for a day", () => {
    const filter = new RepeatAlarmFilter();
    for (const hour of [0, 1, 2]) {
      expect(filter.twice(BOX, never, hour * HOUR)).toBe(false);
      filter.alarmed(BOX, stump, hour * HOUR);
    }
    expect(filter.twice(BOX, () => stump, 3 * HOUR)).toBe(true);
    expect(filter.twice(BOX, () => stump.map((cell) => -cell), 3 * HOUR)).toBe(false);
    expect(filter.twice([0.6, 0.2, 0.2, 0.2], never, 3 * HOUR)).toBe(false);
    expect(filter.twice(BOX, () => stump, 24 * HOUR - 1)).toBe(true);
    expect(filter.twice(BOX, never, 24 * HOUR)).toBe(false);
  });

  test("one that was said to be wrong holds it back until the review is taken back", () => {
    const filter = new RepeatAlarmFilter();
    filter.reviewed("event", BOX, 0, 10, true);
    expect(filter.twice(BOX, never, 20)).toBe(true);
    filter.reviewed("event", BOX, 0, 30, false);
    expect(filter.twice(BOX, never, 40)).toBe(false);
    filter.reviewed("event", BOX, 0, 25 * HOUR, true);
    expect(filter.twice(BOX, never, 25 * HOUR)).toBe(false);
  });

  test("of many alarms at one spot, those that span the longest time are kept", () => {
    const filter = new RepeatAlarmFilter();
    for (let i = 0; i < 30; i++) filter.alarmed(BOX, stump, i * 600);
    expect(filter.twice(BOX, () => stump, 24 * HOUR - 1)).toBe(true);
  });

  test("a blank crop looks like nothing, and one much changed cell is another thing", () => {
    const blank = new Float32Array(256);
    expect(alike(blank, blank)).toBe(false);
    expect(alike(stump, stump)).toBe(true);
    expect(alike(stump, stump.map((cell, i) => (i === 7 ? cell + 1.01 : cell)))).toBe(false);
  });
});

test("halves are rounded to the even number, as in Python", () => {
  expect([0.5, 1.5, 2.5, 16.5, 2.4999, 2.5001, 7].map(roundEven)).toEqual([0, 2, 2, 16, 2, 3, 7]);
});
