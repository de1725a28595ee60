/** A page of tests/phone/test_phone_classifier.py: the classifier alone, on pictures that lie beside the page. */

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
  /** Return the median milliseconds of a crop, alone and in fours, and of a scan of 448 x 256 pixels. */
  async measure(address: string, rounds: number): Promise<{ crop: number; cropInFour: number; scan: number }> {
    const picture = await pixelsOf(address);
    const region = { box: [0.3, 0.3, 0.4, 0.4], kind: "motion" } as const;
    const median = async (work: () => Promise<unknown>): Promise<number> => {
      const times: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const started = performance.now();
        await work();
        times.push(performance.now() - started);
      }
      return times.sort((one, other) => one - other)[Math.floor(rounds / 2)];
    };
    return {
      crop: await median(() => classifier.score(picture, [region])),
      cropInFour: (await median(() => classifier.score(picture, [region, region, region, region]))) / 4,
      scan: await median(() => scan(classifier, picture)),
    };
  },
};

Object.assign(globalThis, { probe });
