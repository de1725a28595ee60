/** The frame scan: the whole picture once through the network, every window scored; `edge/detect/frame_scan.py`. */

import type { Card } from "./card";
import { fitTo } from "./crops";
import { logit, sigmoid } from "./evidence";
import { roundEven } from "./resize";
import type { BoxXYWH, Picture, Score } from "./schema";
import { area, common, inside } from "./tracker";

const CELL_PX = 32;
const MOST = 5; // bears of one picture
const LEAST = 0.02; // bear probability of a second one and further ones
const HELD = 0.25; // a window that holds so much of a bear that was found shows that one again
const MARGIN = 2; // cells around the window that may be of the bear in it
const FAINT = 0.1; // of the peak of the map above the least of the window: what is less is no bear
const SPREAD = 1.8; // standard deviations of what is more, from its middle to the box's sides

/** The network's answer for one whole picture. */
export interface Look {
  readonly rows: readonly Float32Array[]; // the probabilities of each window
  readonly heat: Heat;
  readonly ood: number;
}

/** A map of bears, row by row: larger where one is. */
export interface Heat {
  readonly data: Float32Array;
  readonly width: number; // cells
  readonly height: number;
}

/** Interface of the classifier for the scan. */
export interface Windows {
  readonly card: Card;
  windows(bgr: Uint8Array, width: number, height: number): Promise<Look>;
}

/** Return the size in pixels at which the network takes a picture whole: the longer side `side`, its aspect kept. */
export function frameSize(width: number, height: number, side: number, windows: readonly number[]): [number, number] {
  const least = Math.max(...windows);
  const cells = (each: number): number => Math.max(roundEven((each * side) / Math.max(width, height) / CELL_PX), least);
  return [cells(width) * CELL_PX, cells(height) * CELL_PX];
}

/**
 * Return the bears of one picture, the surest first; at least one, however unsure.
 *
 * `bear` of the first is the picture's score on the scale of the card's threshold `frame`. One bear is one score.
 * `side`: the longer side in pixels, where the phone is too slow for the card's; null: the card's.
 */
export async function scan(classifier: Windows, picture: Picture, side: number | null = null): Promise<Score[]> {
  const { card } = classifier;
  const candidates: { window: BoxXYWH; row: Float32Array; bear: number; look: Look; left: boolean }[] = [];
  for (const each of side === null ? card.sides : [side]) {
    const [width, height] = frameSize(picture.width, picture.height, each, card.windows);
    const look = await classifier.windows(fitTo(picture, width, height), width, height);
    windowsOf(look.heat.width, look.heat.height, card.windows).forEach((window, index) => {
      const row = look.rows[index];
      candidates.push({ window, row, bear: bearOf(card, row), look, left: true });
    });
  }
  const scores: Score[] = [];
  while (scores.length < MOST) {
    const left = candidates.filter((each) => each.left);
    if (!left.length) break;
    const best = left.reduce((first, each) => (each.bear > first.bear ? each : first));
    if (scores.length && best.bear < LEAST) break;
    const box = where(best.look.heat, best.window);
    if (!scores.some((score) => inside(box, score.region.box) > HELD)) {
      scores.push(scored(card, { box, kind: "scan" }, best.row, best.look.ood));
      for (const each of left) each.left = shareIn(box, each.window) <= HELD;
    }
    best.left = false;
  }
  return scores;
}

/** Return them with `bear` on the crops' scale: each logit moved so that the threshold `frame` falls onto `crop`. */
export async function scanOnCropScale(classifier: Windows, picture: Picture, side: number | null = null): Promise<Score[]> {
  const move = logit(classifier.card.crop) - logit(classifier.card.frame);
  const scores = await scan(classifier, picture, side);
  return scores.map((score) => ({ ...score, bear: sigmoid(logit(score.bear) + move) }));
}

/** Return a region's row of probabilities and out-of-domain score as a `Score`; `scored` of the classifier. */
export function scored(card: Card, region: Score["region"], row: Float32Array, ood: number): Score {
  const best = card.alarmColumns.reduce((first, column) => (row[column] > row[first] ? column : first));
  return { region, probabilities: [...row], bear: Math.min(bearOf(card, row), 1), label: card.labels[best], ood };
}

/** Return the sum of the alarm labels, in single precision as numpy adds them. */
export function bearOf(card: Card, row: Float32Array): number {
  return card.alarmColumns.reduce((sum, column) => Math.fround(sum + row[column]), 0);
}

/** Return the windows of a map of so many cells in the order of the network's scores. */
export function windowsOf(width: number, height: number, sizes: readonly number[]): BoxXYWH[] {
  const all: BoxXYWH[] = [];
  for (const size of sizes) {
    for (let y = 0; y <= height - size; y++) {
      for (let x = 0; x <= width - size; x++) all.push([x / width, y / height, size / width, size / height]);
    }
  }
  return all;
}

/**
 * Locate the bear in a window by the map of bears.
 *
 * Middle and spread of what stands out of the least in the window, in it and `MARGIN` cells around it.
 */
export function where(heat: Heat, window: BoxXYWH): BoxXYWH {
  const { width, height } = heat;
  const [x, y] = [Math.round(window[0] * width), Math.round(window[1] * height)];
  const [across, down] = [Math.round(window[2] * width), Math.round(window[3] * height)];
  let [least, peak] = [Infinity, -Infinity];
  for (let row = y; row < y + down; row++) {
    for (let column = x; column < x + across; column++) {
      const value = heat.data[row * width + column];
      least = Math.min(least, value);
      peak = Math.max(peak, value);
    }
  }
  const [left, top] = [Math.max(x - MARGIN, 0), Math.max(y - MARGIN, 0)];
  const [right, bottom] = [Math.min(x + across + MARGIN, width), Math.min(y + down + MARGIN, height)];
  const [columns, rows] = [new Float64Array(right - left), new Float64Array(bottom - top)];
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const share = (heat.data[row * width + column] - least) / Math.max(peak - least, 1e-9);
      const weight = Math.min(Math.max(share, 0), 1) - FAINT;
      if (weight <= 0) continue;
      columns[column - left] += weight;
      rows[row - top] += weight;
    }
  }
  const horizontal = extent(columns, left, width);
  const vertical = extent(rows, top, height);
  if (!horizontal || !vertical) return window; // the same everywhere
  return [horizontal[0], vertical[0], horizontal[1], vertical[1]];
}

/** Return start and length as fractions of an axis of so many cells; null without any weight. */
function extent(weights: Float64Array, start: number, cells: number): [number, number] | null {
  const sum = weights.reduce((total, each) => total + each, 0);
  if (sum === 0) return null;
  const middles = weights.map((_, index) => start + index + 0.5);
  const middle = weights.reduce((total, each, index) => total + (each / sum) * middles[index], 0);
  const spread = weights.reduce((total, each, index) => total + (each / sum) * (middles[index] - middle) ** 2, 0);
  const reach = SPREAD * Math.sqrt(spread + 1 / 12); // a cell is not a point
  const low = Math.max(middle - reach, 0) / cells;
  return [low, Math.min(middle + reach, cells) / cells - low];
}

/** Return the share of a box that lies in a window. */
export function shareIn(box: BoxXYWH, window: BoxXYWH): number {
  return common(box, window) / Math.max(area(box), 1e-12);
}
