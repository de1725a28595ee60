/** Repeats edge/detect/crops.py: a region of a picture becomes the network's input. */

import { area, linear, type Rectangle, roundEven } from "./resize";
import { type BoxXYWH, type Picture, WHOLE } from "./schema";

const SMALLEST_SIDE_PX = 12; // below this a crop is a smear of two or three pixels

/**
 * Return the pixel rectangle (left, top, width, height) to cut for a region.
 *
 * A square of `context` times the region's longer side around its centre, moved inside the picture.
 * Where the picture is too small for a square, the rectangle ends at its borders.
 */
export function square(box: BoxXYWH, width: number, height: number, context: number): Rectangle {
  const [left, top, w, h] = box;
  const side = Math.max(Math.max(w * width, h * height) * context, SMALLEST_SIDE_PX);
  const [cutW, cutH] = [roundEven(Math.min(side, width)), roundEven(Math.min(side, height))];
  const x = roundEven((left + w / 2) * width - cutW / 2);
  const y = roundEven((top + h / 2) * height - cutH / 2);
  return [Math.min(Math.max(x, 0), width - cutW), Math.min(Math.max(y, 0), height - cutH), cutW, cutH];
}

/**
 * Return the region of a picture as the network takes it: BGR, size * size * 3 bytes.
 *
 * What is not square (only when the picture ends) is squeezed. The whole picture is always taken whole.
 */
export function cut(picture: Picture, box: BoxXYWH, size: number, context: number): Uint8Array {
  const whole = box.every((part, i) => part === WHOLE[i]);
  const { width, height } = picture;
  return fit(picture, whole ? [0, 0, width, height] : square(box, width, height, context), size, size);
}

/** Return the whole picture resized to a width and height in pixels: BGR. */
export function fitTo(picture: Picture, width: number, height: number): Uint8Array {
  return fit(picture, [0, 0, picture.width, picture.height], width, height);
}

/** Return a copy of a rectangle of a picture. */
export function cropped(picture: Picture, [left, top, width, height]: Rectangle): Picture {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let row = 0; row < height; row++) {
    const start = ((top + row) * picture.width + left) * 4;
    data.set(picture.data.subarray(start, start + width * 4), row * width * 4);
  }
  return { data, width, height };
}

function fit(picture: Picture, rectangle: Rectangle, width: number, height: number): Uint8Array {
  const [, , w, h] = rectangle;
  if (w * h <= width * height) return linear(picture, rectangle, width, height);
  const narrower = w >= width && h >= height;
  return narrower ? area(picture, rectangle, width, height) : linear(picture, rectangle, width, height, true);
}
