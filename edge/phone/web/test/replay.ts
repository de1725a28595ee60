/** Replay of the scenes in `vectors/decisions.json`; its `about` tells what the numbers mean. */

import { type Decision, Decider } from "../src/alarms";
import { Rule } from "../src/evidence";
import { RepeatAlarmFilter, type Thumbnail } from "../src/repeat_alarms";
import type { BoxXYWH, Polygon, Region, RegionKind, Score } from "../src/schema";
import { type Track, Tracker } from "../src/tracker";

export interface Card {
  readonly crop: number;
  readonly oodThreshold: number;
}
export type Step = ["interrupt" | "close", unknown[]] | ["review", number, number[], number, number];
export interface More {
  readonly before?: Step[];
  readonly blind?: 1;
  readonly look?: number;
  readonly twice?: number[];
  readonly decisions?: unknown[];
}
export type FrameRow = [ms: number, scores: number[], asked: number[], tracks: number[], sums: number[], more?: More];
export interface Scene {
  readonly name: string;
  readonly threshold: number | null;
  readonly again_s: number;
  readonly zones: [string, Polygon][];
  readonly follows: number;
  readonly frames: FrameRow[];
}

/** The web app's result for a frame, in the file's terms; `sums` in logit-seconds. */
export interface Said {
  readonly before: unknown[];
  readonly tracks: number[];
  readonly sums: number[];
  readonly twice: number[];
  readonly decisions: unknown[];
}

const KINDS: readonly RegionKind[] = ["motion", "track", "scan"];
const TYPES = ["new", "update", "end"];

export function boxOf(ints: readonly number[]): BoxXYWH {
  return [ints[0] / 1000, ints[1] / 1000, ints[2] / 1000, ints[3] / 1000];
}

/** Return what the web app says of each frame, and how many motion regions lay where a track was. */
export function replay(scene: Scene, card: Card, labels: readonly string[]): { said: Said[]; follows: number } {
  const rule = Rule.fromCard(card, scene.threshold);
  const tracker = new Tracker(rule.threshold);
  const repeatAlarms = new RepeatAlarmFilter();
  const zones = scene.zones.map(([name, corners]) => ({ name, corners }));
  const decider = new Decider(rule, { zones, repeatAlarms, againS: scene.again_s });
  const ids: string[] = [];
  const times: number[] = [];
  let ms = 0;
  let follows = 0;
  let boxes = new Map<number, BoxXYWH>();

  const scoreOf = (box: BoxXYWH, kind: number, bear: number): Score => ({
    region: { box, kind: KINDS[kind % 3] },
    probabilities: [bear / 10000, 1 - bear / 10000],
    bear: bear / 10000,
    label: labels[bear % 2],
    ood: kind >= 3 ? 9 : 0,
  });
  const scoresOf = ([, rows, asked]: FrameRow): Score[] => {
    const scores: Score[] = [];
    for (let i = 0; i < rows.length; i += 6) scores.push(scoreOf(boxOf(rows.slice(i)), rows[i + 4], rows[i + 5]));
    if (asked.length === 0) return scores;
    const moving = scores.map((score) => score.region).filter((region) => region.kind === "motion");
    const regions: Region[] = tracker.regions(moving);
    if (regions.length !== asked.length) throw new Error(`${regions.length} regions, not ${asked.length}`);
    return [...scores, ...asked.map((bear, i) => scoreOf(regions[i].box, bear < 0 ? 4 : 1, Math.abs(bear)))];
  };
  const ago = (at: number): number => (at > -Infinity ? times.length - 1 - times.indexOf(at) : -1);
  const told = (track: Track, scores: readonly Score[]): number[] => {
    const before = [...boxes].filter(([, box]) => same(box, track.box)).map(([number]) => -number);
    const own = before.includes(-track.number) ? -track.number : before[0];
    const box = own ?? scores.findIndex((score) => same(score.region.box, track.box));
    const now = track.now ? scores.indexOf(track.now) : -1;
    if (track.unmovedS !== times[times.length - 1] - track.movedAt) throw new Error(`unmoved for ${track.unmovedS} s`);
    return [track.number, box, ago(track.lastHit), Number(track.moved), ago(track.movedAt), now];
  };
  const decided = (decision: Decision): unknown[] => {
    if (!/^[0-9a-f]{32}$/.test(decision.id)) throw new Error(`no id: ${decision.id}`);
    if (!ids.includes(decision.id)) ids.push(decision.id);
    const { onsetS } = decision;
    return [
      TYPES.indexOf(decision.type), ids.indexOf(decision.id), decision.track, labels.indexOf(decision.label),
      whole(10000 * decision.score), whole(10000 * decision.topScore),
      decision.box.map((at) => whole(1000 * at)), onsetS === null ? null : whole(1000 * onsetS),
      Number(decision.unknown), decision.zones, decision.escalated,
    ];
  };
  const happen = (step: Step): unknown => {
    if (step[0] !== "review") return [step[0], decider[step[0]]().map(decided)];
    const [, incident, box, agoS, wrong] = step;
    repeatAlarms.reviewed(ids[incident], boxOf(box), ms / 1000 - agoS, ms / 1000, wrong === 1);
    return step;
  };

  const said = scene.frames.map((row) => {
    const more = row[5] ?? {};
    const before = (more.before ?? []).map(happen);
    ms += row[0];
    const time = ms / 1000;
    times.push(time);
    const scores = scoresOf(row);
    const motion = row[1].length > 0 ? scores.filter((score) => score.region.kind === "motion") : [];
    follows += motion.filter((score) => tracker.follows(score.region)).length;
    const tracks = tracker.update(scores, time);
    const thumbnailOf = (box: BoxXYWH): Thumbnail => look(more.look ?? 100, box);
    const decisions = decider.decide(tracks, time, { thumbnailOf, seeing: more.blind !== 1 });
    const states = decider.evidenceStates();
    const numbers = tracks.flatMap((track) => told(track, scores));
    boxes = new Map(tracks.map((track) => [track.number, track.box]));
    return {
      before,
      tracks: numbers,
      sums: states.map((state) => state.sum),
      twice: states.filter((state) => state.alarmAt > rule.alarmAt).map((state) => state.track),
      decisions: decisions.map(decided),
    };
  });
  return { said, follows };
}

/** Return what stands in a box, by the formula of the file's maker. */
function look(number: number, box: BoxXYWH): Thumbnail {
  const what = Math.floor(number / 100) + Math.floor(Math.round(1000 * box[0]) / 100);
  const cells = Array.from({ length: 256 }, (_, i) => (((i * 7919 + what * 104729) * 31) % 251) + ((i * (number % 100) * 13) % 37));
  const mean = cells.reduce((sum, cell) => sum + cell, 0) / 256;
  const spread = Math.sqrt(cells.reduce((sum, cell) => sum + (cell - mean) ** 2, 0) / 256);
  return Float32Array.from(cells, (cell) => (number === 0 ? 0 : (cell - mean) / spread));
}

function same(one: BoxXYWH, other: BoxXYWH): boolean {
  return one.every((at, i) => at === other[i]);
}

/** Return a number that is whole but for the arithmetic of floating point. */
function whole(value: number): number {
  if (Math.abs(value - Math.round(value)) > 1e-6) throw new Error(`${value} is not whole`);
  return Math.round(value);
}
