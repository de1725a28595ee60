import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Journal } from "../src/journal";
import type { FromWorker, ToWorker } from "../src/protocol";
import { Watch, threadsFor } from "../src/watch";

const ready = {
  type: "ready", model: "m@1", threshold: 0.6, notice: null, cropMs: 50,
} as const; // prettier-ignore

class StandIn {
  onmessage: ((message: { data: FromWorker }) => void) | null = null;
  readonly got: ToWorker[] = [];
  constructor() {
    workers.push(this);
  }
  postMessage(message: ToWorker): void {
    this.got.push(message);
    if (message.type === "close") this.say({ type: "closed", events: [] });
  }
  terminate(): void {}
  say(data: FromWorker): void {
    this.onmessage?.({ data });
  }
}

let workers: StandIn[];
let page: { hidden: boolean; addEventListener(kind: string, act: () => void): void };
let visibilityChanged: () => void;
let watch: Watch;
const journal = {
  trouble: null as string | null,
  bootId: "b",
  nextSeq: () => 1,
  reviews: async () => [],
  add: vi.fn(),
  note: vi.fn(),
  retry: vi.fn(),
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  workers = [];
  page = { hidden: false, addEventListener: (_, act) => (visibilityChanged = act) };
  vi.stubGlobal("document", page);
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("Worker", StandIn);
  journal.trouble = null;
  for (const each of [journal.add, journal.note, journal.retry]) each.mockReset().mockResolvedValue(undefined);
  const video = { play: async () => undefined } as unknown as HTMLVideoElement;
  watch = new Watch(video, journal as unknown as Journal, { threshold: null, zones: [] }, true, () => undefined);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function begin(): Promise<void> {
  await watch.load({ model: "m.onnx", sha256: "0" });
  workers[0].say(ready);
  watch.begin();
}

describe("the journal", () => {
  test("is asked every half minute to store what waits, while it has trouble", async () => {
    await begin();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(journal.retry).not.toHaveBeenCalled();
    journal.trouble = "broken";
    await vi.advanceTimersByTimeAsync(1000);
    expect(journal.retry).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(90_000);
    expect(journal.retry).toHaveBeenCalledTimes(4);
  });

  test("is asked at once when the app comes to the front again", async () => {
    await begin();
    journal.trouble = "broken";
    await vi.advanceTimersByTimeAsync(2000);
    for (const hidden of [true, false]) {
      page.hidden = hidden;
      visibilityChanged();
    }
    expect(journal.retry).toHaveBeenCalledTimes(2);
    expect(journal.note.mock.calls.map(([kind, type]: string[]) => [kind, type])).toEqual([
      ["hidden", "new"],
      ["hidden", "end"],
    ]);
  });

  test("has stored everything before the end is over", async () => {
    await begin();
    let stored: (() => void) | undefined;
    journal.add.mockReturnValue(new Promise<void>((resolve) => (stored = resolve)));
    workers[0].say({ type: "published", events: [{ event: { kind: "camera", seq: 1 } }] } as unknown as FromWorker);
    const over = vi.fn();
    void watch.end().then(over);
    await vi.advanceTimersByTimeAsync(1000);
    expect(over).not.toHaveBeenCalled();
    stored?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(over).toHaveBeenCalledOnce();
  });

  test("does not hold up the end for ever", async () => {
    await begin();
    journal.add.mockReturnValue(new Promise(() => undefined));
    workers[0].say({ type: "published", events: [{ event: { kind: "camera", seq: 1 } }] } as unknown as FromWorker);
    const over = vi.fn();
    void watch.end().then(over);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(over).toHaveBeenCalledOnce();
  });
});

describe("a phone that looks", () => {
  const look = (time = performance.now() / 1000): void =>
    workers[0].say({ type: "looked", state: "maybe", time, marks: [{}], fps: 5, events: [], faults: [] } as unknown as FromWorker);
  const looks = async (seconds: number, everyMs: number): Promise<void> => {
    for (let ms = 0; ms < 1000 * seconds; ms += everyMs) {
      look();
      await vi.advanceTimersByTimeAsync(everyMs);
    }
  };

  test("less than about once a second is slow, and not before that is known", async () => {
    await begin();
    await looks(8, 2000);
    expect(watch.slow).toBe(false);
    await looks(4, 2000);
    expect(watch.slow).toBe(true);
    await looks(12, 500);
    expect(watch.slow).toBe(false);
  });

  test("is not called slow for the time in which it was hidden", async () => {
    await begin();
    await looks(12, 500);
    for (const hidden of [true, false]) {
      page.hidden = hidden;
      visibilityChanged();
      await vi.advanceTimersByTimeAsync(8000);
    }
    expect(watch.slow).toBe(false);
  });

  test("shows no box that is older than a second", async () => {
    await begin();
    look();
    await vi.advanceTimersByTimeAsync(900);
    expect(watch.freshMarks).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(watch.freshMarks).toHaveLength(0);
  });
});

test("a screen that the browser let go while the page was hidden is held again without a word", async () => {
  let release = (): void => undefined;
  const sentinel = { addEventListener: (_: string, act: () => void) => (release = act) };
  vi.stubGlobal("navigator", { wakeLock: { request: async () => sentinel } });
  await begin();
  await vi.advanceTimersByTimeAsync(1000);
  page.hidden = true;
  visibilityChanged();
  release();
  page.hidden = false;
  visibilityChanged();
  expect(watch.troubles.map((each) => each.kind)).not.toContain("screen-refused");
});

describe("the detector", () => {
  test("that fails while nothing is watched makes no event, and is called unfit only when it is given up", async () => {
    await watch.load({ model: "m.onnx", sha256: "0" });
    for (let count = 0; count < 3; count++) {
      expect(watch.failure).toBeNull();
      workers[count].say({ type: "failed", failure: "memory", detail: "x" });
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(watch.failure).toBe("memory");
    expect(journal.note).not.toHaveBeenCalled();
  });

  test("comes back after its model could not be read for a while", async () => {
    await begin();
    workers[0].say({ type: "failed", failure: "runtime", detail: "x" });
    await vi.advanceTimersByTimeAsync(1000);
    workers[1].say({ type: "failed", failure: "model-missing", detail: "a read failed" });
    expect(watch.troubles.map((each) => each.kind)).toContain("model-missing");
    await vi.advanceTimersByTimeAsync(61_000);
    workers[2].say({ type: "failed", failure: "model-missing", detail: "a read failed" });
    await vi.advanceTimersByTimeAsync(61_000);
    workers[3].say(ready);
    expect(watch.troubles.map((each) => each.kind)).not.toContain("model-missing");
    expect(watch.failure).toBeNull();
    expect(journal.note.mock.calls.map((each: string[]) => each.join(": "))).toEqual([
      "detector: new: the detector stopped: runtime: x",
      "detector: end: the detector failed: model-missing: a read failed",
      "detector: new: the detector failed: model-missing: a read failed",
      "detector: end: the detector works again",
    ]);
  });

  test("that dies leaves the siren on, and its bear ended in the journal", async () => {
    await begin();
    const bear = { kind: "bear", type: "new", id: "a", seq: 1, escalated: null, quiet: null };
    workers[0].say({ type: "published", events: [{ event: bear }] } as unknown as FromWorker);
    expect(watch.sounding).toBe(true);
    workers[0].say({ type: "failed", failure: "memory", detail: "x" });
    expect(watch.sounding).toBe(true);
    expect(watch.bearLeft).toBe(false);
    expect(journal.add.mock.calls.map(([{ event }]: { event: { id: string; type: string } }[]) => [event.id, event.type])).toEqual([
      ["a", "new"],
      ["a", "end"],
    ]);
  });

  test("does not start for a check that the user has left", async () => {
    const loaded = watch.load({ model: "m.onnx", sha256: "0" });
    await watch.end();
    await loaded;
    expect(workers).toHaveLength(0);
  });

  test("starts only after the end of the watch before", async () => {
    await begin();
    void watch.end();
    await watch.load({ model: "m.onnx", sha256: "0" });
    expect(workers).toHaveLength(2);
  });

  test("gets half the cores, four at most", () => {
    expect([1, 2, 3, 4, 6, 8, 16].map(threadsFor)).toEqual([1, 1, 2, 2, 3, 4, 4]);
  });
});
