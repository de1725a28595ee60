/** Pictures by formula, as tests/helpers/make_motion_vectors.py makes them. */

import type { Picture } from "../src/schema";

function wave(n: number, half: number): number {
  return Math.abs((n % (2 * half)) - half);
}

/** Return the level of a place without anything in it, 40 to 152, for x and y from -1000 on. */
export function ground(x: number, y: number): number {
  const [right, down] = [x + 1000, y + 1000];
  return 40 + 2 * wave(2 * right + down, 20) + 3 * wave(right - 2 * down + 3000, 14) + wave(5 * right + 7 * down, 30);
}

/** Return -2 to 2, another in every frame. */
export function noise(x: number, y: number, index: number): number {
  let n = (Math.imul(x, 374761393) + Math.imul(y, 668265263) + Math.imul(index, 1442695041)) >>> 0;
  n = Math.imul(n ^ (n >>> 13), 1274126177) >>> 0;
  return ((n >>> 16) % 5) - 2;
}

/** Return a picture of the place in colour. */
export function coloured(width: number, height: number): Picture {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    data.set([ground(x + 11, y + 70), ground(x + 40, y + 9), ground(x, y), 255], 4 * i);
  }
  return { data, width, height };
}

/** Return a picture of which each byte is another. */
export function speckled(width: number, height: number): Picture {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    let n = (Math.imul(x, 374761393) + Math.imul(y, 668265263)) >>> 0;
    n = Math.imul(n ^ (n >>> 13), 1274126177) >>> 0;
    data.set([n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, 255], 4 * i);
  }
  return { data, width, height };
}
