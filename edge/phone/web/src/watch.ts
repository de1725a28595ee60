/** The watch: camera, detector, siren and journal at work together. What the page shows of it is in watch_view.ts. */

import { Alarm } from "./alarm";
import { Camera, CAMERA_PROBLEMS, type CameraProblem } from "./camera";
import type { Journal, NoteKind } from "./journal";
import { Power } from "./power";
import { type Failure, type FromWorker, type Mark, MODEL_FAILURES, type Published, type Reviewed, type WatchSettings } from "./protocol";
import { type BearEvent, type CameraFault, TROUBLES } from "./schema";
import { Siren } from "./siren";
import { type Problem, type ProblemKind, type State, STALE_S, type Values, blind, stateOf } from "./status";
import { Supervisor } from "./supervisor";
import { WakeLock } from "./wake_lock";
import type { DrawnZone } from "./zone_editor";

const TICK_MS = 1000;
const RATE_S = 10; // over which looks are counted
const SLOW_HZ = 0.9; // looks a second; with fewer an alarm comes late
const FRESH_S = 1; // an older box lies beside the animal
const NOTICE_EVERY_S = 60; // while nothing is watched, until somebody silences it
const RETRY_S = 30; // while the journal cannot store
const WRITE_MS = 5000; // at the end, for what the journal still has to store
const LOST_WORDS = "the detector stopped, so nothing more is known";

export interface Model {
  readonly model: string; // address
  readonly sha256: string;
}

export interface Settings extends WatchSettings {
  readonly zones: readonly DrawnZone[];
}

export type Ready = Extract<FromWorker, { type: "ready" }>;

/** Return how many threads the detector gets: half the cores, for the others are slow ones or busy with the page. */
export function threadsFor(cores: number): number {
  return Math.max(1, Math.min(4, Math.ceil(cores / 2)));
}

export class Watch {
  readonly siren = new Siren();
  readonly power = new Power();
  readonly wake = new WakeLock();
  readonly camera: Camera;
  running = false;
  ready: Ready | null = null;
  failure: Failure | null = null; // of the model: there is no detector
  marks: readonly Mark[] = [];
  lastBear: BearEvent | null = null;
  private readonly supervisor: Supervisor;
  private readonly alarm = new Alarm();
  private readonly problems = new Map<ProblemKind, Problem>();
  private model: Model | null = null;
  private reviews: readonly Reviewed[] = []; // as they were at `reviewsAt`
  private reviewsAt = 0;
  private readonly open = new Map<string, BearEvent>(); // that the detector began and did not end, by id
  private looks: number[] = [];
  private seen: "watching" | "maybe" | "bear" | null = null;
  private lookedAt = 0; // when the last frame was taken; before the first one: when the watch began
  private lastSeq = -1; // of this worker: an event comes again with its pictures
  private since = 0; // looks are counted
  private hiddenAt: number | null = null;
  private down: string | null = null; // why there is no detector, from when it stopped until one is ready
  private crash: Failure = "runtime"; // the last one
  private testing = 0; // tests of the siren that sound
  private hushed = false; // somebody silenced the notice tone
  private noticedAt = 0;
  private retriedAt = -Infinity; // the journal was asked to store what waits
  private readonly writes = new Set<Promise<void>>(); // of the journal
  private loads = 0;
  private ended = Promise.resolve();
  private sentShare = 1;

  constructor(
    video: HTMLVideoElement,
    private readonly journal: Journal,
    public settings: Settings,
    public soundOn: boolean,
    private readonly changed: (alarmed: boolean) => void,
  ) {
    this.supervisor = new Supervisor(() => new Worker("worker.js", { type: "module" }), () => this.startMessage(), {
      hear: (message) => this.hear(message),
      died: (why, givingUp) => this.died(why, givingUp),
    });
    this.camera = new Camera(video, {
      wants: () => this.running && this.supervisor.free,
      frame: (frame) => this.supervisor.offer(frame),
      gone: () => this.cameraGone(),
      failed: (problem, detail) => this.cameraFailed(problem, detail),
      back: () => this.cameraBack(),
    });
    journal.onTrouble = (trouble) => {
      this.clear("full", "broken");
      if (trouble) this.report(trouble);
    };
    journal.onReview = (review) => {
      this.supervisor.send({ type: "review", review });
      this.keep(this.readReviews());
    };
    document.addEventListener("visibilitychange", () => (document.hidden ? this.hide() : this.show()));
    setInterval(() => this.tick(), TICK_MS);
  }

  /** Start the detector; `ready` or `failure` tells later what came of it. */
  async load(model: Model): Promise<void> {
    const load = ++this.loads;
    await this.ended;
    if (this.supervisor.ready && model.sha256 === this.model?.sha256) return;
    await this.readReviews();
    if (load !== this.loads) return; // ended meanwhile, or another model is to be loaded
    this.model = model;
    this.failure = null;
    this.supervisor.begin();
  }

  /** Watch from now on. The camera is open and the detector ready. */
  begin(): void {
    this.running = true;
    this.startLooks();
    this.problems.clear();
    this.hushed = false;
    if (this.journal.trouble) this.report(this.journal.trouble);
    this.tick();
  }

  /** Stop, and keep what the detector still has to say. */
  end(): Promise<void> {
    this.running = false;
    this.loads += 1;
    this.alarm.silence();
    this.alarm.lost(this.now());
    this.siren.stop();
    this.camera.close();
    this.ended = this.finish();
    return this.ended;
  }

  private async finish(): Promise<void> {
    await Promise.all([this.wake.release(), this.supervisor.close("stopped by the user")]);
    this.rise("watching was stopped");
    this.endOpen(); // it did not answer
    this.ready = null;
    this.changed(false);
    await Promise.race([Promise.all(this.writes), new Promise((done) => setTimeout(done, WRITE_MS))]);
  }

  use(settings: Settings): void {
    this.settings = settings;
    this.supervisor.send({ type: "settings", settings });
  }

  /** Silence the siren for the bears of now, and the notice tone for the problems of now. */
  silence(): void {
    this.alarm.silence();
    this.siren.stop();
    this.hushed = true;
    this.changed(false);
  }

  /** Play the siren for a moment, from a tap; return whether the browser lets it sound. */
  async testSiren(seconds: number): Promise<boolean> {
    const heard = await this.siren.unlock();
    this.testing += 1;
    this.siren.start(true);
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    this.testing -= 1;
    if (this.testing === 0 && !this.sounding) this.siren.stop();
    return heard;
  }

  get sounding(): boolean {
    return this.alarm.sounds(this.now());
  }

  /** Return whether the bear that sounds has left the picture. */
  get bearLeft(): boolean {
    return this.alarm.over;
  }

  /** Return whether a bear is in the picture that somebody silenced. */
  get silenced(): boolean {
    return this.running && !this.sounding && this.alarm.quiet;
  }

  /** Return whether there is a tone that somebody may want to silence. */
  get noisy(): boolean {
    return this.sounding || (!this.hushed && this.troubles.some(blind));
  }

  get ageS(): number {
    return this.now() - this.lookedAt;
  }

  get looked(): boolean {
    return this.seen !== null;
  }

  get rate(): number {
    return this.looks.length / Math.min(RATE_S, Math.max(1, this.now() - this.since));
  }

  /** Return whether the phone looks so seldom that an alarm comes late. */
  get slow(): boolean {
    return this.running && this.now() - this.since >= RATE_S && this.rate < SLOW_HZ && !this.troubles.some(blind);
  }

  /** Return the boxes of the last look, while they lie where the animals are. */
  get freshMarks(): readonly Mark[] {
    return this.ageS <= FRESH_S ? this.marks : [];
  }

  get troubles(): readonly Problem[] {
    return [...this.problems.values()];
  }

  get state(): State {
    return stateOf({ seen: this.seen, sounding: this.sounding, problems: this.troubles });
  }

  /** Note a problem; a new one makes a notice tone. */
  report(kind: ProblemKind, values: Values = {}, past = false): void {
    const before = this.problems.has(kind);
    this.problems.set(kind, { kind, values, past });
    if (before && !past) return;
    this.hushed = false;
    this.noticedAt = this.now();
    if (this.running) this.siren.notice(this.soundOn);
    this.changed(false);
  }

  clear(...kinds: readonly ProblemKind[]): void {
    for (const kind of kinds) this.problems.delete(kind);
  }

  /** Try again what a problem keeps from working, from a tap. */
  async again(): Promise<void> {
    if (this.failure) {
      this.clear(this.failure);
      this.failure = null;
      this.supervisor.begin();
    }
    if (this.camera.isGone) await this.camera.reopen();
  }

  private now(): number {
    return performance.now() / 1000;
  }

  /** Forget the looks before: the next one is the first. */
  private startLooks(): void {
    this.seen = null;
    this.marks = [];
    this.lookedAt = this.now();
    this.countLooks();
  }

  /** Count the looks from now on. */
  private countLooks(): void {
    this.since = this.now();
    this.looks = [];
  }

  private startMessage(): Parameters<Supervisor["send"]>[0] {
    if (!this.model) throw new Error("no model yet");
    this.lastSeq = -1;
    return {
      type: "start",
      ...this.model,
      threads: threadsFor(navigator.hardwareConcurrency),
      live: true,
      camera: "phone",
      bootId: this.journal.bootId,
      seq: this.journal.nextSeq(),
      // The user's threshold follows when it is ready, so that "ready" tells the model's own.
      settings: { ...this.settings, threshold: null },
      reviews: this.reviews.map((each) => ({ ...each, agoS: each.agoS + this.now() - this.reviewsAt })),
    };
  }

  /** Read the reviews that a new worker must know. */
  private async readReviews(): Promise<void> {
    this.reviews = await this.journal.reviews();
    this.reviewsAt = this.now();
  }

  private hear(message: FromWorker): void {
    switch (message.type) {
      case "ready":
        this.becomeReady(message);
        break;
      case "failed":
        this.fail(message.failure, message.detail);
        break;
      case "looked":
        this.look(message);
        break;
      case "published":
      case "closed":
        this.publish(message.events);
        break;
    }
  }

  private becomeReady(ready: Ready): void {
    this.ready = ready;
    this.failure = null;
    this.countLooks();
    this.supervisor.send({ type: "settings", settings: this.settings });
    this.sendShare();
    this.clear(...MODEL_FAILURES, "giving-up");
    this.rise("the detector works again");
    this.changed(false);
  }

  private fail(failure: Failure, detail: string): void {
    console.error(failure, detail);
    if (failure === "runtime" || failure === "memory") {
      this.crash = failure;
      return; // the supervisor starts another one
    }
    this.failure = failure;
    this.fell(`the detector failed: ${failure}: ${detail}`);
    this.report(failure);
  }

  private died(why: string, givingUp: boolean): void {
    console.error("the detector died:", why);
    this.fell(`the detector stopped: ${why}`);
    this.report("restarted", { at: Date.now() }, true);
    if (givingUp) {
      if (!this.running) this.failure = this.crash; // the start check has a word for it
      this.clear("restarted");
      this.report("giving-up");
    }
  }

  /** Note that there is no detector, in place of why there was none before. */
  private fell(why: string): void {
    this.alarm.lost(this.now());
    this.endOpen();
    this.ready = null;
    this.seen = null; // what it saw is of before
    if (this.down === why) return; // as the one before: it is tried again and again
    this.rise(why);
    if (!this.running) return; // nothing was watched
    this.note("detector", "new", why);
    this.down = why;
  }

  private rise(how: string): void {
    if (this.down !== null) this.note("detector", "end", how);
    this.down = null;
  }

  /** End what a detector that is gone had begun: the next one knows nothing of it. */
  private endOpen(): void {
    const captured_at = new Date().toISOString();
    const ended = { type: "end", captured_at, latency_ms: null, onset_s: null, escalated: null, detail: LOST_WORDS } as const;
    for (const event of this.open.values()) {
      const end = { ...event, ...ended, seq: this.journal.nextSeq() };
      this.keep(this.journal.add({ event: end, full: null, crop: null, cropNote: null }));
    }
    this.open.clear();
  }

  private look(looked: Extract<FromWorker, { type: "looked" }>): void {
    if (!this.running) return;
    this.seen = looked.state;
    this.lookedAt = looked.time;
    this.marks = looked.marks;
    this.camera.fps = looked.fps;
    this.looks.push(this.now());
    this.publish(looked.events);
    this.follow(looked.faults);
    this.changed(false);
  }

  /** The alarm first, then what is kept of it. */
  private publish(published: readonly Published[]): void {
    const now = this.now();
    for (const { event } of published) {
      if (event.seq <= this.lastSeq) continue;
      this.lastSeq = event.seq;
      if (event.type === "end") this.open.delete(event.id);
      else this.open.set(event.id, event);
      if (event.kind === "bear" && event.type === "new") this.lastBear = event;
      if (!this.running || !this.alarm.event(event, now)) continue;
      this.siren.start(this.soundOn);
      this.changed(true);
    }
    for (const each of published) this.keep(this.journal.add(each));
  }

  /** Show the camera's faults of this look, in place of those of the look before. */
  private follow(faults: readonly CameraFault[]): void {
    const now = new Set<ProblemKind>(faults.map((each) => each.kind));
    for (const kind of TROUBLES) {
      if (kind === "gone" && this.camera.isGone) continue; // this look is of before
      if (!now.has(kind)) this.clear(kind);
      else this.report(kind);
    }
  }

  private cameraGone(): void {
    this.report("gone");
    this.tellFault({ kind: "gone", value: 0 });
  }

  private cameraFailed(problem: CameraProblem, detail: string): void {
    this.clear(...CAMERA_PROBLEMS.filter((each) => each !== problem));
    this.report(problem, { detail });
  }

  private cameraBack(): void {
    this.countLooks();
    this.clear("gone", ...CAMERA_PROBLEMS);
    this.tellFault(null);
  }

  private tellFault(fault: CameraFault | null): void {
    this.supervisor.send({ type: "fault", fault, time: this.now(), wall: Date.now() });
  }

  /** The page is hidden: the browser gives no more frames. */
  private hide(): void {
    if (!this.running) return;
    this.hiddenAt = Date.now();
    this.camera.pause();
    this.siren.notice(this.soundOn);
    this.note("hidden", "new", "not watched: the app is not in front");
  }

  private show(): void {
    this.supervisor.forgive();
    this.retriedAt = -Infinity; // the journal is asked at once
    if (this.hiddenAt === null || !this.running) return;
    const [from, to] = [this.hiddenAt, Date.now()];
    this.hiddenAt = null;
    this.startLooks();
    this.camera.resume();
    this.note("hidden", "end", `not watched from ${new Date(from).toISOString()} to ${new Date(to).toISOString()}`);
    void this.siren.resume();
    this.report("hidden", { from, to }, true);
    this.tick();
  }

  private tick(): void {
    if (this.ready && this.power.share !== this.sentShare) this.sendShare();
    if (document.hidden) return;
    this.supervisor.check();
    const now = this.now();
    if (this.journal.trouble && now - this.retriedAt >= RETRY_S) {
      this.retriedAt = now;
      this.keep(this.journal.retry());
    }
    if (!this.running) return;
    this.camera.check();
    if (this.camera.isGone) this.tellFault({ kind: "gone", value: this.ageS });
    this.looks = this.looks.filter((each) => now - each <= RATE_S);
    this.checkStale();
    this.checkScreen();
    if (this.soundOn && this.siren.blocked) {
      void this.siren.resume();
      this.report("sound");
    } else this.clear("sound");
    if (this.sounding) this.siren.start(this.soundOn);
    else if (this.testing === 0) this.siren.stop();
    if (this.noisy && now - this.noticedAt >= NOTICE_EVERY_S) {
      this.noticedAt = now;
      this.siren.notice(this.soundOn);
    }
    this.changed(false);
  }

  private checkStale(): void {
    const others = this.troubles.some((each) => each.kind !== "stale" && blind(each));
    if (this.ageS > STALE_S && !others) this.report("stale");
    else this.clear("stale");
  }

  private checkScreen(): void {
    if (this.wake.state !== "held") void this.wake.hold();
    for (const state of ["missing", "refused"] as const) {
      if (this.wake.state === state) this.report(`screen-${state}`);
      else this.clear(`screen-${state}`);
    }
  }

  private sendShare(): void {
    this.sentShare = this.power.share;
    this.supervisor.send({ type: "share", share: this.sentShare });
  }

  private note(kind: NoteKind, type: "new" | "end", detail: string): void {
    this.keep(this.journal.note(kind, type, detail));
  }

  /** Remember what the journal has still to do, so that the end can wait for it. */
  private keep(writing: Promise<void>): void {
    const kept = writing
      .catch((error: unknown) => {
        console.error("the journal failed", error);
        this.report("broken");
      })
      .finally(() => this.writes.delete(kept));
    this.writes.add(kept);
  }
}
