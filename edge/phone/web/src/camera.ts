/** The camera: one stream, opened once, watched for silence and opened again for ever when it is gone. */

import type { Frame } from "./supervisor";

export const CAMERA_PROBLEMS = ["denied", "missing", "busy", "insecure", "other"] as const; // why it does not open
export type CameraProblem = (typeof CAMERA_PROBLEMS)[number];

export const SILENT_S = 3; // without a frame: the camera is gone
const ENDED_S = 1; // when the browser says so too
const LONGEST_WAIT_S = 30;
export const ASK_S = 60; // for the browser's answer while a person reads its question
export const ANSWER_S = 20; // and later, when nobody is there
export const PICTURE_S = 5; // for the picture of a frame, and for the size of the first one
const TIMER_MS = 50; // where the browser does not tell of new frames
const WANTED: MediaStreamConstraints = {
  audio: false,
  video: { facingMode: { ideal: "environment" }, width: { ideal: 1280 }, height: { ideal: 720 } },
};

/** Return what keeps a page from the camera, by the error of getUserMedia. */
export function problemOf(error: unknown): CameraProblem {
  switch (error instanceof Error || error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    case "SecurityError":
      return "insecure";
    default:
      return "other";
  }
}

/** Return how long to wait before the next try, in seconds. */
export function backoff(tries: number): number {
  return Math.min(LONGEST_WAIT_S, 2 ** tries);
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface CameraListener {
  /** Return whether a frame would be taken now: one is in flight at a time. */
  wants(): boolean;
  frame(frame: Frame): void;
  /** The camera gives nothing any more. */
  gone(): void;
  /** It was tried again in vain. */
  failed(problem: CameraProblem, detail: string): void;
  back(): void;
}

type Torch = MediaTrackCapabilities & { torch?: boolean };

export class Camera {
  fps = 5; // that the worker asks for
  isGone = false;
  torch = false;
  private track: MediaStreamTrack | null = null;
  private opened = false; // somebody wants the camera
  private paused = false;
  private opening = false;
  private turn = 0; // of opening: a stream that comes after the next one is late
  private looping = false;
  private seenAt = 0; // the last frame, seconds
  private nextAt = 0; // when the next one is due
  private tryAt = 0;
  private tries = 0;
  private broken = false; // the last frame could not be read
  private takingSince: number | null = null; // the picture of a frame is being made
  private takes = 0;
  private discontinuity = true;

  constructor(
    readonly video: HTMLVideoElement,
    private readonly listener: CameraListener,
    private readonly clock: () => number = () => performance.now() / 1000,
  ) {}

  /** Open the camera unless it is open; throw what the browser says, `problemOf` names it. */
  async open(): Promise<void> {
    if (this.track?.readyState === "live") return;
    await this.connect(ASK_S);
    this.opened = true;
    if (!this.looping) this.loop();
  }

  close(): void {
    this.turn += 1;
    this.forgetTake();
    this.opened = this.isGone = this.opening = this.torch = false;
    this.track?.stop();
    this.track = null;
    this.video.srcObject = null;
  }

  /** Return the picture's size, once there is one; null: there is none yet. */
  async size(): Promise<Size | null> {
    for (let waitedMs = 0; waitedMs < 1000 * PICTURE_S; waitedMs += TIMER_MS) {
      const { videoWidth: width, videoHeight: height } = this.video;
      if (width > 0) return { width, height };
      await new Promise((done) => setTimeout(done, TIMER_MS));
    }
    return null;
  }

  /** Take no frames while the page is hidden: the browser gives none. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.discontinuity = true;
    this.seenAt = this.clock();
    if (this.takingSince !== null) this.takingSince = this.seenAt;
    void this.play();
  }

  /** Look whether the camera still gives frames; call it once a second. */
  check(): void {
    if (!this.opened || this.paused || this.opening) return;
    const now = this.clock();
    if (this.takingSince !== null && now - this.takingSince > PICTURE_S) {
      this.forgetTake();
      this.broken = true;
      console.warn(`the picture of a frame did not come for ${PICTURE_S} s`);
    }
    const ended = !this.track || this.track.readyState === "ended" || this.track.muted;
    if (!this.isGone && now - this.seenAt > (ended ? ENDED_S : SILENT_S)) {
      this.isGone = true;
      this.tries = 0;
      this.tryAt = now + backoff(0);
      this.listener.gone();
    }
    if (this.isGone && now >= this.tryAt) void this.again();
  }

  /** Return whether there is a light to switch on. */
  get hasTorch(): boolean {
    return (this.track?.getCapabilities?.() as Torch | undefined)?.torch === true;
  }

  async light(on: boolean): Promise<void> {
    await this.track?.applyConstraints({ advanced: [{ torch: on } as MediaTrackConstraintSet] });
    this.torch = on;
  }

  /** Try at once, from a tap. */
  async reopen(): Promise<void> {
    if (!this.opening) await this.again();
  }

  private async again(): Promise<void> {
    try {
      await this.connect(ANSWER_S);
    } catch (error) {
      if (!this.isGone) return; // closed meanwhile, or back by itself
      this.listener.failed(problemOf(error), String(error));
    }
    this.tries += 1;
    this.tryAt = this.clock() + Math.max(SILENT_S, backoff(this.tries));
  }

  private async connect(limitS: number): Promise<void> {
    // Typed as always there; a page without TLS lacks it.
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (!devices) throw new DOMException("no camera without a secure address", "SecurityError");
    const turn = ++this.turn;
    this.opening = true;
    try {
      this.track?.stop(); // iOS gives a camera once
      const stream = await this.stream(devices, limitS, turn);
      this.track = stream.getVideoTracks()[0] ?? null;
      this.video.srcObject = stream;
      this.seenAt = this.clock();
      this.discontinuity = true;
      this.forgetTake();
      void this.play(); // which may never end
      if (this.torch) this.light(true).catch(() => (this.torch = false)); // the button says so
    } finally {
      if (turn === this.turn) this.opening = false;
    }
  }

  /** Return a stream. One that nobody waits for any more is stopped: it would hold the camera. */
  private stream(devices: MediaDevices, limitS: number, turn: number): Promise<MediaStream> {
    return new Promise((resolve, reject) => {
      let waiting = true;
      const late = (): void => {
        waiting = false;
        reject(new DOMException(`no answer for ${limitS} s`, "TimeoutError"));
      };
      const timer = setTimeout(late, 1000 * limitS);
      devices.getUserMedia(WANTED).then((stream) => {
        clearTimeout(timer);
        if (waiting && turn === this.turn) return resolve(stream);
        for (const track of stream.getTracks()) track.stop();
        reject(new DOMException("closed meanwhile", "AbortError"));
      }, reject);
    });
  }

  private async play(): Promise<void> {
    try {
      await this.video.play();
    } catch (error) {
      // A new stream interrupts the one before; no frame then comes, which `check` finds.
      console.warn("the video does not play", error);
    }
  }

  /** Follow the video's frames for as long as the page lives. */
  private loop(): void {
    this.looping = true;
    if ("requestVideoFrameCallback" in this.video) {
      const next = (): void => {
        this.video.requestVideoFrameCallback(next); // first: an error must not end it
        this.saw();
      };
      this.video.requestVideoFrameCallback(next);
      return;
    }
    const video = this.video as HTMLVideoElement;
    let before = -1;
    setInterval(() => {
      if (video.currentTime !== before && video.readyState >= video.HAVE_CURRENT_DATA) this.saw();
      before = video.currentTime;
    }, TIMER_MS);
  }

  private saw(): void {
    if (this.paused || !this.opened) return;
    const now = this.clock();
    if (!this.broken) this.alive(now);
    if (this.takingSince !== null || now < this.nextAt || !this.listener.wants()) return;
    this.nextAt = Math.max(this.nextAt, now - 1 / this.fps) + 1 / this.fps;
    void this.take(now);
  }

  private alive(now: number): void {
    this.seenAt = now;
    if (!this.isGone) return;
    this.isGone = false;
    this.discontinuity = true;
    this.listener.back();
  }

  private async take(time: number): Promise<void> {
    const take = ++this.takes;
    this.takingSince = time;
    try {
      const wall = Date.now();
      const picture = await createImageBitmap(this.video);
      if (take !== this.takes) return picture.close(); // too late
      this.broken = false;
      const { discontinuity } = this;
      this.discontinuity = false;
      this.listener.frame({ type: "frame", picture, time, wall, discontinuity });
    } catch (error) {
      if (take !== this.takes) return;
      this.broken = true; // frames that cannot be read are none: `check` opens the camera again
      console.warn("a frame could not be read", error);
    } finally {
      if (take === this.takes) this.takingSince = null;
    }
  }

  /** Wait no longer for the picture of a frame. */
  private forgetTake(): void {
    this.takes += 1;
    this.takingSince = null;
  }
}
