/** The frame scan against numbers from Python (tests/helpers/make_phone_scan.py). */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Card, readCard } from "../src/card";
import { scanOnCropScale, frameSize, type Heat, scan, shareIn, where, windowsOf } from "../src/frame_scan";
import type { BoxXYWH } from "../src/schema";

interface Place {
  map: [number, number];
  heat: number[];
}
interface Vectors {
  windows: number[];
  frames: { picture: [number, number]; side: number; frame: [number, number] }[];
  grids: { map: [number, number]; windows: BoxXYWH[] }[];
  places: (Place & { window: BoxXYWH; box: BoxXYWH; shares: number[] })[];
  scans: (Place & {
    picture: [number, number];
    rows: number[][];
    ood: number;
    scores: { box: BoxXYWH; bear: number; label: string }[];
    beside_crops: number[];
  })[];
}

const vectors: Vectors = JSON.parse(readFileSync(new URL("./vectors/frame_scan.json", import.meta.url), "utf8"));
const card: Card = readCard(readFileSync(new URL("../../../models/bear.onnx", import.meta.url)));

function heatOf({ map: [width, height], heat }: Place): Heat {
  return { data: Float32Array.from(heat), width, height };
}

function expectClose(found: readonly number[], told: readonly number[], tolerance = 1e-6): void {
  expect(found.length).toBe(told.length);
  found.forEach((each, index) => expect(Math.abs(each - told[index])).toBeLessThan(tolerance));
}

test.each(vectors.frames)("a picture of $picture has the same size before the network", ({ picture, side, frame }) => {
  expect(frameSize(picture[0], picture[1], side, vectors.windows)).toEqual(frame);
});

test("windows come in the order of the network's scores", () => {
  for (const { map, windows } of vectors.grids) {
    const found = windowsOf(map[0], map[1], [5, 7]);
    expect(found.length).toBe(windows.length);
    found.forEach((each, index) => expectClose(each, windows[index]));
  }
});

test.each(vectors.places)("a bear is where Python finds it, map $map", (place) => {
  const box = where(heatOf(place), place.window);
  expectClose(box, place.box);
  const shares = windowsOf(place.map[0], place.map[1], vectors.windows).map((window) => shareIn(box, window));
  if (place.shares.length) expectClose(shares, place.shares);
});

test.each(vectors.scans)("a whole scan gives the same bears, map $map", async (told) => {
  const rows = told.rows.map((row) => Float32Array.from(row));
  const classifier = { card, windows: () => Promise.resolve({ rows, heat: heatOf(told), ood: told.ood }) };
  const [width, height] = told.picture;
  const picture = { data: new Uint8ClampedArray(width * height * 4), width, height };
  const found = await scan(classifier, picture);
  expect(found.map((score) => score.label)).toEqual(told.scores.map((score) => score.label));
  expect(found.every((score) => score.ood === told.ood && score.region.kind === "scan")).toBe(true);
  found.forEach((score, index) => expectClose([...score.region.box, score.bear], [...told.scores[index].box, told.scores[index].bear]));
  const moved = await scanOnCropScale(classifier, picture, 320);
  expectClose(moved.map((score) => score.bear), told.beside_crops);
});
