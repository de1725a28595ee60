import { beforeEach, describe, expect, test } from "vitest";
import { Alarm, LEAST_S, UNSEEN_S } from "../src/alarm";
import type { BearEvent } from "../src/schema";

function event(type: BearEvent["type"], id = "a", more: Partial<BearEvent> = {}): BearEvent {
  return {
    kind: "bear", type, id, seq: 1, boot_id: "b", camera: "phone", captured_at: "2026-06-01T01:00:00Z", clock_synced: null, track: 1,
    label: "brown_bear", score: 0.9, top_score: 0.9, box_xywh: [0, 0, 1, 1], media_time_s: null, latency_ms: null, onset_s: null, durable: true,
    model: null, evidence: null, detail: null, zones: [], escalated: null, file: null, quiet: null, species: null, stage: null, schema_version: 1, ...more,
  }; // prettier-ignore
}

let alarm: Alarm;
beforeEach(() => {
  alarm = new Alarm();
});

describe("the siren", () => {
  test("sounds from a new bear until somebody silences it", () => {
    expect(alarm.event(event("new"), 0)).toBe(true);
    expect(alarm.sounds(10 * LEAST_S)).toBe(true);
    alarm.silence();
    expect(alarm.sounds(10 * LEAST_S)).toBe(false);
  });

  test("is known to be silenced while that bear is in the picture", () => {
    alarm.event(event("new"), 0);
    expect(alarm.quiet).toBe(false);
    alarm.silence();
    expect(alarm.quiet).toBe(true);
    alarm.event(event("end"), 3);
    expect(alarm.quiet).toBe(false);
  });

  test("goes on for a minute after a bear that only passes", () => {
    alarm.event(event("new"), 0);
    alarm.event(event("end"), 3);
    expect(alarm.over).toBe(true);
    expect(alarm.sounds(LEAST_S - 1)).toBe(true);
    expect(alarm.sounds(LEAST_S)).toBe(false);
  });

  test("goes on while a bear that had left is back", () => {
    alarm.event(event("new"), 0);
    alarm.event(event("end"), 3);
    alarm.event(event("update"), 20);
    expect(alarm.over).toBe(false);
    expect(alarm.sounds(10 * LEAST_S)).toBe(true);
    alarm.event(event("end"), 10 * LEAST_S);
    expect(alarm.sounds(10 * LEAST_S)).toBe(false);
  });

  test("goes on after an end that nobody saw, for ten minutes at most", () => {
    alarm.event(event("new"), 0);
    alarm.event(event("end", "a", { detail: "something is before the lens" }), 100);
    expect(alarm.over).toBe(false);
    expect(alarm.sounds(100 + UNSEEN_S - 1)).toBe(true);
    expect(alarm.sounds(100 + UNSEEN_S)).toBe(false);
  });

  test("ends once a bear is seen to leave after an end that nobody saw", () => {
    alarm.event(event("new"), 0);
    alarm.event(event("end", "a", { detail: "something is before the lens" }), 100);
    alarm.event(event("update"), 110);
    alarm.event(event("end"), 120);
    expect(alarm.sounds(120)).toBe(false);
  });

  test("stays silent for a silenced bear, and sounds for the next one", () => {
    alarm.event(event("new"), 0);
    alarm.silence();
    expect(alarm.event(event("update"), 4)).toBe(false);
    expect(alarm.event(event("update", "a", { escalated: "rising score" }), 5)).toBe(false);
    expect(alarm.sounds(5)).toBe(false);
    expect(alarm.event(event("new", "b"), 6)).toBe(true);
    expect(alarm.sounds(6)).toBe(true);
  });

  test("sounds again when a silenced bear enters another zone or comes back", () => {
    for (const escalated of ["zone hives", "back after 200 s"]) {
      alarm = new Alarm();
      alarm.event(event("new"), 0);
      alarm.silence();
      expect(alarm.event(event("update", "a", { escalated }), 300)).toBe(true);
      expect(alarm.sounds(300)).toBe(true);
    }
  });

  test("does not sound for a camera fault or an update without news", () => {
    expect(alarm.event(event("new", "c", { kind: "camera" }), 0)).toBe(false);
    expect(alarm.event(event("update"), 1)).toBe(false);
    expect(alarm.sounds(1)).toBe(false);
  });

  test("goes on for ten minutes when the detector that saw the bear is lost", () => {
    alarm.event(event("new"), 0);
    alarm.lost(5);
    expect(alarm.over).toBe(false);
    expect(alarm.sounds(5 + UNSEEN_S - 1)).toBe(true);
    expect(alarm.sounds(5 + UNSEEN_S)).toBe(false);
  });

  test("does not go on for a bear that had left before the detector was lost", () => {
    alarm.event(event("new"), 0);
    alarm.event(event("end"), 3);
    alarm.lost(5);
    expect(alarm.sounds(LEAST_S)).toBe(false);
  });
});
