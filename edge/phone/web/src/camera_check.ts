/**
 * Repeats edge/detect/camera_check.py: that the camera is not black, blinded, covered, blurred or turned away.
 *
 * Works on the small grey picture of `motion.ts`, about once a second, against what was usual at this place before.
 * Light and weather change brightness and contrast; these measures hardly follow them:
 *
 * - structure: |5x5 mean - 21x21 mean|; where nearly every block has none, nothing can be made out.
 * - contrast: |picture - 9x9 mean| by brightness, which fog takes away.
 * - sharpness: |picture - 5x5 mean| by structure, which dew and a lens out of focus take away.
 * - likeness: the correlation of edge maps, each evened out by its surroundings, which a turned camera takes away.
 *
 * `FaultDebouncer` turns faults into reports: one after a grace time, and one when the fault is over. A camera that
 * flickers must not flood: each time a fault is back soon, the next end has to be good for twice as long.
 */

import { means } from "./resize";
import { type CameraFault, type Grey, newId, type TroubleKind } from "./schema";

const BLOCKS_WH = [16, 9] as const;
const CELLS_WH = [8, 6] as const; // likeness is judged in these
const [MIDDLE_FROM, MIDDLE_TO] = [1, 8]; // rows of blocks; into the uppermost and the lowermost cameras write their clock
const [DARK, BRIGHT] = [24, 245]; // brightness between which a block can be compared
const MIN_CONTRAST = 0.02; // usual contrast, 2 grey levels of 100, below which a block is smooth and cannot be compared
const MIN_COMPARED = 0.1; // share of blocks
const MIN_LIKE = 0.25; // share of the cells with edges that must still have edges, for a comparison

// When something counts as wrong, and for how long it must last (seconds).
const STRUCTURE = 1.5; // grey levels, below which a block is flat
const FLAT = 0.95; // share of flat blocks from which on nothing can be made out
const BLACK = 32; // median brightness below which that is black
const WHITE = 235; // and above which white
const BLINDED = 0.8; // share of blocks over 250 that is white too, whatever the rest shows
const CONTRAST = 0.3; // of what is usual, median of the blocks
const SHARPNESS = 0.5;
const ELSEWHERE = 0.25; // median likeness to the view below which it is another
const AT_REST = 0.5; // likeness of two views in one direction
const LASTS_S = { black: 2, white: 2, covered: 2, blurred: 60, moved: 20 } as const;
const REPORTED_S = 60; // how long a turned camera is reported; the new view counts at once
const SETTLE_S = 60; // until so much was seen of a place nothing is missed there
const RISE_S = 600; // how fast what is usual follows upwards
const FALL_S = 86_400; // and downwards: dew takes hours
const VIEW_S = 600; // how fast the view's edges follow: shadows wander

const CLEAR_S = 3;
const MAX_CLEAR_S = 300;
const AGAIN_S = 600;
const MAX_RETURNS = 10; // further ones change nothing

type Seen = keyof typeof LASTS_S; // what a picture alone can show

/** Measures of one picture, or the usual ones of a place; all but the edges of 16 x 9 blocks. */
interface View {
  readonly width: number;
  readonly height: number;
  readonly mean: Float32Array; // brightness, grey levels
  readonly structure: Float32Array; // grey levels
  readonly contrast: Float32Array; // a share of brightness
  readonly sharpness: Float32Array; // a share of structure
  readonly edges: Float32Array; // one a pixel, about 1 on an edge
}

/** Measure a picture. */
export function viewOf({ data, width, height }: Grey): View {
  const around = (values: Float32Array, side: number) => blurred(values, width, height, side);
  const blocks = (values: Float32Array) => means(values, width, height, ...BLOCKS_WH);
  const apart = (one: Float32Array, other: Float32Array) => one.map((value, i) => Math.abs(value - other[i]));
  const fine = around(data, 5);
  const mean = blocks(data);
  const structure = blocks(apart(fine, around(data, 21)));
  const contrast = blocks(apart(data, around(data, 9))).map((value, i) => value / (mean[i] + 8));
  const sharpness = blocks(apart(data, fine)).map((value, i) => value / (structure[i] + 1));
  const steep = steepness(data, width, height);
  const steepAround = around(steep, 21);
  const edges = around(steep.map((value, i) => value / (steepAround[i] + 1.5)), 5);
  return { width, height, mean, structure, contrast, sharpness, edges };
}

/** Small grey picture and its time in, what is wrong out; one for each camera, called about once a second. */
export class CameraCheck {
  #usual: View | null = null;
  #begun = 0; // start of what is usual
  #time = 0; // of the last picture
  #since = new Map<Seen, number>(); // since when something looks wrong
  #other: View | null = null; // another view, while it holds still
  #turned: { readonly at: number; readonly fault: CameraFault } | null = null; // when a turned camera was noticed

  /** Return what is wrong with this picture, taken at `time` seconds. */
  look(grey: Grey, time: number): CameraFault[] {
    const view = viewOf(grey);
    const dt = Math.max(time - this.#time, 0);
    this.#time = time;
    let wrong = unseen(view);
    if (wrong.size) {
      this.#other = null;
    } else if (!this.#usual || this.#usual.width !== view.width || this.#usual.height !== view.height) {
      this.#take(view);
    } else {
      wrong = this.#missed(view, this.#usual);
      if (!wrong.has("moved")) this.#usual = this.#learned(view, this.#usual, dt);
    }
    this.#since = new Map([...wrong.keys()].map((kind) => [kind, this.#since.get(kind) ?? time]));
    const lasting = [...wrong].filter(([kind]) => time - (this.#since.get(kind) ?? time) >= LASTS_S[kind]);
    const turned = lasting.find(([kind]) => kind === "moved");
    if (turned) {
      if (time - this.#begun >= SETTLE_S) this.#turned = { at: time, fault: { kind: "moved", value: turned[1] } };
      this.#take(view);
    }
    const faults = lasting.filter(([kind]) => kind !== "moved").map(([kind, value]): CameraFault => ({ kind, value }));
    if (this.#turned && time - this.#turned.at < REPORTED_S) faults.push(this.#turned.fault);
    return faults;
  }

  #take(view: View): void {
    this.#usual = view;
    this.#begun = this.#time;
    this.#other = null;
    this.#since.clear();
  }

  /** Return what is usual at this place and cannot be seen now, and what was measured. */
  #missed(view: View, usual: View): Map<Seen, number> {
    const wrong = new Map<Seen, number>();
    const lit = litBlocks(view);
    const comparable = lit.map((yes, i) => yes && usual.contrast[i] >= MIN_CONTRAST);
    let blurry = false;
    if (share(comparable) >= MIN_COMPARED) {
      const contrast = median(view.contrast.map((value, i) => value / usual.contrast[i]), comparable);
      const sharpness = median(view.sharpness.map((value, i) => value / usual.sharpness[i]), comparable);
      if ((contrast < CONTRAST || sharpness < SHARPNESS) && this.#time - this.#begun >= SETTLE_S) {
        wrong.set("blurred", 100 * Math.min(contrast, sharpness));
      }
      const shown = lit.map((yes, i) => yes && view.structure[i] >= STRUCTURE);
      // Another view through the same lens is as sharp as the last; drops on the lens make edges elsewhere too.
      blurry = shown.includes(true) && median(view.sharpness, shown) < SHARPNESS * median(usual.sharpness, comparable);
    }
    const alike = likeness(view, usual);
    if (blurry || alike === null || alike >= ELSEWHERE) {
      this.#other = null;
      return wrong;
    }
    const still = this.#other && likeness(view, this.#other);
    if (still === null || still < AT_REST) {
      // A passing animal or a swaying pole does not show one other view for long.
      this.#other = view;
      this.#since.delete("moved");
    }
    return wrong.set("moved", Math.max(alike, 0));
  }

  /** Return the usual view after it followed what is seen, more slowly downwards; dark and blinded blocks stay. */
  #learned(view: View, usual: View, dt: number): View {
    const age = this.#time - this.#begun;
    const first = age > 0 && age < SETTLE_S ? dt / age : 0; // a plain mean to begin with
    const step = (timeS: number) => Math.max(first, 1 - Math.exp(-dt / timeS));
    const [rise, fall, follow] = [step(RISE_S), step(FALL_S), step(VIEW_S)];
    const lit = litBlocks(view);
    const followed = (was: Float32Array, now: Float32Array) =>
      was.map((value, i) => (lit[i] ? value + (now[i] > value ? rise : fall) * (now[i] - value) : value));
    return {
      ...usual,
      contrast: followed(usual.contrast, view.contrast),
      sharpness: followed(usual.sharpness, view.sharpness),
      edges: usual.edges.map((value, i) => value + follow * (view.edges[i] - value)),
    };
  }
}

/** Return what is wrong with a picture in which nothing can be made out, whatever was there before. */
function unseen({ mean, structure }: View): Map<Seen, number> {
  const light = median(mean);
  if (share(Array.from(mean, (level) => level > 250)) >= BLINDED) return new Map([["white", light]]);
  const middle = structure.subarray(MIDDLE_FROM * BLOCKS_WH[0], MIDDLE_TO * BLOCKS_WH[0]);
  const flat = share(Array.from(middle, (level) => level < STRUCTURE));
  if (flat < FLAT) return new Map();
  if (light < BLACK) return new Map([["black", light]]);
  if (light > WHITE) return new Map([["white", light]]);
  return new Map([["covered", 100 * flat]]);
}

/** Return the median correlation of two edge maps over the cells in which both have edges, -1 to 1; null: too few. */
function likeness(one: View, other: View): number | null {
  const cells = (value: (i: number) => number) =>
    means(one.edges.map((_, i) => value(i)), one.width, one.height, ...CELLS_WH);
  const [a, b] = [one.edges, other.edges];
  const [meanA, meanB] = [cells((i) => a[i]), cells((i) => b[i])];
  const spreadA = cells((i) => a[i] * a[i]).map((square, i) => square - meanA[i] * meanA[i]);
  const spreadB = cells((i) => b[i] * b[i]).map((square, i) => square - meanB[i] * meanB[i]);
  const there = Array.from(spreadB, (spread) => spread > 0.01);
  const both = there.map((yes, i) => yes && spreadA[i] > 0.01);
  if (share(there) < MIN_COMPARED || share(both) < MIN_LIKE * share(there)) return null;
  const common = cells((i) => a[i] * b[i]).map((product, i) => product - meanA[i] * meanB[i]);
  return median(common.map((value, i) => value / Math.sqrt(spreadA[i] * spreadB[i])), both);
}

function litBlocks({ mean }: View): boolean[] {
  return Array.from(mean, (level) => level > DARK && level < BRIGHT);
}

function share(blocks: readonly boolean[]): number {
  return blocks.filter(Boolean).length / blocks.length;
}

/** Return the median of the blocks that count. */
function median(values: Float32Array, counts?: readonly boolean[]): number {
  const sorted = values.filter((_, i) => counts?.[i] ?? true).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Return where to find each pixel from `reach` before the border to `reach` behind the other: mirrored without the border. */
function mirrored(length: number, reach: number): Int32Array {
  const turn = 2 * (length - 1);
  return Int32Array.from({ length: length + 2 * reach }, (_, i) => {
    const along = (((i - reach) % turn) + turn) % turn;
    return Math.min(along, turn - along);
  });
}

/** Return the mean of the square of `side` pixels around each pixel. */
function blurred(values: Float32Array, width: number, height: number, side: number): Float32Array {
  const reach = side >> 1;
  const [xs, ys] = [mirrored(width, reach), mirrored(height, reach)];
  const columns = new Float64Array(width); // sums of `side` rows
  const add = (row: number, times: 1 | -1) => {
    for (let x = 0, i = row * width; x < width; x++, i++) columns[x] += times * values[i];
  };
  const out = new Float32Array(values.length);
  for (let y = 0; y < side - 1; y++) add(ys[y], 1);
  for (let y = 0; y < height; y++) {
    add(ys[y + side - 1], 1);
    let sum = 0;
    for (let x = 0; x < side - 1; x++) sum += columns[xs[x]];
    for (let x = 0; x < width; x++) {
      sum += columns[xs[x + side - 1]];
      out[y * width + x] = sum / (side * side);
      sum -= columns[xs[x]];
    }
    add(ys[y], -1);
  }
  return out;
}

/** Return how steep the picture is at each pixel: Sobel's operator by 1/8, grey levels a pixel. */
function steepness(values: Float32Array, width: number, height: number): Float32Array {
  const [xs, ys] = [mirrored(width, 1), mirrored(height, 1)];
  const out = new Float32Array(values.length);
  for (let y = 0, i = 0; y < height; y++) {
    const [above, at, below] = [ys[y] * width, y * width, ys[y + 2] * width];
    for (let x = 0; x < width; x++, i++) {
      const left = xs[x];
      const right = xs[x + 2];
      const [a, b, c, d] = [values[above + left], values[above + right], values[below + left], values[below + right]];
      const across = b - a + 2 * (values[at + right] - values[at + left]) + d - c;
      const down = c - a + 2 * (values[below + x] - values[above + x]) + d - b;
      out[i] = Math.sqrt(across * across + down * down) / 8;
    }
  }
  return out;
}

// Seconds a fault must last before it is reported. What a camera or the lens check reports is some seconds old already.
const GRACE_S: Readonly<Record<TroubleKind, number>> = {
  gone: 3,
  frozen: 3,
  black: 5,
  white: 5,
  covered: 5,
  blurred: 60,
  moved: 0,
};

/** A fault that is new or over (end). */
export interface FaultReport {
  readonly type: "new" | "end";
  readonly id: string; // of its events: new and end share it
  readonly fault: CameraFault;
  readonly lastedS: number;
}

/** One kind of fault: what is known of it now, and how often it came back. */
interface Case {
  fault: CameraFault;
  since: number;
  seenAt: number;
  id: string | null; // null: not published
  endedAt: number | null; // when the last end was published
  returns: number;
}

/**
 * Faults of one moment in, reports out; one for each camera. Call it about once a second.
 *
 * Without the fault for `CLEAR_S` it is over; doubled, up to five minutes, for each time it was back within
 * `AGAIN_S` of its end. Times in seconds, from one clock that only goes forward.
 */
export class FaultDebouncer {
  readonly #cases = new Map<TroubleKind, Case>();

  /** Return the faults that were published and last. */
  get now(): CameraFault[] {
    return [...this.#cases.values()].filter((each) => each.id).map((each) => each.fault);
  }

  /** Return the reports to publish now. */
  report(faults: readonly CameraFault[], time: number): FaultReport[] {
    const kinds = new Set(faults.map((fault) => fault.kind));
    const reports: FaultReport[] = [];
    for (const [kind, each] of this.#cases) {
      // While no picture comes, nothing else can be known to be over.
      const over = kinds.has(kind) || kinds.has("gone") ? null : goneBy(each, time);
      if (over) reports.push(over);
    }
    for (const fault of faults) {
      const begun = this.#lasting(fault, time);
      if (begun) reports.push(begun);
    }
    return reports;
  }

  /** End every fault that was published and lasts: the camera is closed. */
  close(time: number): FaultReport[] {
    const reports: FaultReport[] = [];
    for (const { id, fault, since } of this.#cases.values()) {
      if (id) reports.push({ type: "end", id, fault, lastedS: Math.max(time - since, 0) });
    }
    this.#cases.clear();
    return reports;
  }

  #lasting(fault: CameraFault, time: number): FaultReport | null {
    const known = this.#cases.get(fault.kind);
    const each = known ?? { fault, since: time, seenAt: time, id: null, endedAt: null, returns: 0 };
    this.#cases.set(fault.kind, each);
    if (!each.id && time - each.seenAt >= CLEAR_S) each.since = time;
    each.fault = fault;
    each.seenAt = time;
    if (each.id || time - each.since < GRACE_S[fault.kind]) return null;
    const backSoon = each.endedAt !== null && time - each.endedAt <= AGAIN_S;
    each.returns = backSoon ? each.returns + 1 : 0;
    each.id = newId();
    return { type: "new", id: each.id, fault, lastedS: time - each.since };
  }
}

function goneBy(each: Case, time: number): FaultReport | null {
  const clearS = Math.min(CLEAR_S * 2 ** Math.min(each.returns, MAX_RETURNS), MAX_CLEAR_S);
  if (!each.id || time - each.seenAt < clearS) return null;
  const report: FaultReport = { type: "end", id: each.id, fault: each.fault, lastedS: each.seenAt - each.since };
  each.id = null;
  each.endedAt = time;
  return report;
}
