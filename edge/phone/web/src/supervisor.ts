/** Keep a detector at work: start the worker, give it frames, and replace one that does not answer. */

import type { FromWorker, ToWorker } from "./protocol";

export type Frame = Extract<ToWorker, { type: "frame" }>;
export type WorkerLike = Pick<Worker, "postMessage" | "terminate" | "onmessage" | "onerror" | "onmessageerror">;

export const ANSWER_S = 15; // for a frame
export const USUAL_TIMES = 10; // or as many times what a look usually takes
export const START_S = 180; // for the model on a slow phone
export const DEATHS = 3; // within DEATHS_S: it does not work on this phone
export const DEATHS_S = 300;
export const AGAIN_S = 60; // and is tried again only this often
const CLOSE_MS = 3000;

export interface Listener {
  /** Take a message of the worker. */
  hear(message: FromWorker): void;
  /** The worker is dead and will be replaced; `givingUp`: so were the ones before, and it is tried less often. */
  died(why: string, givingUp: boolean): void;
}

export class Supervisor {
  private worker: WorkerLike | null = null;
  private phase: "none" | "loading" | "idle" | "busy" = "none";
  private since = 0; // loading, or the frame in flight
  private usualS = 0;
  private deaths: number[] = [];
  private startAt: number | null = null;
  private fresh = true; // no frame was given yet
  private worked = false; // since the last `close`, the model was ready at least once
  private closed: (() => void) | null = null;

  constructor(
    private readonly make: () => WorkerLike,
    private readonly startMessage: () => ToWorker,
    private readonly listener: Listener,
    private readonly clock: () => number = () => performance.now() / 1000,
  ) {}

  /** Start a worker, also after a model that failed. */
  begin(): void {
    this.end();
    this.startAt = null;
    this.phase = "loading";
    this.since = this.clock();
    this.fresh = true;
    const worker = this.make();
    this.worker = worker;
    worker.onmessage = (message: MessageEvent<FromWorker>) => this.heard(message.data);
    worker.onerror = (event: ErrorEvent) => {
      event.preventDefault(); // else it is an error of the page too
      this.dead(event.message || "the worker's script failed");
    };
    worker.onmessageerror = () => this.dead("a message could not be read");
    worker.postMessage(this.startMessage());
  }

  get ready(): boolean {
    return this.phase === "idle" || this.phase === "busy";
  }

  /** Return whether a frame would be taken now. */
  get free(): boolean {
    return this.phase === "idle";
  }

  /** Give the worker a frame; close its picture if it takes none now. */
  offer(frame: Frame): void {
    if (!this.worker || this.phase !== "idle") return frame.picture.close();
    const first = this.fresh;
    this.fresh = false;
    this.phase = "busy";
    this.since = this.clock();
    this.worker.postMessage({ ...frame, discontinuity: frame.discontinuity || first }, [frame.picture]);
  }

  /** Send anything but a frame; a worker that is loading takes it after its start. */
  send(message: Exclude<ToWorker, Frame>): void {
    this.worker?.postMessage(message);
  }

  /** Look whether the worker still answers; call it once a second. */
  check(): void {
    const now = this.clock();
    if (this.startAt !== null && now >= this.startAt) this.begin();
    const waited = now - this.since;
    if (this.phase === "loading" && waited > START_S) this.dead(`not ready after ${START_S} s`);
    if (this.phase === "busy" && waited > Math.max(ANSWER_S, USUAL_TIMES * this.usualS)) {
      this.dead(`no answer for ${Math.round(waited)} s`);
    }
  }

  /** Forgive the time in which the page was hidden: the browser may have stopped the worker. */
  forgive(): void {
    this.since = this.clock();
  }

  /** End the watch; resolved when the worker's last events were heard, or after three seconds. */
  async close(why: string): Promise<void> {
    if (this.ready) {
      const answered = new Promise<void>((done) => (this.closed = done));
      this.worker?.postMessage({ type: "close", why, wall: Date.now() } satisfies ToWorker);
      await Promise.race([answered, new Promise((done) => setTimeout(done, CLOSE_MS))]);
    }
    this.closed = null;
    this.startAt = null;
    this.worked = false;
    this.end();
  }

  private heard(message: FromWorker): void {
    if (message.type === "ready") {
      this.phase = "idle";
      this.worked = true;
    }
    if (message.type === "looked") {
      const tookS = this.clock() - this.since;
      this.usualS = this.usualS === 0 ? tookS : 0.9 * this.usualS + 0.1 * tookS;
      this.phase = "idle";
    }
    if (message.type === "failed") {
      if (message.failure === "runtime" || message.failure === "memory") {
        this.listener.hear(message);
        this.dead(`${message.failure}: ${message.detail}`);
        return;
      }
      this.end(); // another worker would find the same model
      if (this.worked) this.startAt = this.clock() + AGAIN_S; // but it was well: a read may have failed
    }
    this.listener.hear(message);
    if (message.type === "closed") this.closed?.();
  }

  private dead(why: string): void {
    const now = this.clock();
    this.end();
    this.deaths = [...this.deaths.filter((each) => now - each < DEATHS_S), now];
    const givingUp = this.deaths.length >= DEATHS;
    this.startAt = givingUp ? now + AGAIN_S : now;
    this.listener.died(why, givingUp);
  }

  private end(): void {
    this.phase = "none";
    if (!this.worker) return;
    this.worker.onmessage = this.worker.onerror = this.worker.onmessageerror = null;
    this.worker.terminate();
    this.worker = null;
  }
}
