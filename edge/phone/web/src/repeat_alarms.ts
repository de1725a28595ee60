/** Spots of repeated false alarms need twice the evidence; as in `edge/decide/repeat_alarms.py`, which tells when. */

import { cropped, fitTo } from "./crops";
import { greyOf, roundEven } from "./resize";
import type { BoxXYWH, Picture } from "./schema";
import { firstMax, iou } from "./tracker";

export type Thumbnail = Float32Array; // 16 x 16, zero mean and unit variance; zeros where there was nothing to see
export type CutThumbnail = (box: BoxXYWH) => Thumbnail; // cuts the thumbnail of a box (fractions) from this frame

const SIDE = 16;
const MIN_ALARMS = 3;
const MIN_SPREAD_S = 2 * 3600; // between the first and the last of them
const KEPT_S = 24 * 3600; // an older alarm, or an older review, no longer counts
const SAME_SPOT_IOU = 0.5;
const LIKE = 0.95; // correlation of two thumbnails
const MAX_CHANGE = 1; // of any of their cells, in standard deviations: a small animal changes few cells
const FLAT_LEVELS = 1; // standard deviation in grey levels below which a crop shows nothing that could look alike
const MAX_SPOTS = 64;
const MAX_ALARMS = 8; // kept of one spot

interface Alarm {
  readonly time: number; // seconds, the frame's clock
  readonly thumbnail: Thumbnail;
}

interface Spot {
  readonly box: BoxXYWH;
  time: number; // of its last alarm or review
  alarms: Alarm[];
  wrongs: Map<string, number>; // by event, when a person reviewed it as wrong
}

/** Remembers one camera's alarms, and which spots need twice the evidence now. Times in seconds, the frames' clock. */
export class RepeatAlarmFilter {
  private spots: Spot[] = [];

  /**
   * Note an alarm by something that never moved, with the usual evidence.
   *
   * Do not pass an alarm that was raised in spite of `twice`: being held back must end within the day.
   */
  alarmed(box: BoxXYWH, thumbnail: Thumbnail, time: number): void {
    const { alarms } = this.spot(box, time);
    alarms.push({ time, thumbnail });
    if (alarms.length > MAX_ALARMS) {
      // The one with the nearest neighbours goes, so that what is kept spans as long a time.
      const gaps = alarms.slice(2).map((after, i) => after.time - alarms[i].time);
      alarms.splice(1 + gaps.indexOf(Math.min(...gaps)), 1);
    }
  }

  /**
   * Note that a person reviewed an event at `at` (now is `time`), as wrong or not.
   *
   * For a day after a wrong one, what does not move there needs twice the evidence. Another review of that event
   * takes it back.
   */
  reviewed(event: string, box: BoxXYWH, at: number, time: number, wrong: boolean): void {
    for (const spot of this.spots) spot.wrongs.delete(event);
    if (wrong && time - at < KEPT_S) this.spot(box, time).wrongs.set(event, at);
  }

  /**
   * Return true if something that never moved in this box needs twice the evidence.
   *
   * `thumbnailOf` is only called for a spot with a history.
   */
  twice(box: BoxXYWH, thumbnailOf: CutThumbnail, time: number): boolean {
    this.forget(time);
    let seen: Thumbnail | null = null;
    for (const spot of this.spots) {
      if (iou(spot.box, box) < SAME_SPOT_IOU) continue;
      if (spot.wrongs.size > 0) return true;
      if (againAndAgain(spot.alarms)) {
        const shown = (seen ??= thumbnailOf(box));
        if (againAndAgain(spot.alarms.filter((alarm) => alike(alarm.thumbnail, shown)))) return true;
      }
    }
    return false;
  }

  /** Return the spot a box lies on, or a new one; forget the longest untouched if there are too many. */
  private spot(box: BoxXYWH, time: number): Spot {
    this.forget(time);
    let spot = firstMax(this.spots, (each) => iou(each.box, box));
    if (!spot || iou(spot.box, box) < SAME_SPOT_IOU) {
      spot = { box, time, alarms: [], wrongs: new Map() };
      this.spots.push(spot);
    }
    spot.time = time;
    if (this.spots.length > MAX_SPOTS) {
      const oldest = firstMax(this.spots, (each) => -each.time);
      this.spots = this.spots.filter((each) => each !== oldest);
    }
    return spot;
  }

  private forget(time: number): void {
    for (const spot of this.spots) {
      spot.alarms = spot.alarms.filter((alarm) => time - alarm.time < KEPT_S);
      spot.wrongs = new Map([...spot.wrongs].filter(([, at]) => time - at < KEPT_S));
    }
    this.spots = this.spots.filter((spot) => spot.alarms.length > 0 || spot.wrongs.size > 0);
  }
}

/**
 * Return the small grey picture by which two crops are compared: 16 x 16, zero mean and unit variance.
 *
 * A crop smaller than 16 pixels is enlarged linearly here; OpenCV's INTER_AREA, which Python takes, enlarges otherwise.
 */
export function thumbnail(picture: Picture, [x, y, w, h]: BoxXYWH): Thumbnail {
  const nothing = new Float32Array(SIDE * SIDE);
  const [left, right] = [x, x + w].map((at) => Math.min(Math.max(roundEven(at * picture.width), 0), picture.width));
  const [top, bottom] = [y, y + h].map((at) => Math.min(Math.max(roundEven(at * picture.height), 0), picture.height));
  if (right - left < 1 || bottom - top < 1) return nothing;
  const small = fitTo(cropped(picture, [left, top, right - left, bottom - top]), SIDE, SIDE);
  const grey = nothing.map((_, i) => greyOf(small[3 * i], small[3 * i + 1], small[3 * i + 2]));
  const mean = meanOf(grey);
  const spread = Math.sqrt(meanOf(grey.map((level) => (level - mean) ** 2)));
  return spread < FLAT_LEVELS ? nothing : grey.map((level) => (level - mean) / spread);
}

/** Return true if two crops are near-identical: correlated, and no cell much changed. */
export function alike(one: Thumbnail, other: Thumbnail): boolean {
  // Two blank crops correlate with nothing.
  const products = one.map((cell, i) => cell * other[i]);
  return meanOf(products) >= LIKE && one.every((cell, i) => Math.abs(cell - other[i]) <= MAX_CHANGE);
}

function meanOf(values: Float32Array): number {
  return values.reduce((sum, each) => sum + each, 0) / values.length;
}

function againAndAgain(alarms: readonly Alarm[]): boolean {
  return alarms.length >= MIN_ALARMS && alarms[alarms.length - 1].time - alarms[0].time >= MIN_SPREAD_S;
}
