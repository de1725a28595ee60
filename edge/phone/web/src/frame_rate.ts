/** Frame rate, crop budget and the size of the frame scan: what `edge/detect/frame_rate.py` decides, and for slow phones the size too. */

const HOLD_S = 10; // to stay active after the last sign
const SCAN_EVERY_S = 2;
const SCAN_SHARE = 0.1; // of the time that scans may take
const SCAN_BUSY = 0.5; // and while the picture moves or one is asked for
const MIN_CROPS = 3; // with fewer, what moves would leave nothing for what is followed

/** Of a live camera, as in `edge/settings.py` and `edge/camera_thread.py`. */
export const ACTIVE_FPS = 10;
export const IDLE_FPS = 5;
export const FRAME_S = 0.25; // that the crops of one frame may take
export const MAX_CROPS = 12; // a frame

/** Frames a second: few while nothing happens, more from the first sign on. A camera begins active. */
export class FrameRateControl {
  share = 1; // 0 to 1: how much of the rate the phone may have
  fps = ACTIVE_FPS;
  private until: number | null = null;

  /** Follow what happens at a time (seconds); `sign`: something moves or is followed. */
  follow(sign: boolean, time: number): void {
    if (sign || this.until === null) this.until = time + HOLD_S;
    this.fps = this.share * (time < this.until ? ACTIVE_FPS : IDLE_FPS);
  }
}

/** When to look at the whole frame: at once where it is asked, in every frame while the picture moves, else rarely. */
export class ScanTimer {
  tookS = 0; // by a look lately; 0: not known, or not to be counted
  private at: number | null = null;
  private asked = true;

  /** Return whether the frame of this time (seconds) is due, and take it as done. */
  due(time: number, atOnce: boolean, moving: boolean): boolean {
    this.asked ||= atOnce;
    const soon = this.asked || moving;
    const waitS = soon ? this.tookS / SCAN_BUSY : Math.max(SCAN_EVERY_S, this.tookS / SCAN_SHARE);
    if (this.at !== null && time >= this.at && time - this.at < waitS - 1e-6) return false;
    this.at = time;
    this.asked = false;
    return true;
  }

  /** Note the seconds that a scan has taken; an average over some ten. */
  note(tookS: number): void {
    this.tookS = this.tookS ? this.tookS + 0.1 * (tookS - this.tookS) : tookS;
  }
}

/** Limit the crops of a frame so that scoring takes so many seconds or less; null: always `MAX_CROPS`. */
export class CropBudget {
  cropS: number | null = null; // what scoring one crop has taken lately

  constructor(readonly seconds: number | null) {}

  /** Return crops for a frame in which something else takes so many seconds. */
  beside(otherS: number): number {
    if (this.seconds === null || !this.cropS) return MAX_CROPS;
    return Math.max(MIN_CROPS, Math.floor(Math.min(MAX_CROPS, (this.seconds - otherS) / this.cropS)));
  }

  /** Note how long scoring so many crops took, in seconds. */
  note(crops: number, tookS: number): void {
    if (!crops) return;
    const each = tookS / crops;
    this.cropS = this.cropS === null ? each : this.cropS + 0.1 * (each - this.cropS);
  }
}

const LOOK_S = 0.4; // that one scan may take
const SMALLEST_SIDE = 320; // pixels, of the picture's longer side
const STEP_PX = 64;
const SHRINK_AFTER = 3; // scans in a row that took too long
const GROW_AFTER_S = 60; // of scans that were fast enough for the next larger size
const SPARE = 0.75; // of what a scan may take: the larger size must stay below it

/** The longer side of the frame scan: as large as the card has it, or smaller where a scan takes too long. */
export class ScanSize {
  side: number;
  private slow = 0; // scans in a row
  private fastSince: number | null = null;

  constructor(private readonly largest: number) {
    this.side = largest;
  }

  /** Begin with the largest size that is fast enough, after a scan of the card's size took so long (seconds). */
  begin(tookS: number): void {
    while (tookS * (this.side / this.largest) ** 2 > LOOK_S && this.smaller < this.side) this.side = this.smaller;
  }

  /** Note what a scan at a time (seconds) took; `share` (0 to 1): how much of the usual effort the phone may have. */
  note(tookS: number, time: number, share: number): void {
    const mostS = LOOK_S * share;
    this.slow = tookS > mostS ? this.slow + 1 : 0;
    if (this.slow >= SHRINK_AFTER) this.change(this.smaller);
    const larger = Math.min(this.side + STEP_PX, this.largest);
    if (larger === this.side || tookS * (larger / this.side) ** 2 > SPARE * mostS) this.fastSince = null;
    else if (this.fastSince === null) this.fastSince = time;
    else if (time - this.fastSince >= GROW_AFTER_S) this.change(larger);
  }

  private get smaller(): number {
    return Math.max(this.side - STEP_PX, Math.min(SMALLEST_SIDE, this.largest));
  }

  private change(side: number): void {
    this.side = side;
    this.slow = 0;
    this.fastSince = null;
  }
}
