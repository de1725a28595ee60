/** The loop with stand-ins for motion, tracks, decisions and the camera check, each told what to say. */

import { beforeEach, expect, test, vi } from "vitest";
import type { Card } from "../src/card";
import type { BoxXYWH, CameraFault, Frame, Region, Score } from "../src/schema";
import { type Scorer, Watcher, type WatchOptions } from "../src/watcher";

const said = vi.hoisted(() => ({
  motion: { regions: [] as unknown[], reset: false, moving: false, large: false },
  tracks: [] as { number: number; box: readonly number[]; now: { bear: number } | null }[],
  follows: (_region: unknown): boolean => false,
  scored: [] as unknown[][], // what the tracker got, frame by frame
  decisions: [] as unknown[],
  decided: [] as Record<string, unknown>[],
  incidents: [] as unknown[],
  ends: [] as unknown[],
  called: [] as string[],
  states: [] as { sum: number; alarmAt: number }[],
  lens: [] as unknown[],
  reports: [] as unknown[],
  faults: [] as unknown[][], // what the debouncer got
  now: [] as { kind: string }[],
  reviewed: [] as unknown[][],
}));

vi.mock("../src/motion", () => ({
  MotionFinder: class {
    find = () => ({ ...said.motion, grey: { data: new Float32Array(1), width: 1, height: 1 } });
  },
}));
vi.mock("../src/tracker", () => ({
  inside: (one: number[], other: number[]) => (one.join() === other.join() ? 1 : 0),
  Tracker: class {
    constructor(public threshold: number) {}
    get tracks() {
      return said.tracks;
    }
    follows = (region: unknown) => said.follows(region);
    regions = () => said.tracks.map(({ box }) => ({ box, kind: "track" }));
    update(scores: unknown[]) {
      said.scored.push(scores);
      return said.tracks;
    }
  },
}));
vi.mock("../src/evidence", () => ({
  Rule: class {
    constructor(readonly threshold: number) {}
    static fromCard(card: Card, threshold: number | null) {
      return new this(threshold ?? card.crop);
    }
  },
}));
vi.mock("../src/alarms", () => ({
  Decider: class {
    decide(_tracks: unknown, time: number, options: Record<string, unknown>) {
      said.decided.push({ time, ...options });
      return said.decisions.splice(0);
    }
    get openIncidents() {
      return said.incidents;
    }
    evidenceStates = () => said.states;
    interrupt() {
      said.called.push("interrupt");
      return said.ends;
    }
    close() {
      said.called.push("close");
      return said.ends;
    }
  },
}));
vi.mock("../src/repeat_alarms", () => ({
  thumbnail: () => new Float32Array(256),
  RepeatAlarmFilter: class {
    reviewed = (...each: unknown[]) => said.reviewed.push(each);
  },
}));
vi.mock("../src/camera_check", () => ({
  CameraCheck: class {
    look = () => said.lens;
  },
  FaultDebouncer: class {
    get now() {
      return said.now;
    }
    report(faults: unknown[]) {
      said.faults.push([...faults]);
      return said.reports.splice(0);
    }
    close = () => said.reports.splice(0);
  },
}));
vi.mock("../src/crops", async (original) => ({
  ...(await original<typeof import("../src/crops")>()),
  square: (box: number[], width: number, height: number) => [box[0] * width, box[1] * height, box[2] * width, box[3] * height],
}));

const CARD = { crop: 0.5, sides: [448], context: 1.1 } as unknown as Card;
const BOX: BoxXYWH = [0.25, 0.25, 0.5, 0.5];
const START: WatchOptions = {
  live: true,
  camera: "phone",
  bootId: "b".repeat(32),
  seq: 7,
  settings: { threshold: null, zones: [] },
  reviews: [],
};
const DECISION = {
  type: "new",
  id: "a".repeat(32),
  track: 3,
  label: "brown_bear",
  score: 0.912345678,
  topScore: 0.95,
  box: [1 / 3, 0.25, 0.5, 0.5],
  onsetS: 0.50049,
  unknown: false,
  zones: ["hives"],
  escalated: null,
};

function scoreOf(region: Region, bear: number): Score {
  return { region, probabilities: [bear, 1 - bear], bear, label: "brown_bear", ood: 0.5 };
}

/** Count what is asked of it, and return the same score for each region. */
class StandIn implements Scorer {
  readonly card = CARD;
  readonly name = "bear@0123456789ab";
  asked: number[] = [];
  scans: (number | null)[] = [];
  bear = 0.9;
  score(_picture: unknown, regions: readonly Region[]): Promise<Score[]> {
    this.asked.push(regions.length);
    return Promise.resolve(regions.map((region) => scoreOf(region, this.bear)));
  }
  scan(_picture: unknown, side: number | null): Promise<Score[]> {
    this.scans.push(side);
    return Promise.resolve([scoreOf({ box: BOX, kind: "scan" }, this.bear)]);
  }
}

function frame(time: number, more: Partial<Frame> = {}): Frame {
  const picture = { data: new Uint8ClampedArray(40 * 20 * 4).fill(time), width: 40, height: 20 };
  return { picture, time, wall: 1_700_000_000_000 + time * 1000, discontinuity: false, frozenS: 0, ...more };
}

function moving(count: number): Region[] {
  return Array.from({ length: count }, (_, index) => ({ box: [index / 100, 0, 0.01, 0.01], kind: "motion" }));
}

const reset = JSON.parse(JSON.stringify(said));
beforeEach(() => {
  Object.assign(said, JSON.parse(JSON.stringify(reset)), { follows: () => false });
});

test("the first frame is scanned as a whole, the next ones rarely", async () => {
  const scorer = new StandIn();
  const watcher = new Watcher(scorer, START);
  for (const time of [0, 0.1, 1.9, 2]) await watcher.look(frame(time));
  expect(scorer.scans).toEqual([448, 448]);
  expect(said.scored.map((scores) => scores.length)).toEqual([1, 0, 0, 1]);
});

test("a file is scanned at the card's size, with twelve crops a frame", async () => {
  said.motion.regions = moving(20);
  const scorer = new StandIn();
  const watcher = new Watcher(scorer, { ...START, live: false });
  watcher.budget.note(1, 5);
  await watcher.look(frame(0));
  expect([scorer.scans, scorer.asked]).toEqual([[null], [12]]);
});

test("one crop stays for a track, what is followed comes before what sways, and others have their turn", async () => {
  said.motion.regions = moving(20);
  said.tracks = [{ number: 1, box: BOX, now: null }];
  said.follows = (region) => region === said.motion.regions[19];
  const watcher = new Watcher(new StandIn(), { ...START, live: false });
  for (const time of [0, 0.1]) await watcher.look(frame(time));
  const [first, second] = said.scored.map((scores) => (scores as Score[]).map((score) => score.region));
  expect(first.filter((region) => region.kind === "motion").length).toBe(11);
  for (const regions of [first, second]) {
    expect(regions[0]).toBe(said.motion.regions[19]);
    expect(regions.filter((region) => region.kind === "track").length).toBe(1);
  }
  const all = new Set([...first, ...second].filter((region) => region.kind === "motion"));
  expect(all.size).toBeGreaterThan(15);
});

test("one crop stays for a track also where all that moves is followed", async () => {
  said.motion.regions = moving(20);
  said.tracks = [{ number: 1, box: BOX, now: null }];
  said.follows = () => true;
  await new Watcher(new StandIn(), { ...START, live: false }).look(frame(0));
  const kinds = (said.scored[0] as Score[]).map((score) => score.region.kind);
  expect([kinds.filter((kind) => kind === "motion").length, kinds.filter((kind) => kind === "track").length]).toEqual([11, 1]);
});

test("an event has the fields and the rounding of the Python side", async () => {
  said.decisions = [DECISION];
  const { kept } = await new Watcher(new StandIn(), START).look(frame(3));
  const { latency_ms, ...event } = kept[0].event;
  expect(latency_ms).toBeGreaterThanOrEqual(0);
  expect(event).toEqual({
    kind: "bear", type: "new", id: DECISION.id, seq: 7, boot_id: START.bootId, camera: "phone",
    captured_at: "2023-11-14T22:13:23.000Z", clock_synced: null, track: 3, label: "brown_bear", score: 0.9123,
    top_score: 0.95, box_xywh: [0.33333, 0.25, 0.5, 0.5], media_time_s: null, onset_s: 0.5, durable: false,
    model: "bear@0123456789ab", evidence: null, detail: null, zones: ["hives"], escalated: null, file: null, quiet: null, species: null, stage: null,
    schema_version: 1,
  }); // prettier-ignore
});

test("an alarm brings its frame and its crop, an update only a better crop", async () => {
  const scorer = new StandIn();
  const watcher = new Watcher(scorer, START);
  said.motion.regions = [{ box: BOX, kind: "motion" }];
  const own = { ...DECISION, box: BOX };
  const look = async (time: number, type: string, score: number, bear: number) => {
    said.decisions = [{ ...own, type, score }];
    scorer.bear = bear;
    return (await watcher.look(frame(time))).kept[0];
  };
  const first = await look(1, "new", 0.8, 0.8);
  expect(first.full?.data[0]).toBe(1);
  expect([first.crop?.width, first.crop?.height, first.crop?.data[0]]).toEqual([20, 10, 1]);
  expect(first.cropNote).toMatchObject({ camera: "phone", label: "brown_bear", score: 0.8, frame_wh: [40, 20], box_xywh: BOX });
  const same = await look(2, "update", 0.8, 0.82);
  expect([same.full, same.crop]).toEqual([null, null]);
  const surer = await look(3, "update", 0.95, 0.95);
  expect([surer.full, surer.crop?.data[0], surer.cropNote?.score]).toEqual([null, 3, 0.95]);
  const end = await look(4, "end", 0.99, 0.99);
  expect(end.full).toBeNull();
  expect([end.event.seq, end.event.type]).toEqual([10, "end"]);
});

test("the best crop between two events is kept for the next", async () => {
  const scorer = new StandIn();
  const watcher = new Watcher(scorer, START);
  said.motion.regions = [{ box: BOX, kind: "motion" }];
  scorer.bear = 0.7;
  said.decisions = [{ ...DECISION, box: BOX, score: 0.7 }];
  await watcher.look(frame(1));
  said.incidents = [{ id: DECISION.id, followed: true, surest: { box: BOX } }];
  scorer.bear = 0.98;
  expect((await watcher.look(frame(2))).kept).toEqual([]);
  scorer.bear = 0.6;
  said.decisions = [{ ...DECISION, box: BOX, type: "update", score: 0.6 }];
  const [update] = (await watcher.look(frame(3))).kept;
  expect([update.crop?.data[0], update.cropNote?.score, update.full]).toEqual([2, 0.98, null]);
});

test("a crop is looked for where the bear is now, and one of motion is worth more than a scan", async () => {
  const scorer = new StandIn();
  const watcher = new Watcher(scorer, START);
  said.decisions = [{ ...DECISION, box: BOX, score: 0.9 }];
  const [first] = (await watcher.look(frame(0))).kept; // a scan alone
  expect(first.cropNote?.box_xywh).toEqual(BOX);
  const moved: BoxXYWH = [0.5, 0.25, 0.5, 0.5];
  said.motion.regions = [{ box: moved, kind: "motion" }];
  said.incidents = [{ id: DECISION.id, followed: true, surest: { box: moved } }];
  scorer.bear = 0.8;
  await watcher.look(frame(0.1));
  said.motion.regions = [];
  said.decisions = [{ ...DECISION, box: moved, type: "update", score: 0.8 }];
  const [update] = (await watcher.look(frame(0.2))).kept;
  expect([update.cropNote?.box_xywh, update.cropNote?.score, update.crop?.data[0]]).toEqual([moved, 0.8, 0]);
});

test("the camera sees nothing new in a still picture, after a gap, or with something before the lens", async () => {
  const watcher = new Watcher(new StandIn(), START);
  await watcher.look(frame(0));
  await watcher.look(frame(0.1, { frozenS: 1 }));
  await watcher.look(frame(0.2, { discontinuity: true }));
  said.lens = [{ kind: "blurred", value: 30 }];
  await watcher.look(frame(1.1));
  await watcher.look(frame(1.2));
  said.lens = [{ kind: "covered", value: 97 }];
  await watcher.look(frame(2.2));
  await watcher.look(frame(2.3));
  expect(said.decided.map((each) => each.seeing)).toEqual([true, false, false, true, true, true, false]);
});

test("a frozen picture is a fault, and in it nothing is looked for until it lives again", async () => {
  const scorer = new StandIn();
  const watcher = new Watcher(scorer, START);
  said.motion.regions = moving(1);
  await watcher.look(frame(0));
  await watcher.look(frame(5.1, { frozenS: 5.1 }));
  expect(said.faults.at(-1)).toEqual([{ kind: "frozen", value: 5.1 }]);
  said.now = [{ kind: "frozen" }];
  const asked = scorer.asked.length;
  await watcher.look(frame(5.5, { frozenS: 5.5 }));
  expect(scorer.asked.length).toBe(asked);
  const scans = scorer.scans.length;
  await watcher.look(frame(5.6));
  expect([scorer.asked.length, scorer.scans.length]).toEqual([asked + 1, scans + 1]); // a scan at once
});

test("the camera is checked once a second, and only a live one", async () => {
  const watcher = new Watcher(new StandIn(), START);
  for (const time of [0, 0.5, 1, 1.5, 2]) await watcher.look(frame(time));
  expect(said.faults.length).toBe(3);
  said.lens = [{ kind: "black", value: 3 }];
  await new Watcher(new StandIn(), { ...START, live: false }).look(frame(0));
  expect(said.faults.at(-1)).toEqual([]);
});

test.each<[CameraFault, string, string]>([
  [{ kind: "black", value: 3.4 }, "interrupt", "the camera gives a black picture, so nothing is known of the bear"],
  [{ kind: "gone", value: 4 }, "close", "the camera gives no picture any more, so nothing is known of the bear"],
])("a fault that hides the bear is an event and ends it: $kind", async (fault, call, why) => {
  const watcher = new Watcher(new StandIn(), START);
  await watcher.look(frame(0));
  said.reports = [{ type: "new", id: "f".repeat(32), fault, lastedS: 5 }];
  said.ends = [{ ...DECISION, type: "end", onsetS: null, zones: [] }];
  const { kept } = await watcher.look(frame(1));
  expect(said.called).toEqual([call]);
  expect(kept.map(({ event }) => [event.kind, event.type, event.seq])).toEqual([["camera", "new", 7], ["bear", "end", 8]]);
  expect(kept[0].event).toMatchObject({ label: fault.kind, score: null, model: null, captured_at: "2023-11-14T22:13:21.000Z" });
  expect(kept[1].event.detail).toBe(why);
});

test("a blurred picture ends no bear, and its end states how long it lasted", async () => {
  const watcher = new Watcher(new StandIn(), START);
  const fault: CameraFault = { kind: "blurred", value: 31.2 };
  said.ends = [DECISION];
  said.reports = [{ type: "new", id: "f", fault, lastedS: 61 }];
  const [begun] = (await watcher.look(frame(0))).kept;
  expect(begun.event.detail).toContain("31 % of what is usual");
  said.reports = [{ type: "end", id: "f", fault, lastedS: 61.4 }];
  const [over] = (await watcher.look(frame(1))).kept;
  expect([over.event.type, over.event.detail]).toEqual(["end", "over after 61 s (a blurred picture)"]);
  expect(said.called).toEqual([]);
});

test("what the page reports lasts until it is well again or a frame comes", async () => {
  const watcher = new Watcher(new StandIn(), START);
  await watcher.look(frame(0));
  const gone: CameraFault = { kind: "gone", value: 3 };
  watcher.fault(gone, 0.5, 0);
  expect(said.faults.length).toBe(1); // not a second after the last
  watcher.fault(gone, 3, 0);
  watcher.fault(null, 3.1, 0); // at once
  watcher.fault(gone, 5, 0);
  await watcher.look(frame(6.5));
  expect(said.faults.slice(1)).toEqual([[gone], [], [gone], []]);
});

test("closing ends what is open, with the reason; so do an internal error and other settings", async () => {
  const watcher = new Watcher(new StandIn(), START);
  said.ends = [{ ...DECISION, type: "end" }];
  expect(watcher.close("nothing was watched yet", 0)).toEqual([]);
  await watcher.look(frame(0));
  expect(watcher.failed().map(({ event }) => event.detail)).toEqual(["the alarm itself failed, so nothing is known of the bear"]);
  expect(watcher.settings(START.settings)).toEqual([]);
  const changed = watcher.settings({ threshold: 0.7, zones: [] });
  expect(changed.map(({ event }) => event.detail)).toEqual(["the settings were changed while the bear was still in view"]);
  expect(watcher.threshold).toBe(0.7);
  said.reports = [{ type: "end", id: "f", fault: { kind: "black", value: 3 }, lastedS: 5 }];
  const events = watcher.close("watching was stopped", 1_700_000_009_000).map(({ event }) => event);
  expect(events.map((event) => event.detail)).toEqual([
    "watching was stopped",
    "it lasted until watching was stopped (a black picture)",
  ]);
  expect(events[1].captured_at).toBe("2023-11-14T22:13:29.000Z");
});

test("reviews are known before the next frame, by its clock", async () => {
  const first = { event: "1", box: BOX, agoS: 100, wrong: true };
  const watcher = new Watcher(new StandIn(), { ...START, reviews: [first] });
  watcher.review({ event: "2", box: BOX, agoS: 0, wrong: false });
  expect(said.reviewed).toEqual([]);
  for (const time of [20, 21]) await watcher.look(frame(time));
  expect(said.reviewed).toEqual([["1", BOX, -80, 20, true], ["2", BOX, 20, 20, false]]);
});

test("the page gets the state, the boxes and the frame rate", async () => {
  const watcher = new Watcher(new StandIn(), START);
  said.motion.regions = moving(1);
  said.tracks = [{ number: 1, box: BOX, now: { bear: 0.4 } }];
  const states: [number, number, string][] = [[0.2, 1.8, "watching"], [0.9, 1.8, "maybe"], [5, 1.8, "maybe"]];
  for (const [index, [sum, alarmAt, state]] of states.entries()) {
    said.states = [{ sum: 0, alarmAt }, { sum, alarmAt }];
    const looked = await watcher.look(frame(index / 10));
    expect(looked.state).toBe(state);
    expect(looked.marks).toEqual([{ box: BOX, kind: "track", bear: 0.4 }, { ...moving(1)[0], bear: 0.9 }]);
    expect([looked.fps, looked.time]).toEqual([10, index / 10]);
  }
  said.incidents = [{ id: "x", followed: false }];
  expect((await watcher.look(frame(1))).state).toBe("bear");
});
