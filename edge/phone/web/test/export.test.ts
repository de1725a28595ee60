import { strFromU8, unzipSync } from "fflate";
import { expect, test } from "vitest";
import { withNote, zipOf, type ExportRecord } from "../src/export";
import type { CropNote } from "../src/protocol";
import type { BearEvent } from "../src/schema";

const JPEG = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 1, 2, 3);
const NOTE: CropNote = {
  camera: "Süd 🐻", captured_at: "2026-01-01T03:12:08.000Z", media_time_s: null, label: "brown_bear", score: 0.9,
  frame_wh: [640, 480], box_xywh: [0.1, 0.2, 0.3, 0.4],
};

function event(type: BearEvent["type"], seconds: number, more: Partial<BearEvent> = {}): BearEvent {
  return {
    kind: "bear", type, id: "0123456789abcdef0123456789abcdef", seq: seconds, boot_id: "b".repeat(32), camera: "Süd / 1",
    captured_at: new Date(Date.UTC(2026, 0, 1, 3, 12, 7) + 1000 * seconds).toISOString(), clock_synced: null, track: 1,
    label: "brown_bear", score: 0.8, top_score: 0.9, box_xywh: [0.1, 0.2, 0.30001, 0.4], media_time_s: null, latency_ms: 1,
    onset_s: 1, durable: true, model: "bear@1", evidence: null, detail: null, zones: [], escalated: null, file: null,
    quiet: null, species: null, stage: null, schema_version: 1, ...more,
  };
}

function record(more: Partial<ExportRecord> = {}): ExportRecord {
  const events = [event("new", 0), event("update", 2, { score: null }), event("end", 9)];
  const reviews = [
    { verdict: "unsure", at: "2026-01-02T09:00:00.000Z", label: null },
    { verdict: "relabelled", at: "2026-01-02T10:00:00.000Z", label: "fox" },
  ] as const;
  return { id: events[0].id, began: Date.parse(events[0].captured_at), events, reviews, full: JPEG.buffer, crop: JPEG.buffer, cropNote: NOTE, ...more };
}

async function unzipped(...records: ExportRecord[]): Promise<Record<string, Uint8Array>> {
  return unzipSync(new Uint8Array(await (await zipOf(records)).arrayBuffer()));
}

test("the zip has a folder for each event, by the alarm's time in UTC", async () => {
  const files = await unzipped(record());
  const folder = "evidence/2026-01-01-031207-Süd___1-01234567";
  expect(Object.keys(files).sort()).toEqual(
    ["README.txt", "events.jsonl", ...["crop.jpg", "event.json", "full.jpg", "review.json"].map((name) => `${folder}/${name}`)].sort(),
  );
  expect(files[`${folder}/full.jpg`]).toEqual(JPEG);
  expect(strFromU8(files["events.jsonl"]).trimEnd().split("\n").map((line) => JSON.parse(line).type)).toEqual(["new", "update", "end"]);
});

test("event.json is the last event with the path, which begins at the alarm", async () => {
  const files = await unzipped(record());
  const found = JSON.parse(strFromU8(files["evidence/2026-01-01-031207-Süd___1-01234567/event.json"]));
  expect(found).toMatchObject({ type: "end", seq: 9, clips: [] });
  expect(found.path).toEqual([[0, 0.1, 0.2, 0.3, 0.4, 0.8], [2, 0.1, 0.2, 0.3, 0.4, null]]);
});

test("the last review holds, those before it stay", async () => {
  const files = await unzipped(record());
  const found = JSON.parse(strFromU8(files["evidence/2026-01-01-031207-Süd___1-01234567/review.json"]));
  expect(found).toMatchObject({ schema_version: 1, verdict: "relabelled", label: "fox", earlier: [{ verdict: "unsure" }] });
});

test("pictures that are gone are omitted, and a clock of 1970 makes a zip all the same", async () => {
  const files = await unzipped(record({ full: null, crop: null, cropNote: null, began: 5000 }));
  expect(Object.keys(files).filter((name) => name.endsWith(".jpg"))).toEqual([]);
  expect(Object.keys(files).some((name) => name.startsWith("evidence/1970-01-01-000005-"))).toBe(true);
});

test("a note stands in the JPEG's comment as ASCII, and the picture behind it is unchanged", () => {
  const noted = withNote(JPEG, NOTE);
  const length = (noted[4] << 8) | noted[5];
  const words = strFromU8(noted.subarray(6, 4 + length));
  expect([...noted.subarray(0, 4)]).toEqual([0xff, 0xd8, 0xff, 0xfe]);
  expect(words).toMatch(/^[\x20-\x7e]+$/);
  expect(JSON.parse(words)).toEqual(NOTE);
  expect(noted.subarray(4 + length)).toEqual(JPEG.subarray(2));
  expect(withNote(JPEG, null)).toBe(JPEG);
});
