/** A zip of reviewed events as `bear-alarm events export` writes it, for `bear-alarm feedback import`. */

import { Zip, ZipPassThrough } from "fflate";
import type { Entry, Journal, Pictures } from "./journal";
import type { CropNote } from "./protocol";

export type ExportRecord = Pick<Entry, "id" | "began" | "events" | "reviews"> & Pictures;

const README = `Events of Bear Alarm, reviewed on a phone.

evidence/  one folder for each event: event.json, full.jpg (the frame of the alarm), crop.jpg (the bear), review.json
events.jsonl  every message of these events, one a line

Import them into a table of training pictures:  bear-alarm feedback import THIS.zip --into FOLDER
`;

/** Return a zip of reviewed events. */
export async function exportReviewed(journal: Journal, events: readonly Entry[]): Promise<Blob> {
  async function* records() {
    for (const entry of events) yield { ...entry, ...(await journal.pictures(entry.id)) };
  }
  return zipOf(records());
}

/** Return the zip of these records. Only one of them is in memory at a time: the rest lies in blobs. */
export async function zipOf(records: AsyncIterable<ExportRecord> | Iterable<ExportRecord>): Promise<Blob> {
  const parts: Blob[] = [];
  let pieces: Uint8Array<ArrayBuffer>[] = [];
  let failed: Error | null = null;
  const zip = new Zip((error, piece) => {
    failed ??= error;
    pieces.push(piece as Uint8Array<ArrayBuffer>);
  });
  const add = (name: string, content: string | Uint8Array, at: number) => {
    const file = new ZipPassThrough(name); // JPEGs do not get smaller
    file.mtime = new Date(Math.max(at, Date.UTC(1980, 0, 2))); // a zip holds no earlier year
    zip.add(file);
    file.push(typeof content === "string" ? new TextEncoder().encode(content) : content, true);
  };
  const lines: string[] = [];
  for await (const record of records) {
    const folder = `evidence/${folderOf(record)}`;
    add(`${folder}/event.json`, eventJson(record), record.began);
    add(`${folder}/review.json`, reviewJson(record), record.began);
    if (record.full) add(`${folder}/full.jpg`, new Uint8Array(record.full), record.began);
    if (record.crop) add(`${folder}/crop.jpg`, withNote(new Uint8Array(record.crop), record.cropNote), record.began);
    lines.push(...record.events.map((event) => `${JSON.stringify(event)}\n`));
    parts.push(new Blob(pieces));
    pieces = [];
  }
  add("events.jsonl", lines.join(""), Date.now());
  add("README.txt", README, Date.now());
  zip.end();
  if (failed) throw failed;
  return new Blob([...parts, ...pieces], { type: "application/zip" });
}

/** Return the name of an event's folder, DAY-TIME-CAMERA-ID8 in UTC. */
function folderOf({ id, began, events }: ExportRecord): string {
  const time = new Date(began).toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "");
  return `${time}-${events[0].camera.replaceAll(/[^\p{L}\p{N}\-_.]/gu, "_").slice(0, 60) || "camera"}-${id.slice(0, 8)}`;
}

/** Return the last event with the path of its boxes: seconds from the alarm, x, y, width, height, bear probability. */
function eventJson({ events, began }: ExportRecord): string {
  const path = events.flatMap((event) => {
    if (!event.box_xywh || event.type === "end") return [];
    const apart = (Date.parse(event.captured_at) - began) / 1000;
    return [[Math.max(apart, 0), ...event.box_xywh, event.score].map((each) => (each === null ? null : Number(each.toFixed(4))))];
  });
  return `${JSON.stringify({ ...events[events.length - 1], clips: [], path })}\n`;
}

/** Return `review.json`, as in `edge/record/review.py`. */
function reviewJson({ reviews }: ExportRecord): string {
  const whole = reviews.map((review) => ({ ...review, by: "", note: "", box_xywh: null }));
  return `${JSON.stringify({ schema_version: 1, ...whole.at(-1), earlier: whole.slice(0, -1) }, null, 1)}\n`;
}

/** Return a JPEG with a note as JSON in its comment, as `jpeg` in `edge/record/clip.py` writes it. */
export function withNote(jpeg: Uint8Array, note: CropNote | null): Uint8Array {
  if (!note) return jpeg;
  const ascii = JSON.stringify(note).replaceAll(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const words = new TextEncoder().encode(ascii);
  const whole = new Uint8Array(jpeg.length + 4 + words.length);
  whole.set(jpeg.subarray(0, 2));
  whole.set([0xff, 0xfe, (words.length + 2) >> 8, (words.length + 2) & 255], 2);
  whole.set(words, 6);
  whole.set(jpeg.subarray(2), 6 + words.length);
  return whole;
}
