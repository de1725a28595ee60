/** Repeats cv2.resize (OpenCV 5) as the Python side calls it: 8-bit pictures to the bit, INTER_AREA of floats too. */

import type { Picture } from "./schema";

export type Rectangle = readonly [number, number, number, number]; // left, top, width, height; whole pixels

/** Return a number rounded, halves to the even neighbour, as Python and OpenCV round. */
export function roundEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Return the brightness of a colour as OpenCV rounds it, 0 to 255. */
export function greyOf(blue: number, green: number, red: number): number {
  return (3735 * blue + 19235 * green + 9798 * red + 16384) >> 15;
}

/** Two source pixels for each wanted one, and their shares of 2048. */
interface Pairs {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly lowShare: Int32Array;
  readonly highShare: Int32Array;
}

/** Return the pairs for one axis; `areal`: as INTER_AREA takes them where an axis grows. */
function pairs(from: number, to: number, areal: boolean, axis: "across" | "down"): Pairs {
  const [low, high, lowShare, highShare] = [new Int32Array(to), new Int32Array(to), new Int32Array(to), new Int32Array(to)];
  const growth = to / from;
  const scale = 1 / growth;
  for (let i = 0; i < to; i++) {
    const centre = Math.fround((i + 0.5) * scale - 0.5);
    const at = Math.floor(areal ? i * scale : centre);
    let part = Math.fround(centre - at);
    if (areal) {
      part = Math.fround(i + 1 - (at + 1) * growth);
      part = part <= 0 ? 0 : Math.fround(part - Math.floor(part));
    }
    // Across, a pixel at the border stands alone; down, it is mixed with itself, which rounds otherwise.
    if (axis === "across" && (at < 0 || at >= from - 1)) part = 0;
    low[i] = Math.min(Math.max(at, 0), from - 1);
    high[i] = Math.min(Math.max(at + 1, 0), from - 1);
    lowShare[i] = roundEven(Math.fround(1 - part) * 2048);
    highShare[i] = roundEven(part * 2048);
  }
  return { low, high, lowShare, highShare };
}

/** Return a rectangle of a picture resized by INTER_LINEAR, as BGR; `areal`: by INTER_AREA, where one axis shrinks and the other grows. */
export function linear(picture: Picture, rectangle: Rectangle, width: number, height: number, areal = false): Uint8Array {
  const [left, top, w, h] = rectangle;
  const across = pairs(w, width, areal, "across");
  const down = pairs(h, height, areal, "down");
  const length = 3 * width;
  const out = new Uint8Array(length * height);
  let [upper, lower] = [new Int32Array(length), new Int32Array(length)];
  let [upperAt, lowerAt] = [-1, -1]; // the source rows that these hold
  for (let y = 0, o = 0; y < height; y++) {
    const [low, high, a, b] = [down.low[y], down.high[y], down.lowShare[y], down.highShare[y]];
    if (low === lowerAt) {
      [upper, lower] = [lower, upper];
      [upperAt, lowerAt] = [lowerAt, upperAt];
    }
    if (low !== upperAt) mix(picture.data, (top + low) * picture.width + left, across, upper);
    if (high !== low && high !== lowerAt) mix(picture.data, (top + high) * picture.width + left, across, lower);
    const second = high === low ? upper : lower;
    upperAt = low;
    if (high !== low) lowerAt = high;
    for (let i = 0; i < length; i++) out[o++] = (((a * upper[i]) >> 16) + ((b * second[i]) >> 16) + 2) >> 2;
  }
  return out;
}

function mix(data: Picture["data"], start: number, across: Pairs, out: Int32Array): void {
  const { low, high, lowShare, highShare } = across;
  for (let x = 0, o = 0; x < low.length; x++, o += 3) {
    const p = 4 * (start + low[x]);
    const q = 4 * (start + high[x]);
    const a = lowShare[x];
    const b = highShare[x];
    out[o] = (data[p + 2] * a + data[q + 2] * b) >> 4;
    out[o + 1] = (data[p + 1] * a + data[q + 1] * b) >> 4;
    out[o + 2] = (data[p] * a + data[q] * b) >> 4;
  }
}

/** The source pixels that each wanted one covers, and their shares; those of pixel i from `start[i]` to `start[i + 1]`. */
interface Cover {
  readonly start: Int32Array;
  readonly at: Int32Array;
  readonly share: Float32Array;
}

function cover(from: number, to: number): Cover {
  const scale = 1 / (to / from);
  const start = new Int32Array(to + 1);
  const [at, share]: [number[], number[]] = [[], []];
  for (let i = 0; i < to; i++) {
    const [begin, end] = [i * scale, i * scale + scale];
    const size = Math.min(scale, from - begin);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(begin), last);
    const add = (pixel: number, part: number) => {
      at.push(pixel);
      share.push(part / size);
    };
    if (first - begin > 1e-3) add(first - 1, first - begin);
    for (let pixel = first; pixel < last; pixel++) add(pixel, 1);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, size));
    start[i + 1] = at.length;
  }
  return { start, at: Int32Array.from(at), share: Float32Array.from(share) };
}

/** Weights to average areas. By whole factors all shares are 1 and the sum is divided once, as OpenCV does. */
interface Areas {
  readonly across: Cover;
  readonly down: Cover;
  readonly scale: number; // of each sum
}

function areas(w: number, h: number, width: number, height: number): Areas {
  const [across, down] = [cover(w, width), cover(h, height)];
  if (w % width || h % height) return { across, down, scale: 1 };
  across.share.fill(1);
  down.share.fill(1);
  return { across, down, scale: Math.fround(1 / ((w / width) * (h / height))) };
}

/** Return a rectangle of a picture shrunk by INTER_AREA, as BGR. Neither axis may grow. */
export function area(picture: Picture, rectangle: Rectangle, width: number, height: number): Uint8Array {
  const [left, top, w, h] = rectangle;
  const { across, down, scale } = areas(w, h, width, height);
  // Of four pixels OpenCV rounds halves up; what is written rounds them to the even neighbour.
  const up = w === 2 * width && h === 2 * height ? 0.01 : 0;
  const length = 3 * width;
  const out = new Uint8ClampedArray(length * height);
  const [row, sum] = [new Float32Array(length), new Float32Array(length)];
  let rowAt = -1;
  for (let y = 0; y < height; y++) {
    sum.fill(0);
    for (let k = down.start[y]; k < down.start[y + 1]; k++) {
      if (rowAt !== down.at[k]) {
        rowAt = down.at[k];
        shrinkColours(picture.data, (top + rowAt) * picture.width + left, across, row);
      }
      addShare(sum, row, down.share[k]);
    }
    for (let i = 0, o = y * length; i < length; i++) out[o++] = Math.fround(sum[i] * scale) + up;
  }
  return new Uint8Array(out.buffer);
}

function shrinkColours(data: Uint8ClampedArray, start: number, across: Cover, out: Float32Array): void {
  const { start: first, at, share } = across;
  for (let x = 0, k = 0, o = 0; x + 1 < first.length; x++, o += 3) {
    let blue = 0;
    let green = 0;
    let red = 0;
    for (let p = 4 * (start + at[k]); k < first[x + 1]; k++, p += 4) {
      blue = Math.fround(blue + Math.fround(data[p + 2] * share[k]));
      green = Math.fround(green + Math.fround(data[p + 1] * share[k]));
      red = Math.fround(red + Math.fround(data[p] * share[k]));
    }
    out[o] = blue;
    out[o + 1] = green;
    out[o + 2] = red;
  }
}

function addShare(sum: Float32Array, row: Float32Array, share: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] += Math.fround(row[i] * share);
}

/** Return the means of the cells of a grid over numbers of one a pixel, as INTER_AREA gives them. */
export function means(values: Float32Array | Uint8Array, w: number, h: number, columns: number, rows: number): Float32Array {
  const { across, down, scale } = areas(w, h, columns, rows);
  const out = new Float32Array(columns * rows);
  const [row, sum] = [new Float32Array(columns), new Float32Array(columns)];
  const { start, at, share } = across;
  for (let y = 0; y < rows; y++) {
    sum.fill(0);
    for (let k = down.start[y]; k < down.start[y + 1]; k++) {
      const begin = down.at[k] * w;
      for (let x = 0; x < columns; x++) {
        let mean = 0;
        for (let i = start[x]; i < start[x + 1]; i++) mean = Math.fround(mean + Math.fround(values[begin + at[i]] * share[i]));
        row[x] = mean;
      }
      addShare(sum, row, down.share[k]);
    }
    for (let x = 0; x < columns; x++) out[y * columns + x] = sum[x] * scale;
  }
  return out;
}
