/** Contracts, as in `edge/schema.py`: boxes are left, top, width, height as fractions of the frame. */

export type BoxXYWH = readonly [number, number, number, number];
export type Point = readonly [number, number];
export type Polygon = readonly Point[]; // corners x, y; fractions of the frame
export type RegionKind = "motion" | "scan" | "track";
export const TROUBLES = ["gone", "frozen", "black", "white", "covered", "blurred", "moved"] as const; // with the camera
export type TroubleKind = (typeof TROUBLES)[number];
export type EventType = "new" | "update" | "end";

export const WHOLE: BoxXYWH = [0, 0, 1, 1];

/** A picture as a canvas gives it: RGBA, 8 bits, row by row. */
export interface Picture {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** Grey levels 0 to 255, row by row: the small picture that motion is looked for on. */
export interface Grey {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
}

/** One picture of the camera, with the time at which it was taken. */
export interface Frame {
  readonly picture: Picture;
  readonly time: number; // seconds that only go forward
  readonly wall: number; // milliseconds since 1970, for people
  readonly discontinuity: boolean; // the first one after the camera was away
  readonly frozenS: number; // for how long the camera has given this very picture
}

export interface Region {
  readonly box: BoxXYWH;
  readonly kind: RegionKind;
}

/** The classifier's result for one region. */
export interface Score {
  readonly region: Region;
  readonly probabilities: readonly number[]; // one a label, in the card's order
  readonly bear: number; // sum of the alarm labels, 0 to 1
  readonly label: string; // the best alarm label
  readonly ood: number; // grows the less the crop resembles what was learned
}

/** Something wrong with the camera. */
export interface CameraFault {
  readonly kind: TroubleKind;
  readonly value: number; // what was measured: brightness, a share in percent, seconds; the page has the words
}

export interface Zone {
  readonly name: string;
  readonly corners: Polygon;
}

/** One event, with the field names of `bear-alarm schema event`. */
export interface BearEvent {
  readonly kind: "bear" | "camera" | "health";
  readonly type: EventType;
  readonly id: string; // hexadecimal, 32 digits
  readonly seq: number;
  readonly boot_id: string;
  readonly camera: string;
  readonly captured_at: string; // ISO 8601, UTC
  readonly clock_synced: boolean | null;
  readonly track: number | null;
  readonly label: string | null;
  readonly score: number | null;
  readonly top_score: number | null;
  readonly box_xywh: BoxXYWH | null;
  readonly media_time_s: number | null;
  readonly latency_ms: number | null;
  readonly onset_s: number | null;
  readonly durable: boolean;
  readonly model: string | null;
  readonly evidence: string | null;
  readonly detail: string | null;
  readonly zones: readonly string[];
  readonly escalated: string | null;
  readonly file: string | null;
  readonly quiet: string | null;
  readonly species: null; // a phone has no site
  readonly stage: null; // a phone has no stages
  readonly schema_version: 1;
}

/** Return an id of 32 hexadecimal digits. */
export function newId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}
