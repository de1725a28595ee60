import { beforeEach, describe, expect, test, vi } from "vitest";
import type { FromWorker, ToWorker } from "../src/protocol";
import { AGAIN_S, ANSWER_S, DEATHS_S, type Frame, START_S, Supervisor, USUAL_TIMES, type WorkerLike } from "../src/supervisor";

class StandIn implements WorkerLike {
  onmessage: WorkerLike["onmessage"] = null;
  onerror: WorkerLike["onerror"] = null;
  onmessageerror: WorkerLike["onmessageerror"] = null;
  readonly got: ToWorker[] = [];
  ended = false;
  postMessage(message: ToWorker): void {
    this.got.push(message);
  }
  terminate(): void {
    this.ended = true;
  }
  say(message: FromWorker): void {
    this.onmessage?.call(this as unknown as Worker, { data: message } as MessageEvent);
  }
}

const ready = { type: "ready", model: "m@1", threshold: 0.6, notice: null, cropMs: 50 } as const;
const looked = {
  type: "looked", time: 0, marks: [], state: "watching", faults: [], events: [], fps: 5, tookMs: 1,
} as const; // prettier-ignore

let now = 0;
let workers: StandIn[];
let died: [string, boolean][];
let heard: FromWorker[];
let supervisor: Supervisor;
const close = vi.fn();

function frame(): Frame {
  const picture = { close } as unknown as ImageBitmap;
  return { type: "frame", picture, time: now, wall: 0, discontinuity: false };
}

/** Start, and let the worker be ready. */
function begin(): StandIn {
  supervisor.begin();
  const worker = workers[workers.length - 1];
  worker.say(ready);
  return worker;
}

beforeEach(() => {
  now = 1000;
  [workers, died, heard] = [[], [], []];
  close.mockClear();
  supervisor = new Supervisor(
    () => {
      workers.push(new StandIn());
      return workers[workers.length - 1];
    },
    () => ({ type: "settings", settings: { threshold: null, zones: [] } }),
    { hear: (message) => heard.push(message), died: (why, givingUp) => died.push([why, givingUp]) },
    () => now,
  );
});

describe("frames", () => {
  test("go one at a time, and one that is not taken is closed", () => {
    const worker = begin();
    supervisor.offer(frame());
    expect(supervisor.free).toBe(false);
    supervisor.offer(frame());
    expect(close).toHaveBeenCalledTimes(1);
    worker.say(looked);
    supervisor.offer(frame());
    expect(worker.got.filter((each) => each.type === "frame")).toHaveLength(2);
  });

  test("begin with a discontinuity for each worker", () => {
    const worker = begin();
    supervisor.offer(frame());
    worker.say(looked);
    supervisor.offer(frame());
    expect(worker.got.filter((each) => each.type === "frame").map((each) => each.discontinuity)).toEqual([true, false]);
  });

  test("are not taken before the worker is ready", () => {
    supervisor.begin();
    supervisor.offer(frame());
    expect(close).toHaveBeenCalledTimes(1);
  });
});

test("what is sent while it loads comes after its start", () => {
  supervisor.begin();
  const review = { event: "a", box: [0, 0, 1, 1], agoS: 0, wrong: true } as const;
  supervisor.send({ type: "review", review });
  expect(workers[0].got.at(-1)).toEqual({ type: "review", review });
});

describe("a worker that does not answer", () => {
  test("is replaced", () => {
    const worker = begin();
    supervisor.offer(frame());
    now += ANSWER_S;
    supervisor.check();
    expect(worker.ended).toBe(false);
    now += 1;
    supervisor.check();
    expect(worker.ended).toBe(true);
    expect(died).toEqual([["no answer for 16 s", false]]);
    supervisor.check();
    expect(workers).toHaveLength(2);
  });

  test("has ten times as long as it usually takes", () => {
    const worker = begin();
    supervisor.offer(frame());
    now += 4;
    worker.say(looked);
    supervisor.offer(frame());
    now += 4 * USUAL_TIMES;
    supervisor.check();
    expect(died).toEqual([]);
    now += 1;
    supervisor.check();
    expect(died).toHaveLength(1);
  });

  test("is forgiven the time in which the page was hidden", () => {
    begin();
    supervisor.offer(frame());
    now += 500;
    supervisor.forgive();
    supervisor.check();
    expect(died).toEqual([]);
  });

  test("is replaced when it never becomes ready", () => {
    supervisor.begin();
    now += START_S + 1;
    supervisor.check();
    expect(died).toHaveLength(1);
  });

  test("cannot speak any more", () => {
    const worker = begin();
    supervisor.offer(frame());
    now += ANSWER_S + 1;
    supervisor.check();
    const before = heard.length;
    worker.say(looked);
    expect(heard).toHaveLength(before);
  });
});

describe("deaths", () => {
  function die(): void {
    begin().say({ type: "failed", failure: "runtime", detail: "x" });
  }

  test("three within five minutes are too many: it is tried again once a minute", () => {
    for (let count = 0; count < 3; count++) die();
    expect(died.map(([, givingUp]) => givingUp)).toEqual([false, false, true]);
    now += AGAIN_S - 1;
    supervisor.check();
    expect(workers).toHaveLength(3);
    now += 1;
    supervisor.check();
    expect(workers).toHaveLength(4);
  });

  test("three over a longer time are not", () => {
    for (let count = 0; count < 3; count++) {
      die();
      now += DEATHS_S / 2;
    }
    expect(died.map(([, givingUp]) => givingUp)).toEqual([false, false, false]);
  });

  test("a script that fails counts as one", () => {
    const handled = vi.fn();
    const worker = begin();
    worker.onerror?.call(worker as unknown as Worker, { message: "no such file", preventDefault: handled } as unknown as ErrorEvent);
    expect(handled).toHaveBeenCalledOnce();
    expect(died).toEqual([["no such file", false]]);
  });

  test("a model that fails before it was ever ready is no death: another worker would find the same one", () => {
    supervisor.begin();
    workers[0].say({ type: "failed", failure: "model-corrupt", detail: "x" });
    now += 10 * START_S;
    supervisor.check();
    expect(died).toEqual([]);
    expect(workers).toHaveLength(1);
    expect(workers[0].ended).toBe(true);
    expect(heard).toHaveLength(1);
  });

  test("a model that fails after it was ready is tried again each minute", () => {
    die();
    supervisor.check();
    for (let count = 2; count < 6; count++) {
      workers[count - 1].say({ type: "failed", failure: "model-missing", detail: "a read failed" });
      now += AGAIN_S - 1;
      supervisor.check();
      expect(workers).toHaveLength(count);
      now += 1;
      supervisor.check();
      expect(workers).toHaveLength(count + 1);
    }
    expect(died).toHaveLength(1);
  });

  test("a model that was ready only in an earlier watch is not tried again", async () => {
    const worker = begin();
    const ended = supervisor.close("stopped");
    worker.say({ type: "closed", events: [] });
    await ended;
    supervisor.begin();
    workers[1].say({ type: "failed", failure: "model-corrupt", detail: "x" });
    now += 10 * START_S;
    supervisor.check();
    expect(workers).toHaveLength(2);
  });
});

test("the end waits for the last events", async () => {
  const worker = begin();
  const ended = supervisor.close("stopped");
  expect(worker.got.at(-1)).toMatchObject({ type: "close", why: "stopped" });
  worker.say({ type: "closed", events: [] });
  await ended;
  expect(heard.at(-1)).toEqual({ type: "closed", events: [] });
  expect(worker.ended).toBe(true);
});
