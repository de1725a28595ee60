import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ANSWER_S, ASK_S, Camera, PICTURE_S, SILENT_S, backoff, problemOf } from "../src/camera";
import type { Frame } from "../src/supervisor";

let now = 100;
let next: (() => void) | null; // the video's callback
let takes: Frame[];
let told: string[];
let wants: boolean;
let tracks: { readyState: string; muted: boolean; stop(): void }[];
let ask: () => Promise<unknown>;
let play: () => Promise<void>;
let showing = { videoWidth: 0, videoHeight: 0 };
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
  play = async () => undefined;
  showing = { videoWidth: 0, videoHeight: 0 };
  ask = async () => {
    const track = { readyState: "live", muted: false, stop: () => (track.readyState = "ended") };
    tracks.push(track);
    return { getVideoTracks: () => [track], getTracks: () => [track] };
  };
  vi.stubGlobal("navigator", { mediaDevices: { getUserMedia: () => ask() } });
  vi.stubGlobal("createImageBitmap", async () => ({ close: () => undefined }));
  const video = { play: () => play(), ...showing, requestVideoFrameCallback: (act: () => void) => (next = act) };
  showing = video;
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
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("the torch is on only once it burns, and not for the next watch", async () => {
  const applyConstraints = vi.fn(async () => undefined);
  Object.assign(tracks[0], { applyConstraints });
  applyConstraints.mockRejectedValueOnce(new Error("too hot"));
  await expect(camera.light(true)).rejects.toThrow("too hot");
  expect(camera.torch).toBe(false);
  await camera.light(true);
  expect(camera.torch).toBe(true);
  camera.close();
  expect(camera.torch).toBe(false);
});

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

  test("begin with a discontinuity", async () => {
    for (let count = 0; count < 3; count++) {
      await show();
      now += 1;
    }
    expect(takes.map((each) => each.discontinuity)).toEqual([true, false, false]);
  });

  test("go on after an error of the one who takes a frame", async () => {
    const registered = next;
    wants = true;
    const failing = vi.spyOn(camera as unknown as { saw(): void }, "saw").mockImplementation(() => {
      throw new Error("x");
    });
    next = null;
    expect(() => registered?.()).toThrow("x");
    failing.mockRestore();
    await show();
    expect(takes).toHaveLength(1);
  });
});

describe("a camera that is gone", () => {
  test("is reported after three seconds without a frame, and opened again", async () => {
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

  test("is reported sooner when its track has ended", async () => {
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

describe("a browser that does not answer", () => {
  const never = (): Promise<never> => new Promise(() => undefined);

  test("does not end the tries: each has a limit, and a stream that comes late is stopped", async () => {
    vi.useFakeTimers();
    const answers: (() => void)[] = [];
    const give = ask;
    ask = () => new Promise((resolve) => answers.push(() => resolve(give())));
    for (let count = 0; count < 3 * ANSWER_S; count++) {
      now += 1;
      camera.check();
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(answers.length).toBeGreaterThan(1);
    expect(told.slice(0, 2)).toEqual(["gone", "other"]);
    answers[0]();
    await vi.advanceTimersByTimeAsync(0);
    expect(tracks[1].readyState).toBe("ended");
    answers.at(-1)?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(tracks.at(-1)?.readyState).toBe("live");
  });

  test("gives a person a minute for its question", async () => {
    vi.useFakeTimers();
    camera.close();
    ask = never;
    const opened = camera.open().catch(problemOf);
    await vi.advanceTimersByTimeAsync(1000 * ASK_S - 1);
    expect(await Promise.race([opened, "pending"])).toBe("pending");
    await vi.advanceTimersByTimeAsync(1);
    expect(await opened).toBe("other");
  });

  test("to play() opens the camera all the same", async () => {
    camera.close();
    play = never;
    await camera.open();
    await show();
    expect(takes).toHaveLength(1);
  });

  test("to createImageBitmap() counts as a broken camera, which is opened again", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const late = vi.fn();
    let answer: (() => void) | undefined;
    vi.stubGlobal("createImageBitmap", () => new Promise((resolve) => (answer = () => resolve({ close: late }))));
    for (let count = 0; count < PICTURE_S + SILENT_S + 4; count++) {
      await show();
      await second();
      if (count === 0) vi.stubGlobal("createImageBitmap", never);
    }
    expect(told[0]).toBe("gone");
    expect(tracks).toHaveLength(2);
    answer?.();
    await second();
    expect(late).toHaveBeenCalledOnce();
    expect(takes).toEqual([]);
  });
});

test("a camera that is closed while it opens stays closed", async () => {
  camera.close();
  let answer: (() => void) | undefined;
  const give = ask;
  ask = () => new Promise((resolve) => (answer = () => resolve(give())));
  const opened = camera.open().catch(problemOf);
  camera.close();
  answer?.();
  expect(await opened).toBe("busy");
  expect(tracks.at(-1)?.readyState).toBe("ended");
  ask = give;
  await camera.open();
  expect(tracks.at(-1)?.readyState).toBe("live");
});

test("the picture has a size as soon as the video has one", async () => {
  setTimeout(() => Object.assign(showing, { videoWidth: 640, videoHeight: 480 }), 10);
  expect(await camera.size()).toEqual({ width: 640, height: 480 });
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
