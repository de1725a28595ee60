/** Messages between the page (`app.ts`) and the worker (`worker.ts`). */

import type { BearEvent, BoxXYWH, CameraFault, RegionKind, Zone } from "./schema";

export interface WatchSettings {
  readonly threshold: number | null; // bear probability in place of the card's "crop", 0 to 1
  readonly zones: readonly Zone[];
}

/** A review that the repeat-alarm filter must know. */
export interface Reviewed {
  readonly event: string; // its id
  readonly box: BoxXYWH;
  readonly agoS: number; // seconds since the review
  readonly wrong: boolean;
}

export type ToWorker =
  | {
      readonly type: "start";
      readonly model: string; // address of the ONNX file
      readonly sha256: string; // that it must have, hexadecimal
      readonly threads: number;
      readonly live: boolean; // false: every frame counts and none is skipped, as for a file
      readonly camera: string;
      readonly bootId: string;
      readonly seq: number; // of the next event
      readonly settings: WatchSettings;
      readonly reviews: readonly Reviewed[];
    }
  | { readonly type: "frame"; readonly picture: ImageBitmap; readonly time: number; readonly wall: number; readonly discontinuity: boolean }
  | { readonly type: "settings"; readonly settings: WatchSettings }
  | { readonly type: "review"; readonly review: Reviewed }
  /** What the camera itself reports, once a second while it gives no frame; null: it is well again. Time in seconds, as of frames. */
  | { readonly type: "fault"; readonly fault: CameraFault | null; readonly time: number; readonly wall: number }
  /** 0 to 1: how much of the usual frame rate the phone may have (battery, heat). */
  | { readonly type: "share"; readonly share: number }
  | { readonly type: "close"; readonly why: string; readonly wall: number };

/** A box to draw over the live picture. */
export interface Mark {
  readonly box: BoxXYWH;
  readonly kind: RegionKind;
  readonly bear: number;
}

/** An event with what is kept of it. JPEG; the whole frame carries no drawing. */
export interface Published {
  readonly event: BearEvent;
  readonly full: Blob | null; // the frame of the alarm
  readonly crop: Blob | null; // the best crop so far, if it is better than the one before
  readonly cropNote: CropNote | null; // of the crop, as `bear-alarm` writes it into the JPEG
}

export interface CropNote {
  readonly camera: string;
  readonly captured_at: string;
  readonly media_time_s: number | null;
  readonly label: string;
  readonly score: number;
  readonly frame_wh: readonly [number, number];
  readonly box_xywh: BoxXYWH;
}

/** What is wrong with the model's file; another worker would find the same. */
export const MODEL_FAILURES = ["model-missing", "model-corrupt", "model-card", "model-wrong"] as const;
export type ModelFailure = (typeof MODEL_FAILURES)[number];
export type Failure = ModelFailure | "runtime" | "memory";

export type FromWorker =
  | {
      readonly type: "ready";
      readonly model: string; // name@digest, as events carry it
      readonly threshold: number;
      readonly notice: string | null;
      readonly cropMs: number; // measured at the start
    }
  | { readonly type: "failed"; readonly failure: Failure; readonly detail: string }
  | {
      readonly type: "looked";
      readonly time: number; // of the frame
      readonly marks: readonly Mark[];
      readonly state: "watching" | "maybe" | "bear";
      readonly faults: readonly CameraFault[]; // that were published and last
      readonly events: readonly Published[];
      readonly fps: number; // that the page should offer from now on
      readonly tookMs: number;
    }
  /**
   * Between frames: events that are new, without pictures; or pictures of events that were sent before.
   *
   * An alarm must not wait for a JPEG: "looked" brings each event with `full` and `crop` null. Where there are pictures,
   * the same event (same `boot_id` and `seq`) follows here with them.
   */
  | { readonly type: "published"; readonly events: readonly Published[] }
  | { readonly type: "closed"; readonly events: readonly Published[] };
