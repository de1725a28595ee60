/** Each animal its own evidence: a small greedy tracker over scored regions; as in `edge/detect/tracker.py`, which tells its rules. */

import type { BoxXYWH, Region, Score } from "./schema";

export const TOUCHING = 0.1; // share of the smaller box
const LOST_S = 5; // a track without a hit for so long is gone
const OWN_IOU = 0.3;
const OWN_SCAN_IOU = 0.5; // of what the frame scan found, which is rough
const SAME_IOU = 0.2;
const SAME_INSIDE = 0.6; // share of the smaller box that lies in the larger
const TWIN_IOU = 0.5;
const BODY = 0.25; // share of its box by which an animal may reach beyond what moved of it, on each side
const REACH_S = 3; // how long a hit's box still belongs to the animal's surroundings: longer than between two scores
const LARGE = 0.2; // of the frame
const PAUSED_S = 1; // without motion for so long, the next score is of the same picture again
const STILL_S = 3; // and for so long, it stands still

/** One followed animal, or what seems to be one. Times in seconds, the frames' clock. */
export class Track {
  moved: boolean; // whether motion ever found it
  movedAt = -Infinity; // when it did last
  unmovedS = Infinity; // how long nothing has moved in it
  unmoved = 0; // frames with a score of it since then
  now: Score | null = null; // this frame's best observation; null: it was not scored
  scannedAt = -Infinity; // when the frame scan last hit it
  own = false; // whether this frame's observations have its own box among them: only that speaks against it
  likelySameIds: number[] = []; // tracks that this frame's hits could as well be of
  reach: (readonly [until: number, box: BoxXYWH])[] = []; // of recent hits
  absorbed: number[] = []; // tracks that were merged into this one in this frame
  box: BoxXYWH;
  lastHit: number;

  constructor(
    readonly number: number, // 1, 2, 3 … within one camera
    region: Region,
    readonly born: number,
  ) {
    this.box = region.box;
    this.lastHit = born;
    this.moved = region.kind === "motion";
  }

  /** True if nothing has moved in it for `STILL_S`. */
  get still(): boolean {
    return this.unmovedS > STILL_S;
  }

  /** True if nothing has moved in it for `PAUSED_S` and more than one score, or never has. */
  get paused(): boolean {
    return this.still || (this.unmovedS > PAUSED_S && this.unmoved > 1);
  }

  /** Return true if the frame scan hit it at a time, or so shortly before. */
  scanned(time: number, withinS: number): boolean {
    return time - this.scannedAt <= withinS;
  }

  /** Return the largest share in which a box and one of the recent hits' boxes cover each other, 0 to 1. */
  touches(box: BoxXYWH): number {
    // A hit of the whole frame or of a large part does not make all that lies in it this animal.
    const most = Math.max(LARGE, area(this.box));
    const recent = this.reach.map(([, own]) => own);
    const near = recent.filter((own) => area(own) <= most && inside(own, this.box) >= TOUCHING);
    return Math.max(...[...near, this.box].map((own) => inside(box, own)));
  }
}

/** Scores of one frame in, live tracks out; one for each camera. */
export class Tracker {
  tracks: Track[] = [];
  private count = 0;

  constructor(public threshold: number) {} // bear probability of a hit, 0 to 1

  /** Return the tracks (kind "track") that none of this frame's motion regions covers, to score them again. */
  regions(moving: readonly Region[]): Region[] {
    return this.tracks
      .filter((track) => moving.every((region) => iou(track.box, region.box) < OWN_IOU))
      .map((track) => ({ box: track.box, kind: "track" }));
  }

  /** Return true if a region is where one of the tracks is. */
  follows(region: Region): boolean {
    return this.tracks.some((track) => overlap(track.box, region.box));
  }

  /** Return the live tracks after this frame's scores (time in seconds), oldest first. */
  update(scores: readonly Score[], time: number): Track[] {
    this.tracks = this.tracks.filter((track) => time - track.lastHit <= LOST_S);
    for (const track of this.tracks) {
      track.now = null;
      track.own = false;
      track.likelySameIds = [];
      track.absorbed = [];
      track.reach = track.reach.filter(([until]) => until >= time);
    }
    const seen = new Map<Track, Score[]>(); // of each track, what overlaps it
    const around = new Map<Track, Score[]>(); // and hits of much larger regions that it lies in
    const elsewhere: Score[] = [];
    for (const score of [...scores].sort(order)) {
      const homes = this.homes(score, time);
      if (homes.length > 0) this.join(homes, score, time, seen);
      else if (score.bear >= this.threshold) elsewhere.push(score);
    }
    for (const score of elsewhere) {
      const box = score.region.box;
      const sure = new Map<Track, number>();
      for (const track of this.tracks) {
        const scored = seen.get(track);
        if (track.lastHit === time && scored) sure.set(track, surest(scored));
      }
      const within = this.tracks.filter((track) => lies(track.box, box));
      const hit = firstMax(within.filter((track) => sure.has(track)), (track) => sure.get(track) ?? 0);
      const homes = this.homes(score, time);
      if (homes.length > 0) {
        this.join(homes, score, time, seen); // one that began in this frame
      } else if (hit) {
        append(around, hit, score);
      } else if (score.region.kind !== "scan" || ![...sure].some(([track, bear]) => beside(track, score, bear))) {
        this.join([this.begin(score.region, time), ...within], score, time, seen);
      }
    }
    for (const track of this.tracks) {
      const scored = seen.get(track);
      if (scored) this.follow(track, scored, around.get(track) ?? [], time);
    }
    this.merge(time);
    for (const track of this.tracks) {
      track.unmovedS = time - track.movedAt;
      track.unmoved = track.unmovedS === 0 ? 0 : track.unmoved + (track.now ? 1 : 0);
    }
    return this.tracks;
  }

  /** Give an observation to the first of these tracks; note that a hit could be of the others too. */
  private join([track, ...others]: readonly Track[], score: Score, time: number, seen: Map<Track, Score[]>): void {
    append(seen, track, score);
    track.own ||= isOwn(track, score.region);
    if (score.bear >= this.threshold) {
      track.likelySameIds.push(...others.map((other) => other.number));
      track.lastHit = time;
      if (score.region.kind === "scan") track.scannedAt = time;
      track.reach.push([time + REACH_S, score.region.box]);
    }
  }

  /** Return the tracks this observation may be of, the likeliest first. */
  private homes(score: Score, time: number): Track[] {
    const found = this.tracks.map((track) => ({ share: this.affinity(track, score, time), track }));
    return found
      .filter(({ share }) => share > 0)
      .sort((one, other) => other.share - one.share)
      .map(({ track }) => track);
  }

  /** Return how surely an observation is of this track, 0 (not) to 1. */
  private affinity(track: Track, score: Score, time: number): number {
    const { box, kind } = score.region;
    const shared = iou(track.box, box);
    if (score.bear < this.threshold) return isOwn(track, score.region) ? shared : 0;
    if (shared >= SAME_IOU) return shared;
    if (lies(box, track.box)) return (SAME_IOU * common(box, track.box)) / area(box);
    if (kind === "scan" || lies(track.box, box)) return 0;
    return walked(track.box, box, time - track.lastHit) ? 0.1 : 0;
  }

  private begin(region: Region, time: number): Track {
    this.count += 1;
    const track = new Track(this.count, region, time);
    this.tracks.push(track);
    return track;
  }

  /** Move the box to where the animal is, and take this frame's evidence of what overlaps it there. */
  private follow(track: Track, seen: readonly Score[], around: readonly Score[], time: number): void {
    const moved = seen.filter((score) => score.region.kind === "motion");
    const hits = moved.filter((score) => score.bear >= this.threshold);
    const own = seen.filter((score) => isOwn(track, score.region));
    let parts = seen.filter((score) => score.region.kind === "scan" && score.bear >= this.threshold);
    if (hits.length > 0 || (moved.length > 0 && track.moved)) {
      track.moved = true;
      track.movedAt = time;
      parts = hits.length > 0 ? hits : moved;
    } else if (own.length === 0 || surest(own) >= this.threshold) {
      // It is still there; what the frame scan found is the tighter crop if it is smaller.
      parts = parts.filter((score) => area(score.region.box) < 0.9 * area(track.box));
    }
    track.box = firstMax(parts, bearOf)?.region.box ?? track.box;
    const there = [...seen, ...around].filter((score) => overlap(track.box, score.region.box));
    track.now = firstMax(there, bearOf) ?? null;
  }

  /** Two tracks that have come to lie on one another are one: the older stays. */
  private merge(time: number): void {
    const kept: Track[] = [];
    for (const track of this.tracks) {
      const twin = kept.find((each) => twins(each, track, time));
      if (!twin) {
        kept.push(track);
        continue;
      }
      const alike = iou(twin.box, track.box) >= TWIN_IOU;
      const other = alike ? (track.now?.bear ?? 0) > (twin.now?.bear ?? 0) : area(track.box) < area(twin.box);
      if (other) {
        twin.now = track.now;
        twin.box = track.box;
      }
      twin.lastHit = Math.max(twin.lastHit, track.lastHit);
      twin.moved ||= track.moved;
      twin.movedAt = Math.max(twin.movedAt, track.movedAt);
      twin.reach.push(...track.reach);
      twin.own ||= track.own;
      twin.scannedAt = Math.max(twin.scannedAt, track.scannedAt);
      twin.likelySameIds.push(...track.likelySameIds);
      twin.absorbed.push(track.number, ...track.absorbed);
    }
    this.tracks = kept;
  }
}

/** Return the element with the largest key, the first of equals; undefined if there is none. */
export function firstMax<T>(all: readonly T[], key: (one: T) => number): T | undefined {
  let best: T | undefined;
  for (const each of all) if (best === undefined || key(each) > key(best)) best = each;
  return best;
}

/** Return intersection over union of two boxes, 0 to 1. */
export function iou(one: BoxXYWH, other: BoxXYWH): number {
  const shared = common(one, other);
  const union = area(one) + area(other) - shared;
  return union > 0 ? shared / union : 0;
}

/** Return the share of the smaller box that the larger one covers, 0 to 1. */
export function inside(one: BoxXYWH, other: BoxXYWH): number {
  const smaller = Math.min(area(one), area(other));
  return smaller > 0 ? common(one, other) / smaller : 0;
}

/** Return true if two tracks are one: they overlap, or the larger one saw what is in the smaller one. */
function twins(one: Track, other: Track, time: number): boolean {
  if (iou(one.box, other.box) >= TWIN_IOU) return true;
  const smaller = area(other.box) < area(one.box) ? other : one;
  const seen = smaller.lastHit === time && !(one.moved && other.moved);
  return seen && inside(one.box, other.box) >= SAME_INSIDE;
}

function overlap(one: BoxXYWH, other: BoxXYWH): boolean {
  return iou(one, other) >= SAME_IOU || inside(one, other) >= SAME_INSIDE;
}

function lies(one: BoxXYWH, other: BoxXYWH): boolean {
  return area(one) > 0 && common(one, other) >= SAME_INSIDE * area(one);
}

/** Return true if a frame scan's hit is more of an animal that another region found with `bear` in this frame. */
function beside(track: Track, score: Score, bear: number): boolean {
  const [x, y, w, h] = track.box;
  const margin = track.moved ? BODY : 0;
  const body: BoxXYWH = [x - margin * w, y - margin * h, w * (1 + 2 * margin), h * (1 + 2 * margin)];
  return bear >= score.bear && inside(body, score.region.box) >= TOUCHING;
}

function isOwn(track: Track, region: Region): boolean {
  return iou(track.box, region.box) >= (region.kind === "scan" ? OWN_SCAN_IOU : OWN_IOU);
}

function bearOf(score: Score): number {
  return score.bear;
}

function surest(scores: readonly Score[]): number {
  return Math.max(...scores.map(bearOf));
}

/** Motion first, for its boxes are tight; then the surest, for it stands for those around it. */
function order(one: Score, other: Score): number {
  const kinds = ["motion", "track", "scan"];
  return kinds.indexOf(one.region.kind) - kinds.indexOf(other.region.kind) || other.bear - one.bear;
}

/** Return true if an animal could have gone from one box to the other: half its length, and one more each second. */
function walked(was: BoxXYWH, box: BoxXYWH, seconds: number): boolean {
  const longer = Math.max(was[2], was[3], box[2], box[3]);
  const shorter = Math.min(Math.max(was[2], was[3]), Math.max(box[2], box[3]));
  const dx = was[0] + was[2] / 2 - box[0] - box[2] / 2;
  const dy = was[1] + was[3] / 2 - box[1] - box[3] / 2;
  // Two and a half times as large is another animal.
  return longer <= 2.5 * shorter && Math.sqrt(dx * dx + dy * dy) <= (0.5 + Math.min(seconds, 1)) * longer;
}

export function area(box: BoxXYWH): number {
  return box[2] * box[3];
}

export function common(one: BoxXYWH, other: BoxXYWH): number {
  const width = Math.min(one[0] + one[2], other[0] + other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[1] + one[3], other[1] + other[3]) - Math.max(one[1], other[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}

function append(lists: Map<Track, Score[]>, track: Track, score: Score): void {
  const list = lists.get(track);
  if (list) list.push(score);
  else lists.set(track, [score]);
}
