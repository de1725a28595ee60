/** From evidence to alarms: when a bear is new, worth another alarm, gone; as in `edge/decide/alarms.py`, which tells when. */

import { type EvidenceState, logit, type Rule, TrackEvidence } from "./evidence";
import type { CutThumbnail, RepeatAlarmFilter } from "./repeat_alarms";
import { roundEven } from "./resize";
import { type BoxXYWH, type EventType, newId, type Score, type Zone } from "./schema";
import { inside, TOUCHING, type Track } from "./tracker";
import { holds, touches } from "./zones";

const LONGEST_AGAIN_S = 300; // of a spot where one incident follows another
const REMEMBERED_S = 3600; // how long a spot's incidents are known
const MOST_REMEMBERED = 64;
const UPDATE_S = 5; // at most one update in so many seconds
const REMIND_S = 600; // and one at least, while the bear is seen
const RISE = 0.1; // of the top score, worth an update
const EMPTY_S = 5; // zones empty for so long end it: as long as a track outlives a hit
const UNSEEN_S = 0.5; // without support for so long, a bear may be the one found elsewhere
const CLEAR_AFTER_S = 6; // of new pictures, until one has had the time to be found again, or to be missed
const RISEN_SCORE = 0.9; // bear probability from which a bear in doubt alarms again
const RISE_LOGITS = 1.5; // and so many logits above the score of its last alarm
const BACK_AFTER_S = 10; // unseen for so long, a bear that comes back had gone: a track outlives 5 s without a hit
const QUIET_S = 120; // since the last noise, before one that comes back makes another
const MAX_HELD_S = 30; // an end is held back

/** One step of an incident, to be published. */
export interface Decision {
  readonly type: EventType;
  readonly id: string; // of the incident
  readonly track: number;
  readonly label: string;
  readonly score: number; // bear probability now, 0 to 1
  readonly topScore: number;
  readonly box: BoxXYWH;
  readonly onsetS: number | null; // first supporting frame -> alarm; only where an alarm was raised
  readonly unknown: boolean; // unlike anything seen in training
  readonly zones: readonly string[]; // that the bear stands in
  readonly escalated: string | null; // why an update alarms again
}

type More = Partial<Pick<Decision, "onsetS" | "unknown" | "zones" | "escalated">>;

/** The last arguments of `Decider.decide`. */
interface Now {
  readonly tracks: ReadonlyMap<number, Track>;
  readonly time: number;
  readonly thumbnailOf: CutThumbnail | null;
  readonly clear: boolean; // the camera has shown what is there for a while
}

/** Live tracks of one frame in, decisions out; one for each camera. */
export class Decider {
  readonly zones: readonly Zone[]; // where there are any, only what stands in one alarms
  readonly repeatAlarms: RepeatAlarmFilter | null; // null: no spot ever needs more evidence
  readonly againS: number; // found again within this: the same incident; at one spot twice as long each time
  private gathered = new Map<number, TrackEvidence>(); // by the track's number
  private incidents: Incident[] = [];
  private past: Incident[] = []; // too old to go on
  private clearAt = 0; // from when on the camera shows what is there
  private now: Now = { tracks: new Map(), time: 0, thumbnailOf: null, clear: true };

  constructor(
    readonly rule: Rule,
    options: { zones?: readonly Zone[]; repeatAlarms?: RepeatAlarmFilter; againS?: number } = {},
  ) {
    this.zones = options.zones ?? [];
    this.repeatAlarms = options.repeatAlarms ?? null;
    this.againS = options.againS ?? 30;
  }

  /**
   * Return the decisions to publish after this frame (time in seconds).
   *
   * `thumbnailOf` is needed for repeat alarms. `seeing`: false where the camera shows nothing new. What is not seen then
   * has not gone: its end is held back.
   */
  decide(
    tracks: readonly Track[],
    time: number,
    options: { thumbnailOf?: CutThumbnail; seeing?: boolean } = {},
  ): Decision[] {
    const seeing = options.seeing ?? true;
    if (!seeing) this.clearAt = time + CLEAR_AFTER_S;
    const clear = time >= this.clearAt;
    const live = new Map(tracks.map((track) => [track.number, track]));
    this.now = { tracks: live, time, thumbnailOf: options.thumbnailOf ?? null, clear };
    for (const track of tracks) for (const gone of track.absorbed) this.takeOver(track.number, gone);
    this.search(seeing);
    const lost = this.incidents.filter((incident) => this.isOver(incident));
    const decisions = lost.map((incident) => this.lose(incident, clear));
    this.retire();
    decisions.push(...tracks.map((track) => this.consider(track)));
    decisions.push(...this.all.map((incident) => incident.settle(time, clear)));
    for (const incident of this.incidents) if (incident.followed) incident.surest = surest(incident, live);
    this.gathered = new Map([...this.gathered].filter(([number]) => live.has(number)));
    return published(decisions);
  }

  /** Return the ends of all open incidents: the camera sees nothing. Those still followed may go on. */
  interrupt(): Decision[] {
    return published(this.all.map((incident) => incident.interrupt()));
  }

  /** End every incident, and return the ends of those that were open: the source has ended, or is gone for now. */
  close(): Decision[] {
    const ends = this.all.map((incident) =>
      incident.followed ? this.lose(incident, true) : incident.settle(this.now.time, true),
    );
    for (const incident of this.incidents) incident.missedAt = null;
    return published(ends);
  }

  /** The incidents whose end is not published, oldest first. */
  get openIncidents(): Incident[] {
    return this.all.filter((incident) => incident.open);
  }

  /** Return the evidence of each live track after the last frame, oldest track first. */
  evidenceStates(): EvidenceState[] {
    const { tracks, time } = this.now;
    return [...tracks.values()].map((track) => {
      const gathered = this.gathered.get(track.number) ?? new TrackEvidence(this.rule);
      return {
        track: track.number,
        sum: gathered.evidence.at(time),
        alarmAt: gathered.alarmAt,
      };
    });
  }

  private get all(): Incident[] {
    // An end can be held back for longer than its incident may go on.
    return [...this.past, ...this.incidents];
  }

  /** Note whether a bear is in the frame at all: one seen elsewhere may be the one missed here. */
  private search(seeing: boolean): void {
    const { tracks, time } = this.now;
    const hit = (number: number): boolean => tracks.get(number)?.lastHit === time;
    const found = this.incidents.some((incident) => [...incident.tracks].some(hit));
    for (const incident of this.incidents) incident.searched(time, found, seeing);
  }

  /**
   * Return true when no track of an incident is left or, with zones, when none of them has stood in one lately.
   *
   * A track that passes the threshold only now and then is no bear any more, but for example water where one was.
   */
  private isOver(incident: Incident): boolean {
    const { tracks, time } = this.now;
    for (const number of [...incident.tracks]) {
      const track = tracks.get(number);
      const gathered = this.gathered.get(number);
      if (!track) incident.tracks.delete(number);
      else if (gathered && gathered.mean > 0 && this.standingIn(track).length > 0) incident.thereAt = time;
    }
    const left = this.zones.length > 0 && time - incident.thereAt > EMPTY_S;
    return incident.followed && (left || incident.tracks.size === 0);
  }

  /** Add one track's score of this frame to its evidence; return what is to be published about it. */
  private consider(track: Track): Decision | null {
    const { time } = this.now;
    const score = track.now;
    if (!score) return null;
    const gathered = this.gathered.get(track.number) ?? new TrackEvidence(this.rule);
    this.gathered.set(track.number, gathered);
    const logits = gathered.counted(track, time);
    gathered.average(track, time);
    if (logits !== 0) {
      const likelySame = track.likelySameIds.map((number) => this.gathered.get(number));
      gathered.add(logits, time, likelySame.filter((each) => each !== undefined));
    }
    if (logits <= 0) return null;
    const zones = this.standingIn(track);
    if (gathered.incident) return this.goOn(gathered.incident, track, score, zones);
    if ((this.zones.length > 0 && zones.length === 0) || !this.enough(gathered, track)) return null;
    const onsetS = time - (gathered.onset ?? time);
    const same = this.same(track);
    gathered.incident = same ?? this.begin(gathered, track, score, zones);
    if (same) return this.rejoin(same, track, score, zones, onsetS);
    return this.step("new", gathered.incident, score, { zones, onsetS });
  }

  private standingIn(track: Track): string[] {
    // What the frame scan found lies there roughly.
    return this.zones.filter((zone) => (track.moved ? holds : touches)(zone, track.box)).map((zone) => zone.name);
  }

  /** Return true when the evidence raises the alarm; at a spot of repeat alarms it takes twice as much. */
  private enough(gathered: TrackEvidence, track: Track): boolean {
    const { thumbnailOf, time } = this.now;
    gathered.twice = false;
    if (gathered.evidence.sum < this.rule.alarmAt) return false;
    if (this.repeatAlarms && thumbnailOf && !track.moved) {
      gathered.twice = this.repeatAlarms.twice(track.box, thumbnailOf, time);
    }
    return gathered.evidence.sum >= gathered.alarmAt;
  }

  /**
   * Begin an incident.
   *
   * At a spot where one incident follows another, each may be found again for twice as long as the one before.
   */
  private begin(gathered: TrackEvidence, track: Track, score: Score, zones: readonly string[]): Incident {
    const { thumbnailOf, time } = this.now;
    if (this.repeatAlarms && thumbnailOf && !track.moved && !gathered.twice) {
      this.repeatAlarms.alarmed(track.box, thumbnailOf(track.box), time);
    }
    const recent = this.past.filter((past) => time - past.seenAt <= REMEMBERED_S);
    const before = recent.filter((past) => near(past.box, track.box));
    const againS = Math.max(this.againS, ...before.map((past) => Math.min(2 * past.againS, LONGEST_AGAIN_S)));
    const incident = new Incident(track, score, zones, time, againS);
    this.incidents.push(incident);
    return incident;
  }

  /** Merge two tracks that became one: the surer evidence stays, and so does the incident. */
  private takeOver(kept: number, gone: number): void {
    const old = this.gathered.get(gone);
    if (!old) return;
    this.gathered.delete(gone);
    const own = this.gathered.get(kept);
    const incident = own?.incident ?? old.incident;
    const surer = !own || old.evidence.sum > own.evidence.sum ? old : own;
    this.gathered.set(kept, surer);
    surer.incident = incident;
    incident?.tracks.add(kept);
  }

  /** Update an incident; return a decision if it is worse, its score has risen, or the last update is long ago. */
  private goOn(incident: Incident, track: Track, score: Score, zones: readonly string[]): Decision | null {
    const { time } = this.now;
    incident.seenAt = time;
    incident.box = track.box;
    incident.score = score.bear;
    incident.track = track.number;
    if (score.bear > incident.topScore) {
      incident.topScore = score.bear;
      incident.label = score.label;
    }
    const sinceS = time - incident.publishedAt;
    const matters = zones.length > 0 || this.zones.length === 0;
    const why = matters ? incident.worse(this.rule, zones, score.bear, time, sinceS >= UPDATE_S, track.moved) : null;
    const risen = incident.topScore >= incident.publishedScore + RISE && score.bear >= incident.topScore;
    if (why === null && (sinceS < UPDATE_S || !(risen || sinceS >= REMIND_S))) return null;
    incident.publishedScore = incident.topScore;
    incident.publishedAt = time;
    return this.step("update", incident, score, { zones, escalated: why });
  }

  /** Return the incident that a track belongs to, if its bear is known. */
  private same(track: Track): Incident | null {
    const { tracks, time } = this.now;
    const followed = this.incidents.filter((incident) => incident.followed);
    const touching = (number: number): boolean => (tracks.get(number)?.touches(track.box) ?? 0) >= TOUCHING;
    const here = followed.find((incident) => [...incident.tracks].some(touching));
    if (here) return here;
    // A bear found again: for a while nothing has supported its incident, and that is near. It may also be far away
    // if no incident is followed now; while one is, a bear elsewhere is another one.
    const again = [...this.incidents].reverse().find((incident) => {
      const unseenS = time - incident.seenAt;
      const alone = unseenS <= this.againS && followed.length === 0;
      return unseenS >= UNSEEN_S && (alone || near(incident.box, track.box));
    });
    return again ?? null;
  }

  /** Let a track join an incident that was published; return an update, at once only if the bear was lost. */
  private rejoin(
    incident: Incident,
    track: Track,
    score: Score,
    zones: readonly string[],
    onsetS: number,
  ): Decision | null {
    const { time } = this.now;
    incident.tracks.add(track.number);
    incident.thereAt = time;
    const lost = !incident.followed;
    if (lost) incident.cameBack(time - onsetS);
    const update = this.goOn(incident, track, score, zones);
    if (update || !(lost || time - incident.publishedAt >= UPDATE_S)) return update;
    incident.publishedAt = time;
    return this.step("update", incident, score, { zones, onsetS });
  }

  private retire(): void {
    const isOld = (each: Incident): boolean => !each.followed && this.now.time - each.seenAt > each.againS;
    this.past = [...this.past, ...this.incidents.filter(isOld)].slice(-MOST_REMEMBERED);
    this.incidents = this.incidents.filter((each) => !isOld(each));
  }

  /** Return the end of an incident of which nothing is followed any more, where it is to be published now. */
  private lose(incident: Incident, clear: boolean): Decision | null {
    for (const gathered of this.gathered.values()) {
      if (gathered.incident === incident) gathered.incident = null; // what is seen again is found again
    }
    return incident.lose(this.now.time, clear);
  }

  private step(type: EventType, incident: Incident, score: Score, more: More): Decision | null {
    const unknown = score.ood > this.rule.oodThreshold;
    return incident.step(type, score.bear, this.now.clear, { unknown, ...more });
  }
}

/** Is a track of an incident followed, and is its end published? */
type State =
  | "open" // followed
  | "end held" // lost, perhaps because of the camera; its end is not published yet
  | "interrupted" // its end was published, because the camera failed; still followed
  | "ended"; // its end was published; for a while the bear may be found again

/** One bear that was published, while it lasts and a little longer. Times in seconds, the frames' clock. */
export class Incident {
  readonly id = newId(); // of its events
  readonly tracks: Set<number>; // all that are this bear
  readonly againS: number; // found again there within this: the same incident
  track: number; // that supported it last
  label: string;
  score: number; // the last that supported it
  topScore: number;
  publishedScore: number;
  publishedAt: number;
  box: BoxXYWH;
  seenAt: number; // when a score last supported it
  thereAt: number; // when a track of it last stood in a zone, where there are any, and was still taken for a bear
  missedAt: number | null = null; // since when a camera that sees has seen no known bear at all; null: it has
  surest: Track; // while it is followed: its track with the highest score in the last frame
  private readonly beganAt: number;
  private noiseAt: number; // when it last made a noise
  private noiseScore: number; // the top score then
  private awayS = 0; // for how long it was gone before it came back, while no noise was made for that; 0: it was not
  private readonly zones: Set<string>; // made known with a noise
  private rose = false; // has alarmed again because its score rose
  private state: State = "open";
  private lostAt = 0; // when its last track was lost
  private last: Decision; // the last one, also where it was held back

  constructor(track: Track, score: Score, zones: readonly string[], time: number, againS: number) {
    this.track = track.number;
    this.tracks = new Set([track.number]);
    this.surest = track;
    this.label = score.label;
    this.score = this.topScore = this.publishedScore = this.noiseScore = score.bear;
    this.box = track.box;
    this.seenAt = this.publishedAt = this.beganAt = this.noiseAt = this.thereAt = time;
    this.againS = againS;
    this.zones = new Set(zones);
    this.last = this.decision("new", score.bear);
  }

  /** True while a track of it is followed. */
  get followed(): boolean {
    return this.state === "open" || this.state === "interrupted";
  }

  /** True while its end is not published. */
  get open(): boolean {
    return this.state === "open" || this.state === "end held";
  }

  /**
   * Return a decision to publish, with the bear probability of now.
   *
   * `clear`: the camera shows what is there now. Without it, an interrupted incident only goes on with an alarm.
   */
  step(type: EventType, score: number, clear: boolean, more: More): Decision | null {
    this.last = this.decision(type, score, more);
    const alarms = type === "new" || this.last.escalated !== null;
    if (this.state === "interrupted" && !(clear || alarms)) return null;
    this.state = "open";
    return this.last;
  }

  /** Note that its last track is lost; return the end, unless it is held back or was published before. */
  lose(time: number, clear: boolean): Decision | null {
    this.tracks.clear();
    this.lostAt = time;
    if (this.state === "interrupted") {
      this.state = "ended";
      return null;
    }
    this.last = this.decision("end", this.score);
    this.state = clear ? "ended" : "end held";
    return clear ? this.last : null;
  }

  /** Return what need not wait for the camera any longer: an end held back, or that the bear is still there. */
  settle(time: number, clear: boolean): Decision | null {
    if (this.state === "end held" && (clear || time - this.lostAt >= MAX_HELD_S)) {
      this.state = "ended";
      return this.last;
    }
    if (this.state === "interrupted" && clear) {
      this.state = "open";
      this.last = { ...this.last, type: "update", onsetS: null, escalated: null };
      return this.last;
    }
    return null;
  }

  /** Note that the camera has failed; return the end of an open incident. */
  interrupt(): Decision | null {
    if (!this.open) return null;
    this.state = this.followed ? "interrupted" : "ended";
    return { ...this.last, type: "end", onsetS: null, unknown: false, zones: [], escalated: null };
  }

  /** Note whether any known bear was in this frame; where the camera sees nothing, nothing is known of it. */
  searched(time: number, found: boolean, seeing: boolean): void {
    if (found || !seeing) this.missedAt = null;
    else this.missedAt ??= time;
  }

  /** Note that what was lost is there again since a time. */
  cameBack(since: number): void {
    if (this.missedAt !== null && since - this.missedAt >= BACK_AFTER_S) this.awayS = since - this.missedAt;
    this.missedAt = null;
  }

  /**
   * Return why it is worth another alarm, or null; note the alarm as raised.
   *
   * `settled`: not published just now. `moved`: what never moved has not come back, but was there all the time.
   */
  worse(
    rule: Rule,
    zones: readonly string[],
    score: number,
    time: number,
    settled: boolean,
    moved: boolean,
  ): string | null {
    const further = zones.find((name) => !this.zones.has(name));
    // A second noise right after the first is no news: a bear that walks in is surer with every frame.
    const doubtful = !this.rose && settled && this.noiseScore < rule.stillThreshold;
    let why: string;
    if (further !== undefined) {
      why = `zone ${further}`;
    } else if (doubtful && score >= RISEN_SCORE && logit(score) >= logit(this.noiseScore) + RISE_LOGITS) {
      why = "rising score";
      this.rose = true;
    } else if (this.awayS && moved && this.quietFor(time)) {
      why = `back after ${roundEven(this.awayS)} s`;
    } else {
      return null;
    }
    this.awayS = 0;
    this.noiseAt = time;
    this.noiseScore = this.topScore;
    for (const name of zones) this.zones.add(name);
    return why;
  }

  /**
   * Return true if the last noise is so long ago that a bear that came back is worth another.
   *
   * Longer at a spot where one incident follows another; and as long again as it has lasted by then, so that what comes
   * and goes all night is heard ever more seldom.
   */
  private quietFor(time: number): boolean {
    return time - this.noiseAt >= Math.max(QUIET_S, 2 * this.againS, this.noiseAt - this.beganAt);
  }

  private decision(type: EventType, score: number, more: More = {}): Decision {
    const { id, track, label, topScore, box } = this;
    const usual = { onsetS: null, unknown: false, zones: [], escalated: null };
    return { ...usual, type, id, track, label, score, topScore, box, ...more };
  }
}

function surest(incident: Incident, live: ReadonlyMap<number, Track>): Track {
  let best = incident.surest;
  let bestScore = -1;
  for (const number of incident.tracks) {
    const track = live.get(number);
    if (!track) continue;
    const score = track.now?.bear ?? 0;
    if (score > bestScore || (score === bestScore && track.lastHit > best.lastHit)) [best, bestScore] = [track, score];
  }
  return best;
}

function published(decisions: readonly (Decision | null)[]): Decision[] {
  return decisions.filter((decision) => decision !== null);
}

function near(one: BoxXYWH, other: BoxXYWH): boolean {
  const grown = ([x, y, w, h]: BoxXYWH): BoxXYWH => [x - w, y - h, 3 * w, 3 * h];
  return inside(grown(one), grown(other)) > 0;
}
