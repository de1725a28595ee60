/** Choose the pictures of an event to keep, by the rules of `edge/record/recorder.py`. */

import type { Incident } from "./alarms";
import { cropped, square } from "./crops";
import { rounded, roundedBox } from "./events";
import type { CropNote } from "./protocol";
import type { BearEvent, BoxXYWH, Frame, Picture, Score } from "./schema";
import { inside } from "./tracker";

const LARGER = 1.2; // times the pixels: worth another crop of a bear as sure
const SURER = 0.05; // bear probability
const SCAN_LESS = 0.2; // a score of the frame scan is of a window around the bear, not of its crop
const OWN_INSIDE = 0.5; // the share in which a region and the bear's box cover each other
const KNOWN_S = 600; // how long after its end a bear may be found again
const MAX_KNOWN = 100;

/** An event with the pictures of it that are to be kept, not yet compressed. */
export interface Pictured {
  readonly event: BearEvent;
  readonly full: Picture | null; // the frame of the alarm
  readonly crop: Picture | null;
  readonly cropNote: CropNote | null;
}

/** Chooses what to keep of the frames and events of one camera. */
export class Recorder {
  private readonly recorders = new Map<string, EventRecorder>(); // by event id

  constructor(
    readonly camera: string,
    readonly context: number, // of the crops that the classifier gets
    readonly live: boolean,
  ) {}

  /** Return a published event with what is kept of its frame; null: it came between two frames. */
  add(event: BearEvent, frame: Frame | null, scores: readonly Score[], time: number): Pictured {
    const recorder = this.recorders.get(event.id) ?? new EventRecorder();
    this.recorders.set(event.id, recorder);
    const full = event.type === "new" ? (frame?.picture ?? null) : null;
    recorder.note(event, time);
    if (frame) recorder.keepCrop(frame, scores, this);
    const { crop = null, cropNote = null } = recorder.takeCrop() ?? {};
    return { event, full, crop, cropNote };
  }

  /** Take every frame, after its events. */
  look(frame: Frame, scores: readonly Score[], incidents: readonly Incident[]): void {
    for (const incident of incidents) {
      const recorder = this.recorders.get(incident.id);
      if (!recorder || !incident.followed) continue;
      recorder.box = incident.surest?.box ?? recorder.box;
      recorder.keepCrop(frame, scores, this);
    }
    if (incidents.length) return;
    for (const [id, { endedAt }] of this.recorders) {
      const old = endedAt !== null && frame.time - endedAt > KNOWN_S;
      if (old || (endedAt !== null && this.recorders.size > MAX_KNOWN)) this.recorders.delete(id);
    }
  }
}

/** One event: the best crop of the bear. */
class EventRecorder {
  box: BoxXYWH | null = null;
  endedAt: number | null = null; // null: it is open
  private best = { worth: -1, pixels: 0 };
  private waiting: { crop: Picture; cropNote: CropNote } | null = null;

  note(event: BearEvent, time: number): void {
    this.box = event.box_xywh ?? this.box;
    this.endedAt = event.type === "end" ? time : null;
  }

  /** Keep the crop of the bear in this frame, if it is the best so far. */
  keepCrop(frame: Frame, scores: readonly Score[], { camera, context, live }: Recorder): void {
    const { box, best } = this;
    const own = scores.filter((score) => box && inside(score.region.box, box) > OWN_INSIDE);
    if (!own.length) return;
    const score = own.reduce((first, each) => (worthOf(each) > worthOf(first) ? each : first));
    const { width, height } = frame.picture;
    const rectangle = square(score.region.box, width, height, context);
    const [worth, pixels] = [worthOf(score), rectangle[2] * rectangle[3]];
    if (Math.abs(worth - best.worth) < SURER ? pixels <= LARGER * best.pixels : worth < best.worth) return;
    this.best = { worth, pixels };
    const cropNote: CropNote = {
      camera,
      captured_at: new Date(frame.wall).toISOString(),
      media_time_s: live ? null : frame.time,
      label: score.label,
      score: rounded(score.bear, 4),
      frame_wh: [width, height],
      box_xywh: roundedBox(score.region.box),
    };
    this.waiting = { crop: cropped(frame.picture, rectangle), cropNote };
  }

  /** Return the best crop, once, if it is better than the one taken last. */
  takeCrop(): { crop: Picture; cropNote: CropNote } | null {
    const waiting = this.waiting;
    this.waiting = null;
    return waiting;
  }
}

function worthOf(score: Score): number {
  return score.bear - (score.region.kind === "scan" ? SCAN_LESS : 0);
}
