/** Repeats edge/detect/motion.py, whose arithmetic docs/motion.md writes out: what moved, on a small grey picture. */

import { greyOf, linear, means } from "./resize";
import type { BoxXYWH, Grey, Picture, Polygon, Region } from "./schema";
import { drawn } from "./zones";

const STEP = 4; // light and sway are judged on every 4th row and column
const REACH_PX = 4; // how far the picture may sway, on the small picture
const SHIFTS = 2 * REACH_PX + 1;
const CAP = 20; // a larger difference says no more: what moves in the picture must not drag the whole along
const MIN_SPREAD = 6; // grey levels between dark and bright parts, below which no gain can be told
const MIN_CHANGE = 0.02; // of the gain; what is less the middle of all differences has explained
const WHITE = 250; // what is whiter is as white in any light
const PARTS = 16; // the sway is measured in sixteenths of a pixel

const CELLS_WH = [8, 6] as const;
const CLOSING_PX = 2; // how far the gaps in the foreground are closed
const MAX_FOUND = 64; // of these the near ones are joined; in a storm of specks more add nothing
// Beyond this, since the place was begun, what could not be seen may be seen now: it is begun again.
const [MIN_GAIN, MAX_GAIN] = [0.6, 1.7];
const MIN_SEEN = 0.25; // a cell of which less is unmasked tells nothing

const [MIN_HEIGHT_PX, MAX_HEIGHT_PX] = [6, 1280]; // of the small picture: what is thinner is no photograph

/** Limits of motion, in grey levels (0 to 255), seconds and pixels of the small picture. */
const USUAL = {
  widthPx: 320, // of the small picture; every figure below is made for 320
  threshold: 9, // least difference that counts
  deviations: 3, // and at least so many mean deviations of that pixel
  backgroundS: 10, // how fast the background follows
  foregroundS: 60, // and where something stands in front of it
  deviationS: 10, // how fast a swaying pixel grows quiet
  firstDeviation: 1.5, // of a background that has seen one frame
  minAreaPx: 8, // foreground pixels: a 27 px wide bear in 1280 covers about 7 x 4
  minSidePx: 4, // longer side of the box
  nearPx: 3, // boxes closer than this, or than nearShare of the larger, are one
  nearShare: 0.15,
  maxRegions: 16, // a frame
  large: 0.6, // share of the frame from which on a region's crop shows little
  everywhere: 0.6, // share of cells that must change for a jump or a moving picture
  cellShare: 0.05, // of a cell's pixels, for it to have changed
  touchedShare: 0.01, // of a cell's pixels, for the light to be a reason
  widespread: 0.25, // share of cells so touched from which on the pole may be
  edges: 0.5, // while swaying, so much of the range around a pixel is no change
  swayedPx: 0.5, // the camera has a new place when it has been so far from the old one
  swayedS: 10, // for so long
  flashS: 2, // how long the background before a jump is kept, to be taken back when it fits again
  movingS: 1, // two changes everywhere within this are movement, not a jump
};
export type MotionSettings = Readonly<typeof USUAL>;

/** Motion of one frame. */
export interface Motion {
  readonly regions: Region[]; // kind "motion", largest first
  readonly reset: boolean; // the background starts again: first frame, lighting jump, camera at rest again
  readonly moving: boolean; // the picture as a whole moves: regions mean nothing, look at it as a whole
  readonly large: boolean; // a region fills most of the frame, and its crop shows little: as while moving
  readonly grey: Grey; // the small picture; its numbers are good until the next frame is looked at
}

/** Return the grey picture motion is looked for on, the height by the picture's shape; `into` is used again if it fits. */
export function smallGrey(picture: Picture, widthPx = USUAL.widthPx, into?: Grey): Grey {
  const { width, height } = picture;
  const rows = Math.floor((2 * widthPx * height + width) / (2 * width)); // rounded, half up
  const smallH = Math.min(Math.max(rows, MIN_HEIGHT_PX), MAX_HEIGHT_PX);
  if (!width || !height || picture.data.length !== 4 * width * height) {
    throw new Error(`a picture of ${width} x ${height} with ${picture.data.length} bytes is no picture`);
  }
  const fits = into && into.width === widthPx && into.height === smallH;
  const grey = fits ? into : { data: new Float32Array(widthPx * smallH), width: widthPx, height: smallH };
  const levels = linear(picture, [0, 0, width, height], widthPx, smallH); // BGR; the grey levels are written over it
  for (let i = 0, p = 0; p < levels.length; i++, p += 3) levels[i] = greyOf(levels[p], levels[p + 1], levels[p + 2]);
  smooth(levels, grey);
  return grey;
}

/** Write the means of 3 x 3 pixels; beyond the border the picture is mirrored, the border pixel itself left out. */
function smooth(levels: Uint8Array, { data, width, height }: Grey): void {
  const sums = new Uint16Array(width); // of three rows
  const ninth = Math.fround(1 / 9);
  for (let y = 0; y < height; y++) {
    const at = y * width;
    const above = (y ? y - 1 : 1) * width;
    const below = (y < height - 1 ? y + 1 : height - 2) * width;
    for (let x = 0; x < width; x++) sums[x] = levels[above + x] + levels[at + x] + levels[below + x];
    data[at] = (sums[0] + 2 * sums[1]) * ninth;
    for (let x = 1; x < width - 1; x++) data[at + x] = (sums[x - 1] + sums[x] + sums[x + 1]) * ninth;
    data[at + width - 1] = (sums[width - 1] + 2 * sums[width - 2]) * ninth;
  }
}

/** One picture held against a place. The arrays belong to the finder's `Desk` and hold until the next picture. */
interface Change {
  readonly change: Float32Array; // the picture minus the background in its light
  readonly foreground: Uint8Array; // 0 or 1
  grey: Float32Array; // the picture, moved back if it had swayed
  shows: Uint8Array | null; // where the picture shows the place: not under masks, nor where it had swayed out of view
  edges: Float32Array | null; // where it had swayed: the least difference that counts
  count: number; // foreground pixels
  changed: number; // share of cells with more than cellShare of foreground, 0 to 1; 1 in quite another light
  touched: number; // the same with touchedShare
  gain: number; // by which the light has changed the picture
  shift: readonly [number, number]; // how far right and down the picture has swayed, pixels
}

/** Buffers for one picture, used again for the next. */
class Desk {
  readonly plain: Change;
  readonly swayed: Change;
  readonly relit: Change;
  readonly background: Float32Array; // the background in the picture's light
  readonly back: Float32Array; // the picture moved back
  readonly edges: Float32Array;
  readonly shows: Uint8Array;
  readonly spare: Float32Array;
  readonly was: Float32Array; // samples
  readonly now: Float32Array;
  readonly bits: Uint8Array;
  readonly closed: Uint8Array;
  readonly waiting: Int32Array; // pixels of a part whose neighbours were not looked at yet

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    const size = width * height;
    const change = (): Change => ({
      change: new Float32Array(size),
      foreground: new Uint8Array(size),
      grey: new Float32Array(0),
      shows: null,
      edges: null,
      count: 0,
      changed: 0,
      touched: 0,
      gain: 1,
      shift: [0, 0],
    });
    [this.plain, this.swayed, this.relit] = [change(), change(), change()];
    this.background = new Float32Array(size);
    this.back = new Float32Array(size);
    this.edges = new Float32Array(size);
    this.shows = new Uint8Array(size);
    this.spare = new Float32Array(size);
    const sampled = Math.ceil(width / STEP) * Math.ceil(height / STEP);
    [this.was, this.now] = [new Float32Array(sampled), new Float32Array(sampled)];
    this.bits = new Uint8Array(size);
    this.closed = new Uint8Array(size);
    this.waiting = new Int32Array(size);
  }
}

/** The background of one place and each pixel's mean deviation from it; begun from one picture. */
class Place {
  readonly background: Float32Array;
  readonly deviation: Float32Array;
  gain = 1; // by which the light has changed since it was begun
  readonly #few: number; // with no more foreground than this no cell is touched

  constructor(
    readonly desk: Desk,
    grey: Grey,
    readonly seen: Uint8Array | null, // 1 where a pixel counts, 0 under a mask
    readonly settings: MotionSettings,
  ) {
    this.background = grey.data.slice();
    this.deviation = new Float32Array(grey.data.length).fill(settings.firstDeviation);
    this.#few = (grey.data.length * settings.touchedShare) / (CELLS_WH[0] * CELLS_WH[1]);
  }

  /** Return what is different, after what the pole (with `swaying`) and the light explain. */
  compare(grey: Float32Array, swaying = true): Change {
    const { desk, seen, settings, background } = this;
    let found = desk.plain;
    for (let i = 0; i < grey.length; i++) found.change[i] = grey[i] - background[i];
    lessMiddle(desk, found.change, seen);
    this.#against(found, grey, seen, null, 1, [0, 0]);
    if (swaying && found.touched >= settings.widespread) {
      for (let i = 0; i < grey.length; i++) desk.background[i] = grey[i] - found.change[i];
      const shift = sway(desk, grey, seen);
      if (shift && (shift[0] !== 0 || shift[1] !== 0)) {
        const other = this.#swayed(grey, shift);
        if (this.#explains(other, found)) found = other;
      }
    }
    const light = found.touched > 0 ? relit(desk, background, found.grey, found.shows) : null;
    if (light) {
      const other = this.#relit(found, ...light);
      if (this.#explains(other, found)) {
        const gain = this.gain * other.gain;
        if (gain >= MIN_GAIN && gain <= MAX_GAIN) return other;
        found.changed = 1;
      }
    }
    return found;
  }

  /** Return true if the other leaves less than half of what was found, or no longer everything. */
  #explains(other: Change, found: Change): boolean {
    const { everywhere } = this.settings;
    return 2 * other.count < found.count || (other.changed < everywhere && found.changed >= everywhere);
  }

  #swayed(grey: Float32Array, shift: readonly [number, number]): Change {
    const { desk, seen } = this;
    const { back, background, edges, shows, swayed, width, height } = desk;
    if (seen) {
      // A mask stays where it is in the picture: what it hides may not come from beside it, nor go there.
      steadied(desk, seen, shift);
      for (let i = 0; i < seen.length; i++) desk.bits[i] = seen[i] && back[i] >= 1 ? 1 : 0;
    }
    steadied(desk, grey, shift);
    if (seen) for (let i = 0; i < seen.length; i++) shows[i] &= desk.bits[i];
    for (let i = 0; i < grey.length; i++) swayed.change[i] = back[i] - background[i];
    lessMiddle(desk, swayed.change, shows);
    // Between pixels no picture can be moved exactly: edges stay.
    span(background, width, height, edges);
    for (let i = 0; i < edges.length; i++) edges[i] *= this.settings.edges;
    return this.#against(swayed, back, shows, edges, 1, shift);
  }

  #relit(found: Change, gain: number, offset: number): Change {
    const { relit } = this.desk;
    const { background } = this;
    for (let i = 0; i < background.length; i++) {
      const lit = gain * background[i] + offset;
      relit.change[i] = found.grey[i] - (lit < 0 ? 0 : lit > 255 ? 255 : lit); // what is white cannot get whiter
    }
    return this.#against(relit, found.grey, found.shows, found.edges, gain, found.shift);
  }

  /** Follow the picture by `dt` seconds: slowly under foreground, not where it is hidden. */
  learn(found: Change, dt: number): void {
    const { background, deviation, settings } = this;
    const { change, foreground, grey, shows, gain } = found;
    const kept = 1 - alpha(dt, settings.backgroundS);
    const keptUnder = 1 - alpha(dt, settings.foregroundS);
    const steady = alpha(dt, settings.deviationS);
    this.gain *= gain;
    for (let i = 0; i < background.length; i++) {
      const usual = gain * deviation[i];
      if (shows && !shows[i]) {
        background[i] = grey[i] - change[i];
        deviation[i] = usual;
      } else {
        background[i] = grey[i] - (foreground[i] ? keptUnder : kept) * change[i];
        deviation[i] = usual + steady * (Math.abs(change[i]) - usual);
      }
    }
  }

  /** Finish a `Change` whose differences are in place. */
  #against(
    found: Change,
    grey: Float32Array,
    shows: Uint8Array | null,
    edges: Float32Array | null,
    gain: number,
    shift: readonly [number, number],
  ): Change {
    const { deviations, threshold, cellShare, touchedShare } = this.settings;
    const { change, foreground } = found;
    const { deviation } = this;
    const times = deviations * gain;
    let count = 0;
    for (let i = 0; i < change.length; i++) {
      const diff = Math.abs(change[i]);
      const other = diff > threshold && diff > times * deviation[i] && !(edges && diff <= edges[i]) && !(shows && !shows[i]);
      foreground[i] = other ? 1 : 0;
      count += foreground[i];
    }
    found.grey = grey;
    found.shows = shows;
    found.edges = edges;
    found.count = count;
    found.gain = gain;
    found.shift = shift;
    found.changed = found.touched = 0;
    if (shows || count > this.#few) {
      const { width, height } = this.desk;
      const shares = cellShares(foreground, shows, width, height);
      const above = (limit: number) => shares.filter((share) => share > Math.fround(limit)).length / shares.length;
      found.changed = above(cellShare);
      found.touched = above(touchedShare);
    }
    return found;
  }
}

/** Return the share of each cell's unmasked pixels that is foreground, of cells that tell anything. */
function cellShares(foreground: Uint8Array, shows: Uint8Array | null, width: number, height: number): Float32Array {
  const shares = means(foreground, width, height, ...CELLS_WH);
  if (!shows) return shares;
  const open = means(shows, width, height, ...CELLS_WH);
  for (let i = 0; i < shares.length; i++) shares[i] /= open[i];
  const found = shares.filter((_, i) => open[i] >= MIN_SEEN);
  return found.length ? found : new Float32Array(1);
}

function alpha(dt: number, timeConstantS: number): number {
  return Math.fround(1 - Math.exp(-dt / timeConstantS));
}

/** Return the lower median of some values, which are sorted for it. */
function lowerMedian(values: Float32Array): number {
  return values.sort()[(values.length - 1) >> 1];
}

/** Take the lower median of every 4th row and column off a difference; none where all of it is masked. */
function lessMiddle({ width, height, was }: Desk, change: Float32Array, shows: Uint8Array | null): void {
  let n = 0;
  for (let y = 0; y < height; y += STEP) {
    for (let i = y * width; i < y * width + width; i += STEP) if (!shows || shows[i]) was[n++] = change[i];
  }
  if (!n) return;
  const middle = lowerMedian(was.subarray(0, n));
  for (let i = 0; i < change.length; i++) change[i] -= middle;
}

/**
 * Return gain and offset that make the background look like the picture; null where light alone cannot be it.
 *
 * A line through the medians of the darkest and the brightest third (Tukey's resistant line, 1971), so
 * that what moved does not bend it.
 */
function relit(desk: Desk, background: Float32Array, grey: Float32Array, shows: Uint8Array | null): [number, number] | null {
  const { width, height } = desk;
  let n = 0;
  for (let y = 0; y < height; y += STEP) {
    for (let i = y * width; i < y * width + width; i += STEP) {
      if (background[i] >= WHITE || grey[i] >= WHITE || (shows && !shows[i])) continue; // it would flatten the line
      desk.was[n] = background[i];
      desk.now[n++] = grey[i];
    }
  }
  const third = Math.floor(n / 3);
  if (!third) return null;
  const [was, now] = [desk.was.subarray(0, n), desk.now.subarray(0, n)];
  const ordered = was.slice().sort();
  const [dark, bright] = [ordered[third], ordered[n - 1 - third]];
  const spread = lowerMedian(was.filter((level) => level >= bright)) - lowerMedian(was.filter((level) => level <= dark));
  if (spread < MIN_SPREAD) return null;
  const brightNow = lowerMedian(now.filter((_, i) => was[i] >= bright));
  const darkNow = lowerMedian(now.filter((_, i) => was[i] <= dark));
  const gain = Math.fround((brightNow - darkNow) / spread);
  if (Math.abs(gain - 1) < MIN_CHANGE) return null;
  for (let i = 0; i < n; i++) now[i] -= gain * was[i];
  return [gain, lowerMedian(now)];
}

/**
 * Return how far right and down the picture lies of `desk.background`, in pixels; null beyond 3.
 *
 * Every whole shift up to 4 is tried and the best refined by a parabola through its neighbours' costs.
 */
function sway({ width, height, background }: Desk, grey: Float32Array, seen: Uint8Array | null): [number, number] | null {
  if (Math.min(width, height) < 4 * REACH_PX) return null;
  const costs = new Float64Array(SHIFTS * SHIFTS);
  let best = 0;
  for (let k = 0; k < costs.length; k++) {
    const by = (Math.floor(k / SHIFTS) - REACH_PX) * width + (k % SHIFTS) - REACH_PX;
    for (let y = REACH_PX; y < height - REACH_PX; y += STEP) {
      for (let x = REACH_PX; x < width - REACH_PX; x += STEP) {
        const i = y * width + x;
        const off = Math.min(Math.abs(grey[i + by] - background[i]), CAP);
        if (!seen || seen[i]) costs[k] += off * off;
      }
    }
    if (costs[k] < costs[best]) best = k;
  }
  const [right, down] = [(best % SHIFTS) - REACH_PX, Math.floor(best / SHIFTS) - REACH_PX];
  if (Math.max(Math.abs(right), Math.abs(down)) === REACH_PX) return null;
  const refined = (whole: number, step: number) => {
    const at = whole + lowest(costs[best - step], costs[best], costs[best + step]);
    return Math.floor(at * PARTS + 0.5) / PARTS;
  };
  return [refined(right, 1), refined(down, SHIFTS)];
}

/** Return where a parabola through three costs one apart is lowest, from the middle one: -0.5 to 0.5. */
function lowest(before: number, at: number, after: number): number {
  const bend = before - 2 * at + after;
  return bend > 0 ? Math.min(Math.max((before - after) / (2 * bend), -0.5), 0.5) : 0;
}

/** Write the picture moved back by `shift` (bilinear, borders repeated) to `desk.back`, and where it has pixels to `desk.shows`. */
function steadied(desk: Desk, grey: Float32Array | Uint8Array, [right, down]: readonly [number, number]): void {
  const { width, height, back, shows, spare } = desk;
  const [wholeX, wholeY] = [Math.floor(right), Math.floor(down)];
  const [partX, partY] = [right - wholeX, down - wholeY];
  const clip = (at: number, length: number) => Math.min(Math.max(at, 0), length - 1);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const at = clip(x + wholeX, width);
      spare[i] = grey[y * width + at] * (1 - partX) + grey[y * width + clip(at + 1, width)] * partX;
    }
  }
  for (let y = 0, i = 0; y < height; y++) {
    const upper = clip(y + wholeY, height);
    const lower = clip(upper + 1, height);
    const rowShows = y + wholeY >= 0 && y + down <= height - 1;
    for (let x = 0; x < width; x++, i++) {
      back[i] = spare[upper * width + x] * (1 - partY) + spare[lower * width + x] * partY;
      shows[i] = rowShows && x + wholeX >= 0 && x + right <= width - 1 ? 1 : 0;
    }
  }
}

/** Write the range of each pixel and its eight neighbours. */
function span(values: Float32Array | Uint8Array, width: number, height: number, out: Float32Array): void {
  for (let y = 0, i = 0; y < height; y++) {
    const [above, below] = [y ? -width : 0, y < height - 1 ? width : 0];
    for (let x = 0; x < width; x++, i++) {
      const left = x ? -1 : 0;
      const right = x < width - 1 ? 1 : 0;
      let least = values[i];
      let most = least;
      for (let row = above; row <= below; row += width) {
        for (let at = i + row + left; at <= i + row + right; at++) {
          if (values[at] < least) least = values[at];
          else if (values[at] > most) most = values[at];
        }
      }
      out[i] = most - least;
    }
  }
}

type PixelBox = readonly [number, number, number, number]; // left, top, width, height on the small picture
type Part = readonly [PixelBox, number]; // a box and how many pixels of it are foreground

/** Return the boxes of what is foreground, largest area first; no part grows into what does not show. */
function blobs(desk: Desk, found: Change, settings: MotionSettings): PixelBox[] {
  if (!found.count) return [];
  const { closed } = desk;
  close(desk, found.foreground);
  const { shows } = found;
  if (shows) for (let i = 0; i < closed.length; i++) closed[i] &= shows[i];
  const parts = connected(desk).filter(
    ([[, , w, h], area]) => Math.max(w, h) >= settings.minSidePx && area >= settings.minAreaPx,
  );
  return merge(parts.sort(largestFirst).slice(0, MAX_FOUND), settings.nearPx, settings.nearShare);
}

/** Write the foreground without the gaps that are narrower than 5 pixels to `desk.closed`: grown, then shrunk alike. */
function close({ bits, closed, width, height }: Desk, foreground: Uint8Array): void {
  bits.fill(0);
  for (let i = 0; i < bits.length; i++) {
    if (!foreground[i]) continue;
    const x = i % width;
    const y = (i - x) / width;
    for (let row = Math.max(y - CLOSING_PX, 0); row <= Math.min(y + CLOSING_PX, height - 1); row++) {
      bits.fill(1, row * width + Math.max(x - CLOSING_PX, 0), row * width + Math.min(x + CLOSING_PX + 1, width));
    }
  }
  for (let i = 0; i < bits.length; i++) {
    closed[i] = 0;
    if (!bits[i]) continue;
    const x = i % width;
    const y = (i - x) / width;
    let all = 1;
    for (let row = Math.max(y - CLOSING_PX, 0); all && row <= Math.min(y + CLOSING_PX, height - 1); row++) {
      for (let at = row * width + Math.max(x - CLOSING_PX, 0); at <= row * width + Math.min(x + CLOSING_PX, width - 1); at++) {
        all &= bits[at];
      }
    }
    closed[i] = all;
  }
}

/** Return the 8-connected parts of `desk.closed`, which is emptied. */
function connected({ closed, waiting, width, height }: Desk): Part[] {
  const parts: Part[] = [];
  for (let first = 0; first < closed.length; first++) {
    if (!closed[first]) continue;
    let [x0, x1, y0, y1, area, left] = [width, 0, height, 0, 0, 1];
    closed[first] = 0;
    waiting[0] = first;
    while (left) {
      const i = waiting[--left];
      const x = i % width;
      const y = (i - x) / width;
      area++;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y);
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let at = row * width + Math.max(x - 1, 0); at <= row * width + Math.min(x + 1, width - 1); at++) {
          if (!closed[at]) continue;
          closed[at] = 0;
          waiting[left++] = at;
        }
      }
    }
    parts.push([[x0, y0, x1 - x0 + 1, y1 - y0 + 1], area]);
  }
  return parts;
}

/** Sort by area, the largest first, and equal ones by left, top, width, height. */
function largestFirst([one, oneArea]: Part, [other, otherArea]: Part): number {
  return otherArea - oneArea || one[0] - other[0] || one[1] - other[1] || one[2] - other[2] || one[3] - other[3];
}

/**
 * Return the boxes after those that nearly touch became one, largest area first.
 *
 * Two are near when the gap between them is at most `nearPx` or `nearShare` of the larger one's longer
 * side, and when their union is no more than three times both together, so that a diagonal pair does
 * not become one loose box. Of all near pairs the first in the given order is joined first.
 */
function merge(found: readonly Part[], nearPx: number, nearShare: number): PixelBox[] {
  const groups = [...found];
  for (let i = 0; i < groups.length; i++) {
    for (let j = i + 1; j < groups.length; j++) {
      if (!isNear(groups[i][0], groups[j][0], nearPx, nearShare)) continue;
      const [[other, otherArea]] = groups.splice(j, 1);
      groups[i] = [union(groups[i][0], other), groups[i][1] + otherArea];
      [i, j] = [0, 0]; // from the first pair on
    }
  }
  return groups.sort(largestFirst).map(([box]) => box);
}

function isNear(one: PixelBox, other: PixelBox, nearPx: number, nearShare: number): boolean {
  const [, , w, h] = union(one, other);
  const near = Math.max(nearPx, nearShare * Math.max(one[2], one[3], other[2], other[3]));
  const gap = Math.max(w - one[2] - other[2], h - one[3] - other[3]);
  return gap <= near && w * h <= 3 * (one[2] * one[3] + other[2] * other[3]);
}

function union(one: PixelBox, other: PixelBox): PixelBox {
  const [left, top] = [Math.min(one[0], other[0]), Math.min(one[1], other[1])];
  const right = Math.max(one[0] + one[2], other[0] + other[2]);
  const bottom = Math.max(one[1] + one[3], other[1] + other[3]);
  return [left, top, right - left, bottom - top];
}

/** Frame in, `Motion` out; one for each camera. What lies under the masks never moves. */
export class MotionFinder {
  readonly settings: MotionSettings;
  readonly #masks: readonly Polygon[];
  #desk: Desk | null = null;
  #grey: Grey | undefined;
  place: Place | null = null; // what is usual at this place; for tests
  #kept: { readonly at: number; readonly place: Place } | null = null; // the place before a jump
  #seen: Uint8Array | null = null;
  #time = 0;
  #changedAt = -Infinity;
  #swayedSince: number | null = null;
  #moving = false;

  constructor(settings: Partial<MotionSettings> = {}, masks: readonly Polygon[] = []) {
    this.settings = { ...USUAL, ...settings };
    this.#masks = masks;
  }

  /** Return what moved since the frames before; `time` in seconds. Throws for what is no picture. */
  find(picture: Picture, time: number, discontinuity = false): Motion {
    const grey = smallGrey(picture, this.settings.widthPx, this.#grey);
    const sameSize = grey === this.#grey;
    this.#grey = grey;
    const dt = Math.max(time - this.#time, 0);
    this.#time = time;
    const place = this.place;
    if (!place || !sameSize || discontinuity) return this.#first(grey);
    if (this.#moving) return this.#whileMoving(place, grey, dt);
    const found = place.compare(grey.data);
    if (found.changed >= this.settings.everywhere) return this.#before(grey, dt) ?? this.#allChanged(place, grey);
    if (this.#hasNewPlace(found)) return this.#begin(grey, { reset: true });
    place.learn(found, dt);
    return this.#motion(found, grey);
  }

  #first(grey: Grey): Motion {
    const { width, height } = grey;
    if (this.#desk?.width !== width || this.#desk.height !== height) this.#desk = new Desk(width, height);
    this.#seen = null;
    if (this.#masks.length) {
      // One pixel more, since each of the grey picture is mixed of nine.
      const masked = drawn(this.#masks, width, height);
      const { spare } = this.#desk;
      span(masked, width, height, spare);
      this.#seen = masked.map((hidden, i) => (hidden || spare[i] ? 0 : 1));
    }
    this.#kept = null;
    this.#moving = false;
    this.#changedAt = -Infinity;
    return this.#begin(grey, { reset: true });
  }

  #begin(grey: Grey, said: { reset?: boolean; moving?: boolean }): Motion {
    if (!this.#desk) throw new Error("a place is begun before the first frame");
    this.place = new Place(this.#desk, grey, this.#seen, this.settings);
    this.#swayedSince = null;
    return { regions: [], reset: false, moving: false, large: false, ...said, grey };
  }

  /** Answer a change everywhere: a jump the first time, movement if it comes again soon. */
  #allChanged(place: Place, grey: Grey): Motion {
    this.#kept ??= { at: this.#time, place };
    this.#moving = this.#time - this.#changedAt <= this.settings.movingS;
    this.#changedAt = this.#time;
    return this.#begin(grey, { reset: !this.#moving, moving: this.#moving });
  }

  /** Compare each frame with the one before, until nothing changes everywhere for a second. */
  #whileMoving(last: Place, grey: Grey, dt: number): Motion {
    const before = this.#before(grey, dt);
    if (before) return before;
    if (last.compare(grey.data, false).changed >= this.settings.everywhere) this.#changedAt = this.#time;
    this.#moving = this.#time - this.#changedAt <= this.settings.movingS;
    return this.#begin(grey, { reset: !this.#moving, moving: this.#moving });
  }

  /** Return what moved against the place before the last jump, where it looks like that again: it was a flash. */
  #before(grey: Grey, dt: number): Motion | null {
    if (!this.#kept || this.#time - this.#kept.at > this.settings.flashS) {
      this.#kept = null;
      return null;
    }
    const { place } = this.#kept;
    const found = place.compare(grey.data);
    if (found.changed > this.settings.everywhere / 2) return null;
    this.place = place;
    this.#kept = null;
    this.#moving = false;
    this.#changedAt = -Infinity;
    place.learn(found, dt);
    return this.#motion(found, grey);
  }

  /** Return true if the picture has lain beside its place for so long that it will not come back. */
  #hasNewPlace(found: Change): boolean {
    if (Math.max(...found.shift.map(Math.abs)) < this.settings.swayedPx) this.#swayedSince = null;
    else this.#swayedSince ??= this.#time;
    return this.#swayedSince !== null && this.#time - this.#swayedSince > this.settings.swayedS;
  }

  /** Return the boxes of what is foreground, as fractions of the frame. */
  #motion(found: Change, grey: Grey): Motion {
    if (!this.#desk) throw new Error("boxes are asked for before the first frame");
    const [right, down] = found.shift;
    const share = (at: number, length: number) => Math.min(Math.max(at, 0), length) / length;
    const regions = blobs(this.#desk, found, this.settings)
      .slice(0, this.settings.maxRegions)
      .map(([x, y, w, h]): Region => {
        const [x0, x1] = [share(x + right, grey.width), share(x + w + right, grey.width)];
        const [y0, y1] = [share(y + down, grey.height), share(y + h + down, grey.height)];
        const box: BoxXYWH = [x0, y0, x1 - x0, y1 - y0];
        return { box, kind: "motion" };
      });
    const large = regions.some(({ box: [, , w, h] }) => w * h > this.settings.large);
    return { regions, reset: false, moving: false, large, grey };
  }
}
