/** For how long the very same picture has been coming: `Stillness` of `edge/camera/reconnect.py`. */

import type { Picture } from "./schema";

const STEP_PX = 16; // of the sample

/** A living camera's noise differs in most frames. A sample is compared, and a checksum only where that is equal. */
export class Stillness {
  private sample: Uint32Array | null = null;
  private checksum: number | null = null;
  private since = 0;

  /** Forget what came before: the camera was away. */
  reset(): void {
    this.sample = this.checksum = null;
  }

  /** Return the seconds from the first of the same pictures to this one. */
  look(picture: Picture, time: number): number {
    const { data, width, height } = picture;
    const pixels = new Uint32Array(data.buffer, data.byteOffset, width * height);
    const sample = new Uint32Array(Math.ceil(width / STEP_PX) * Math.ceil(height / STEP_PX));
    for (let y = 0, at = 0; y < height; y += STEP_PX) {
      for (let x = 0; x < width; x += STEP_PX) sample[at++] = pixels[y * width + x];
    }
    const before = this.sample;
    this.sample = sample;
    if (before?.length !== sample.length || sample.some((each, index) => each !== before[index])) {
      this.checksum = null;
      this.since = time;
      return 0;
    }
    let checksum = 0;
    for (let at = 0; at < pixels.length; at++) checksum = Math.imul(checksum ^ pixels[at], 0x01000193) ^ (checksum >>> 15);
    if (this.checksum !== null && this.checksum !== checksum) this.since = time;
    this.checksum = checksum;
    return time - this.since;
  }
}
