/** A page of test_phone_classifier.py and prove_phone.py: the classifier alone, on pictures that lie beside the page. */

import { Classifier, useRuntime } from "../src/classifier";
import { scan } from "../src/frame_scan";
import type { BoxXYWH, Picture, Score } from "../src/schema";

interface Answer {
  readonly probabilities: readonly number[];
  readonly ood: number;
  readonly box: BoxXYWH;
}

async function pixelsOf(address: string): Promise<Picture> {
  const bitmap = await createImageBitmap(await (await fetch(address)).blob(), { colorSpaceConversion: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  if (!context) throw new Error("no canvas");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function answers(scores: readonly Score[]): Answer[] {
  return scores.map(({ probabilities, ood, region }) => ({ probabilities, ood, box: region.box }));
}

let classifier: Classifier;

const probe = {
  async load(model: string, threads: number): Promise<{ goldenError: number; ms: number }> {
    const started = performance.now();
    useRuntime(new URL("./", location.href).href, threads);
    const file = new Uint8Array(await (await fetch(model)).arrayBuffer());
    classifier = await Classifier.load(file, "0".repeat(64));
    return { goldenError: classifier.goldenError, ms: performance.now() - started };
  },
  async score(address: string, boxes: readonly BoxXYWH[]): Promise<Answer[]> {
    const regions = boxes.map((box) => ({ box, kind: "motion" }) as const);
    return answers(await classifier.score(await pixelsOf(address), regions));
  },
  async scan(address: string): Promise<Answer[]> {
    return answers(await scan(classifier, await pixelsOf(address)));
  },
  /** Return the milliseconds that a crop takes, or a look at a whole picture, its longer side so many pixels. */
  async took(address: string, side: number | null): Promise<number> {
    const picture = await pixelsOf(address);
    const started = performance.now();
    if (side === null) await classifier.score(picture, [{ box: [0.3, 0.3, 0.4, 0.4], kind: "motion" }]);
    else await scan(classifier, picture, side);
    return performance.now() - started;
  },
};

Object.assign(globalThis, { probe });
