/** The whole chain in a Worker: pictures in, what was found in them out, as `protocol.ts` says. */

import { CardError, DamagedFile } from "./card";
import { Classifier, useRuntime, WrongAnswers } from "./classifier";
import { sha256 } from "./download";
import { scanOnCropScale } from "./frame_scan";
import type { Failure, FromWorker, Published, ToWorker } from "./protocol";
import type { Pictured } from "./recorder";
import type { Picture } from "./schema";
import { Stillness } from "./stillness";
import { Watcher } from "./watcher";

type Message<Type extends ToWorker["type"]> = Extract<ToWorker, { type: Type }>;

const JPEG = { type: "image/jpeg", quality: 0.9 };
const MIN_STEP_S = 1e-3; // between the times of two frames

/** An error whose kind the page has words for. */
class Failed extends Error {
  constructor(
    readonly failure: Failure,
    detail: string,
  ) {
    super(detail);
  }
}

let watcher: Watcher | null = null;
let live = true;
let turn: Promise<void> = Promise.resolve(); // messages are dealt with one after the other
let pictures: Promise<void> = Promise.resolve(); // and pictures compressed, beside them
const stillness = new Stillness();
const canvas = new OffscreenCanvas(1, 1);
let last = { time: -Infinity, width: 0, height: 0 };

function post(message: FromWorker): void {
  self.postMessage(message);
}

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  const since = performance.now();
  turn = turn.then(() => take(data, since)).catch(fail);
};

self.onmessageerror = () => fail(new Error("a message could not be read"));

function fail(error: unknown): void {
  let detail = wordsOf(error);
  try {
    if (watcher) publish(watcher.failed());
  } catch (another) {
    detail += `; then ${wordsOf(another)}`;
  }
  post({ type: "failed", failure: failureOf(error), detail });
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function failureOf(error: unknown): Failure {
  if (error instanceof Failed) return error.failure;
  if (error instanceof CardError) return "model-card";
  if (error instanceof DamagedFile) return "model-corrupt";
  if (error instanceof WrongAnswers) return "model-wrong";
  return /memory|alloc/i.test(String(error)) ? "memory" : "runtime";
}

async function take(message: ToWorker, since: number): Promise<void> {
  if (message.type === "start") return start(message);
  if (!watcher) {
    if (message.type === "frame") message.picture.close();
    throw new Failed("runtime", `${message.type} before a start that succeeded`);
  }
  switch (message.type) {
    case "frame":
      return look(watcher, message, since);
    case "settings":
      return publish(watcher.settings(message.settings));
    case "review":
      return watcher.review(message.review);
    case "fault":
      return publish(watcher.fault(message.fault, message.time, message.wall));
    case "share":
      watcher.pace.share = message.share;
      return;
    case "close":
      return close(watcher, message);
  }
}

async function start(message: Message<"start">): Promise<void> {
  useRuntime(new URL("./", self.location.href).href, self.crossOriginIsolated ? message.threads : 1); // threads share their memory
  const classifier = await Classifier.load(await modelAt(message.model, message.sha256), message.sha256);
  const scorer = {
    card: classifier.card,
    name: classifier.name,
    score: classifier.score.bind(classifier),
    scan: (picture: Picture, side: number | null) => scanOnCropScale(classifier, picture, side),
  };
  const cropMs = await classifier.cropMs();
  live = message.live;
  watcher = new Watcher(scorer, message);
  if (live) {
    watcher.budget.note(1, cropMs / 1000);
    const blank = { data: new Uint8ClampedArray(1280 * 720 * 4), width: 1280, height: 720 };
    const started = performance.now();
    await scorer.scan(blank, watcher.scanSize.side);
    watcher.scanSize.begin((performance.now() - started) / 1000);
  }
  post({
    type: "ready",
    model: classifier.name,
    threshold: watcher.threshold,
    notice: classifier.card.notice,
    cropMs,
  });
}

/** Return the model's bytes, which must have that digest. */
async function modelAt(address: string, digest: string): Promise<Uint8Array> {
  const response = await fetch(address).catch((error: unknown) => {
    throw new Failed("model-missing", `${address}: ${String(error)}`);
  });
  if (!response.ok) throw new Failed("model-missing", `${address}: status ${response.status}`);
  const bytes = await response.arrayBuffer().catch((error: unknown) => {
    throw new Failed("model-missing", `${address}: ${String(error)}`); // it was cut off, and may be whole
  });
  const found = await sha256(bytes);
  if (found !== digest) throw new Failed("model-corrupt", `SHA-256 is ${found}, not ${digest}`);
  return new Uint8Array(bytes);
}

async function look(watching: Watcher, message: Message<"frame">, since: number): Promise<void> {
  const picture = pixels(message.picture);
  const { width, height } = picture;
  const time = Math.max(message.time, last.time + MIN_STEP_S);
  const turned = last.width > 0 && (width !== last.width || height !== last.height);
  const discontinuity = message.discontinuity || turned;
  last = { time, width, height };
  if (discontinuity) stillness.reset();
  const frozenS = live ? stillness.look(picture, time) : 0;
  const { kept, ...looked } = await watching.look({ picture, time, wall: message.wall, discontinuity, frozenS }, since);
  post({ type: "looked", ...looked, events: kept.map(withoutPictures) }); // an alarm must not wait for its pictures
  keep(kept);
}

/** Return the pixels of a picture, and release it. */
function pixels(picture: ImageBitmap): Picture {
  try {
    const { width, height } = picture;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    if (!context) throw new Error("this browser gives no canvas");
    context.drawImage(picture, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  } finally {
    picture.close();
  }
}

async function close(watching: Watcher, message: Message<"close">): Promise<void> {
  const kept = watching.close(message.why, message.wall);
  watcher = null;
  await pictures;
  post({ type: "closed", events: await Promise.all(kept.map(compressed)) });
}

/** Publish events that come between frames, then their pictures. */
function publish(kept: readonly Pictured[]): void {
  if (kept.length) post({ type: "published", events: kept.map(withoutPictures) });
  keep(kept);
}

/** Compress the pictures of events that are published, and send them after. */
function keep(kept: readonly Pictured[]): void {
  const pictured = kept.filter(({ full, crop }) => full || crop);
  if (!pictured.length) return;
  pictures = pictures
    .then(async () => post({ type: "published", events: await Promise.all(pictured.map(compressed)) }))
    .catch(fail);
}

function withoutPictures({ event }: Pictured): Published {
  return { event, full: null, crop: null, cropNote: null };
}

async function compressed({ event, full, crop, cropNote }: Pictured): Promise<Published> {
  const [fullJpeg, cropJpeg] = await Promise.all([full && jpeg(full), crop && jpeg(crop)]);
  return { event, full: fullJpeg, crop: cropJpeg, cropNote: cropJpeg && cropNote };
}

/** Return a picture as JPEG. Null where the phone cannot make one: the detector goes on without it. */
async function jpeg({ data, width, height }: Picture): Promise<Blob | null> {
  try {
    const drawn = new OffscreenCanvas(width, height);
    const context = drawn.getContext("2d", { alpha: false });
    if (!context) throw new Error("this browser gives no canvas");
    context.putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
    return await drawn.convertToBlob(JPEG);
  } catch (error) {
    console.error("a picture of an event is lost:", error);
    return null;
  }
}
