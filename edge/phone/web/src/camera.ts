/** The camera: one stream, opened once, watched for silence and opened again for ever when it is gone. */

import type { Frame } from "./supervisor";

export type CameraProblem = "denied" | "missing" | "busy" | "insecure" | "other";

export const SILENT_S = 3; // without a frame: the camera is gone
const ENDED_S = 1; // when the browser says so too
const LONGEST_WAIT_S = 30;
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

export interface CameraListener {
  /** Whether a frame would be taken now: one is in flight at a time. */
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
  private looping = false;
  private seenAt = 0; // the last frame, seconds
  private nextAt = 0; // when the next one is due
  private tryAt = 0;
  private tries = 0;
  private broken = false; // the last frame could not be read
  private taking = false;
  private discontinuity = true;
  private size = "";

  constructor(
    readonly video: HTMLVideoElement,
    private readonly listener: CameraListener,
    private readonly clock: () => number = () => performance.now() / 1000,
  ) {}

  /** Open the camera unless it is open; throw what the browser says, `problemOf` names it. */
  async open(): Promise<void> {
    if (this.track?.readyState === "live") return;
    await this.connect();
    this.opened = true;
    if (!this.looping) this.loop();
  }

  close(): void {
    this.opened = this.isGone = false;
    this.track?.stop();
    this.track = null;
    this.video.srcObject = null;
  }

  /** Take no frames while the page is hidden: the browser gives none. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.discontinuity = true;
    this.seenAt = this.clock();
    void this.play();
  }

  /** Look whether the camera still gives frames; call it once a second. */
  check(): void {
    if (!this.opened || this.paused || this.opening) return;
    const now = this.clock();
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
    this.torch = on;
    await this.track?.applyConstraints({ advanced: [{ torch: on } as MediaTrackConstraintSet] });
  }

  /** Try at once, from a tap. */
  async reopen(): Promise<void> {
    if (!this.opening) await this.again();
  }

  private async again(): Promise<void> {
    try {
      await this.connect();
    } catch (error) {
      this.listener.failed(problemOf(error), String(error));
    }
    this.tries += 1;
    this.tryAt = this.clock() + Math.max(SILENT_S, backoff(this.tries));
  }

  private async connect(): Promise<void> {
    // Typed as always there; a page without TLS lacks it.
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (!devices) throw new DOMException("no camera without a secure address", "SecurityError");
    this.opening = true;
    try {
      this.track?.stop(); // iOS gives a camera once
      const stream = await devices.getUserMedia(WANTED);
      this.track = stream.getVideoTracks()[0] ?? null;
      this.video.srcObject = stream;
      this.seenAt = this.clock();
      this.discontinuity = true;
      await this.play();
      if (this.torch) await this.light(true).catch(() => (this.torch = false)); // the button says so
    } finally {
      this.opening = false;
    }
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
        this.saw();
        this.video.requestVideoFrameCallback(next);
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
    if (this.taking || now < this.nextAt || !this.listener.wants()) return;
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
    this.taking = true;
    try {
      const wall = Date.now();
      const picture = await createImageBitmap(this.video);
      this.broken = false;
      const size = `${picture.width}x${picture.height}`;
      const discontinuity = this.discontinuity || size !== this.size; // a phone that was turned shows another place
      this.size = size;
      this.discontinuity = false;
      this.listener.frame({ type: "frame", picture, time, wall, discontinuity });
    } catch (error) {
      this.broken = true; // frames that cannot be read are none: `check` opens the camera again
      console.warn("a frame could not be read", error);
    } finally {
      this.taking = false;
    }
  }
}
