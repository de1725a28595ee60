import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Camera, SILENT_S, backoff, problemOf } from "../src/camera";
import type { Frame } from "../src/supervisor";

let now = 100;
let next: (() => void) | null; // the video's callback
let takes: Frame[];
let told: string[];
let wants: boolean;
let tracks: { readyState: string; muted: boolean; stop(): void }[];
let ask: () => Promise<unknown>;
let size: { width: number; height: number };
let camera: Camera;

/** Let the video show a frame, and its bitmap be made. */
async function show(): Promise<void> {
  next?.();
  await new Promise((done) => setTimeout(done));
}

/** Let a second pass as the page does. */
async function second(): Promise<void> {
  now += 1;
  camera.check();
  await new Promise((done) => setTimeout(done));
}

beforeEach(async () => {
  [now, next, takes, told, wants, tracks] = [100, null, [], [], true, []];
  size = { width: 1280, height: 720 };
  ask = async () => {
    const track = { readyState: "live", muted: false, stop: () => (track.readyState = "ended") };
    tracks.push(track);
    return { getVideoTracks: () => [track] };
  };
  vi.stubGlobal("navigator", { mediaDevices: { getUserMedia: () => ask() } });
  vi.stubGlobal("createImageBitmap", async () => ({ ...size, close: () => undefined }));
  const video = { play: async () => undefined, requestVideoFrameCallback: (act: () => void) => (next = act) };
  camera = new Camera(
    video as unknown as HTMLVideoElement,
    {
      wants: () => wants,
      frame: (frame) => takes.push(frame),
      gone: () => told.push("gone"),
      failed: (problem) => told.push(problem),
      back: () => told.push("back"),
    },
    () => now,
  );
  await camera.open();
});
afterEach(() => vi.unstubAllGlobals());

describe("frames", () => {
  test("come at the rate that is asked for", async () => {
    camera.fps = 2;
    for (let count = 0; count < 40; count++) {
      await show();
      now += 0.05;
    }
    expect(takes.length).toBeGreaterThanOrEqual(4);
    expect(takes.length).toBeLessThanOrEqual(5);
  });

  test("are not taken while the detector is busy, and the camera is well all the same", async () => {
    wants = false;
    for (let count = 0; count < 10; count++) {
      await show();
      await second();
    }
    expect([takes.length, told]).toEqual([0, []]);
  });

  test("begin with a discontinuity, and so does a picture that was turned", async () => {
    for (const each of [[1280, 720], [1280, 720], [720, 1280]]) {
      size = { width: each[0], height: each[1] };
      await show();
      now += 1;
    }
    expect(takes.map((each) => each.discontinuity)).toEqual([true, false, true]);
  });
});

describe("a camera that is gone", () => {
  test("is told after three seconds without a frame, and opened again", async () => {
    await show();
    for (let count = 0; count < SILENT_S; count++) await second();
    expect(told).toEqual([]);
    await second();
    expect(told).toEqual(["gone"]);
    await second();
    expect(tracks).toHaveLength(2);
    await show();
    expect(told).toEqual(["gone", "back"]);
    expect(takes.at(-1)?.discontinuity).toBe(true);
  });

  test("is told sooner when its track has ended", async () => {
    await show();
    tracks[0].readyState = "ended";
    await second();
    await second();
    expect(told).toEqual(["gone"]);
  });

  test("is tried for ever, less and less often", async () => {
    let tries = 0;
    ask = async () => {
      tries += 1;
      throw new DOMException("in use", "NotReadableError");
    };
    for (let count = 0; count < 600; count++) await second();
    expect(tries).toBeGreaterThan(18);
    expect(tries).toBeLessThan(26);
    expect(told.slice(0, 3)).toEqual(["gone", "busy", "busy"]);
  });

  test("is not one while the page is hidden", async () => {
    camera.pause();
    for (let count = 0; count < 20; count++) await second();
    camera.resume();
    await second();
    expect(told).toEqual([]);
  });

  test("is one too when its frames cannot be read", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    vi.stubGlobal("createImageBitmap", async () => {
      throw new DOMException("no data", "InvalidStateError");
    });
    for (let count = 0; count < 5; count++) {
      await show();
      await second();
    }
    expect(told).toEqual(["gone"]);
  });
});

test("each error of the browser has its problem", () => {
  const named = (name: string): string => problemOf(new DOMException("", name));
  expect(["NotAllowedError", "NotFoundError", "OverconstrainedError", "NotReadableError", "SecurityError", "TypeError"].map(named)).toEqual([
    "denied", "missing", "missing", "busy", "insecure", "other",
  ]); // prettier-ignore
});

test("the waits grow to half a minute", () => {
  expect([0, 1, 2, 4, 5, 20].map(backoff)).toEqual([1, 2, 4, 16, 30, 30]);
});
