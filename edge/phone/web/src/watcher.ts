/** The loop: find what moved, score it, decide, make events, look after the camera; `edge/watch.py` of one camera. */

import { Decider, type Decision } from "./alarms";
import { CameraCheck, FaultDebouncer } from "./camera_check";
import type { Card } from "./card";
import { EventFactory, type Taken, UNSEEN_WORDS } from "./events";
import { Rule } from "./evidence";
import { CropBudget, FRAME_S, FrameRateControl, ScanSize, ScanTimer } from "./frame_rate";
import { type Motion, MotionFinder } from "./motion";
import type { FromWorker, Mark, Reviewed, WatchSettings } from "./protocol";
import { type Pictured, Recorder } from "./recorder";
import { RepeatAlarmFilter, thumbnail } from "./repeat_alarms";
import { type BearEvent, type CameraFault, type Frame, type Picture, type Region, type Score, WHOLE } from "./schema";
import { Tracker } from "./tracker";

const CHECK_S = 1; // how often to ask whether anything is wrong with the camera
const SAME_S = 1; // the same picture for so long shows nothing new
const FROZEN_S = 5; // and for so long it is no living camera
const MAYBE = 1 / 3; // of the evidence that alarms: worth a word on the screen
const FAILED_WORDS = "the alarm itself failed, so nothing is known of the bear";
const SETTINGS_WORDS = "the settings were changed while the bear was still in view";

/** Interface of a classifier for the loop. */
export interface Scorer {
  readonly card: Card;
  readonly name: string;
  score(picture: Picture, regions: readonly Region[]): Promise<Score[]>;
  /** Score the whole picture, its longer side so many pixels (null: the card's), on the scale of the crops' scores. */
  scan(picture: Picture, side: number | null): Promise<Score[]>;
}

export interface WatchOptions {
  readonly live: boolean; // false: every frame counts, and none has fewer crops or a smaller scan
  readonly camera: string;
  readonly bootId: string;
  readonly seq: number; // of the next event
  readonly settings: WatchSettings;
  readonly reviews: readonly Reviewed[];
}

/** Result of one frame: as the page gets it, but the pictures not yet compressed. */
export type Looked = Omit<Extract<FromWorker, { type: "looked" }>, "type" | "events"> & { readonly kept: Pictured[] };

/** The state of one camera's alarm. */
export class Watcher {
  readonly scanSize: ScanSize;
  readonly budget: CropBudget;
  readonly pace = new FrameRateControl();
  private rule: Rule;
  private decider: Decider;
  private readonly live: boolean;
  private readonly motion = new MotionFinder();
  private readonly tracker: Tracker;
  private readonly scanTimer = new ScanTimer();
  private readonly repeatAlarms = new RepeatAlarmFilter();
  private readonly check = new CameraCheck();
  private readonly troubles = new FaultDebouncer();
  private readonly events: EventFactory;
  private readonly recorder: Recorder;
  private reviews: readonly Reviewed[];
  private frames = 0;
  private last: Taken | null = null;
  private checkedAt: number | null = null;
  private cameraFault: CameraFault | null = null; // as the page reports it
  private frozenFault: CameraFault | null = null;
  private lensFaults: readonly CameraFault[] = [];
  private wasFrozen = false; // in the last frame

  constructor(
    private readonly scorer: Scorer,
    private options: WatchOptions,
  ) {
    const { live, camera, bootId, seq, settings, reviews } = options;
    const { card } = scorer;
    this.live = live;
    this.rule = Rule.fromCard(card, settings.threshold);
    this.tracker = new Tracker(this.rule.threshold);
    this.decider = this.newDecider();
    this.budget = new CropBudget(live ? FRAME_S : null);
    this.scanSize = new ScanSize(Math.max(...card.sides));
    this.events = new EventFactory(camera, bootId, scorer.name, live, seq);
    this.recorder = new Recorder(camera, card.context, live);
    this.reviews = reviews;
  }

  get threshold(): number {
    return this.rule.threshold;
  }

  /** Watch one frame. `since`: when it came, by `performance.now()`. One at a time. */
  async look(frame: Frame, since = performance.now()): Promise<Looked> {
    const { time } = frame;
    this.takeReviews(time);
    const motion = this.motion.find(frame.picture, time, frame.discontinuity);
    this.last = frame;
    this.cameraFault = null; // here is a frame
    const regions = this.find(frame, motion);
    const scores = await this.score(frame, regions);
    const decisions = this.decide(frame, scores);
    const kept = decisions.map((each) => this.recorder.add(this.events.bear(each, frame, since), frame, scores, time));
    kept.push(...this.lookAfter(frame, motion, since));
    this.recorder.look(frame, scores, this.decider.openIncidents);
    this.last = { time, wall: frame.wall }; // its pixels are not held
    this.frames += 1;
    return { kept, ...this.report(time, scores), tookMs: performance.now() - since };
  }

  /** Watch with other settings from now on; return the ends of the bears that were in view. */
  settings(settings: WatchSettings): Pictured[] {
    if (JSON.stringify(settings) === JSON.stringify(this.options.settings)) return [];
    const ends = this.ends(this.decider.close(), SETTINGS_WORDS, performance.now());
    this.options = { ...this.options, settings };
    this.rule = Rule.fromCard(this.scorer.card, settings.threshold);
    this.tracker.threshold = this.rule.threshold;
    this.decider = this.newDecider();
    return ends;
  }

  /** Note a review before the next frame. */
  review(review: Reviewed): void {
    this.reviews = [...this.reviews, review];
  }

  /** Note what the page reports of the camera while no frame comes; null: it is well again. Repeat it while it lasts. */
  fault(fault: CameraFault | null, time: number, wall: number): Pictured[] {
    const over = fault === null && this.cameraFault !== null;
    this.cameraFault = fault;
    if (!over && this.checkedAt !== null && time - this.checkedAt < CHECK_S) return [];
    return this.reportFaults({ time, wall }, performance.now());
  }

  /** End what is still going on, for a reason in words. */
  close(why: string, wall: number): Pictured[] {
    const since = performance.now();
    const taken = { time: this.checkedAt ?? 0, wall };
    const reports = this.troubles.close(taken.time);
    return [
      ...this.ends(this.decider.close(), why, since),
      ...reports.map((report) => this.between(this.events.trouble(report, taken, since, true))),
    ];
  }

  /** End the bears in view after an internal error. */
  failed(): Pictured[] {
    return this.ends(this.decider.close(), FAILED_WORDS, performance.now());
  }

  /** Choose the regions to score: what moved, the animals followed so far, and at times the whole picture. */
  private find(frame: Frame, motion: Motion): Region[] {
    const thawed = this.wasFrozen;
    this.wasFrozen = frame.frozenS >= SAME_S && this.troubles.now.some((fault) => fault.kind === "frozen");
    if (this.wasFrozen) return []; // the old picture must not keep a track alive
    const fast = motion.moving || motion.large; // then motion regions are of little use
    const whole = this.scanTimer.due(frame.time, motion.reset || thawed, fast);
    const most = this.budget.beside(whole ? this.scanTimer.tookS : 0);
    const followed = Math.min(1, this.tracker.tracks.length); // one crop stays for a track: swaying leaves must not take it
    const follows = motion.regions.map((region) => this.tracker.follows(region));
    const own = motion.regions.filter((_, index) => follows[index]); // before what sways elsewhere
    const others = motion.regions.filter((_, index) => !follows[index]);
    const moving = this.turn(own, most - followed);
    moving.push(...this.turn(others, most - followed - moving.length));
    const tracks = this.turn(this.tracker.regions(moving), most - moving.length);
    return [...moving, ...tracks, ...(whole ? [{ box: WHOLE, kind: "scan" } as const] : [])];
  }

  /** Return so many of the regions at most; others in the next frame, so that none is skipped for ever. */
  private turn(regions: readonly Region[], most: number): Region[] {
    if (regions.length <= most) return [...regions];
    const start = (this.frames * most) % regions.length;
    return [...regions.slice(start), ...regions.slice(0, start)].slice(0, most);
  }

  /** Score the regions; of the whole picture, the bears that the frame scan finds in it. */
  private async score(frame: Frame, regions: readonly Region[]): Promise<Score[]> {
    const crops = regions.filter((region) => region.kind !== "scan");
    const started = performance.now();
    const scores = crops.length ? await this.scorer.score(frame.picture, crops) : [];
    const cropped = performance.now();
    this.budget.note(crops.length, (cropped - started) / 1000);
    if (crops.length === regions.length) return scores;
    scores.push(...(await this.scorer.scan(frame.picture, this.live ? this.scanSize.side : null)));
    if (this.live) {
      const tookS = (performance.now() - cropped) / 1000;
      this.scanTimer.note(tookS);
      this.scanSize.note(tookS, frame.time, this.pace.share);
    }
    return scores;
  }

  /** Add up this frame's scores and return the decisions to publish. */
  private decide(frame: Frame, scores: readonly Score[]): Decision[] {
    const clear = !this.lensFaults.some((fault) => fault.kind in UNSEEN_WORDS);
    return this.decider.decide(this.tracker.update(scores, frame.time), frame.time, {
      thumbnailOf: (box) => thumbnail(frame.picture, box),
      // Without it, a bear that is not found in this frame may still be there.
      seeing: clear && frame.frozenS < SAME_S && !frame.discontinuity,
    });
  }

  /** Set the frame rate from now on; check the camera once a second. */
  private lookAfter(frame: Frame, motion: Motion, since: number): Pictured[] {
    const sign = motion.regions.length > 0 || motion.moving || this.tracker.tracks.length > 0;
    this.pace.follow(sign, frame.time);
    if (this.checkedAt !== null && frame.time - this.checkedAt < CHECK_S) return [];
    if (this.live) {
      this.lensFaults = this.check.look(motion.grey, frame.time);
      this.frozenFault = frame.frozenS >= FROZEN_S ? { kind: "frozen", value: frame.frozenS } : null;
    }
    return this.reportFaults(frame, since);
  }

  /** Publish faults of the camera that are new or over; a bear that it cannot show any more is over. */
  private reportFaults(taken: Taken, since: number): Pictured[] {
    this.checkedAt = taken.time;
    const faults = [...this.lensFaults, this.cameraFault, this.frozenFault].filter((fault) => fault !== null);
    return this.troubles.report(faults, taken.time).flatMap((report) => {
      const { kind } = report.fault;
      const published = this.between(this.events.trouble(report, taken, since));
      const why = UNSEEN_WORDS[kind];
      if (report.type !== "new" || !why) return [published];
      const ends = kind === "gone" ? this.decider.close() : this.decider.interrupt();
      return [published, ...this.ends(ends, why, since)];
    });
  }

  /** Return the ends of bears that were not seen to leave, with the reason. */
  private ends(decisions: readonly Decision[], why: string, since: number): Pictured[] {
    const { last } = this;
    return last ? decisions.map((end) => this.between(this.events.bear(end, last, since, why))) : [];
  }

  private between(event: BearEvent): Pictured {
    if (event.kind !== "bear") return { event, full: null, crop: null, cropNote: null };
    return this.recorder.add(event, null, [], this.last?.time ?? 0);
  }

  private takeReviews(time: number): void {
    const reviews = this.reviews;
    this.reviews = [];
    for (const each of reviews) this.repeatAlarms.reviewed(each.event, each.box, time - each.agoS, time, each.wrong);
  }

  private newDecider(): Decider {
    return new Decider(this.rule, { zones: this.options.settings.zones, repeatAlarms: this.repeatAlarms });
  }

  private report(time: number, scores: readonly Score[]): Omit<Looked, "kept" | "tookMs"> {
    const states = this.decider.evidenceStates();
    const evidence = Math.max(0, ...states.map((state) => state.sum / state.alarmAt)); // as a share of what alarms
    const moving = scores.filter(({ region }) => region.kind === "motion" && !this.tracker.follows(region));
    const marks: Mark[] = [
      ...this.tracker.tracks.map((track) => ({ box: track.box, kind: "track" as const, bear: track.now?.bear ?? 0 })),
      ...moving.map(({ region, bear }) => ({ box: region.box, kind: region.kind, bear })),
    ];
    const bear = this.decider.openIncidents.length > 0;
    return {
      time,
      marks,
      state: bear ? "bear" : evidence >= MAYBE ? "maybe" : "watching",
      faults: this.troubles.now,
      fps: this.pace.fps,
    };
  }
}
