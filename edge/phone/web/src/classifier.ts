/** One class around the ONNX file: crops in, probabilities and an out-of-domain score out; `edge/detect/classifier.py`. */

import * as ort from "onnxruntime-web/wasm";
import { type Card, CardError, DamagedFile, dropDefault, readCard } from "./card";
import { cut, fitTo } from "./crops";
import { bearOf, type Look, scored } from "./frame_scan";
import { type Picture, type Region, type Score, WHOLE } from "./schema";

const BATCH = 4; // crops a call, as on the Pi
const SCAN = "scan"; // the switch of the windows inside the file: without it crops would pay for them

/** This phone computes the model wrongly. */
export class WrongAnswers extends Error {}

/** Set where the runtime's own files lie, and how many threads it may have; before the first classifier is made. */
export function useRuntime(folder: string, threads: number): void {
  ort.env.wasm.wasmPaths = { mjs: `${folder}ort-wasm-simd-threaded.mjs`, wasm: `${folder}ort-wasm-simd-threaded.wasm` };
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = false;
  ort.env.logLevel = "error";
}

/** A bear classifier out of the bytes of `bear.onnx`, run in float: faster here than in int8. */
export class Classifier {
  goldenError = 0; // largest difference in probability between the card's golden vectors and this phone
  private readonly input: Uint8Array;

  private constructor(
    readonly card: Card,
    readonly name: string, // and short digest, as events carry them
    private readonly session: ort.InferenceSession,
  ) {
    this.input = new Uint8Array(BATCH * card.size * card.size * 3);
  }

  /** Make one, and recompute its golden vectors. Change the bytes. Throw DamagedFile, CardError or WrongAnswers. */
  static async load(file: Uint8Array, sha256: string): Promise<Classifier> {
    const card = readCard(file);
    dropDefault(file, SCAN);
    const session = await ort.InferenceSession.create(file, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
      extra: { session: { disable_quant_qdq: "1" } },
    }).catch((error: unknown) => {
      // An error with a code is onnxruntime's own; any other is of the browser, and says nothing of the file.
      const words = String(error);
      throw words.includes("ERROR_CODE") && !/alloc/i.test(words) ? new DamagedFile(words) : error;
    });
    if (!session.inputNames.includes(SCAN)) throw new CardError(`the network has no input "${SCAN}"`);
    const classifier = new Classifier(card, `${card.name}@${sha256.slice(0, 12)}`, session);
    classifier.goldenError = await classifier.goldenDifference();
    // Not "greater": NaN is no answer.
    if (!(classifier.goldenError <= card.goldenTolerance)) {
      throw new WrongAnswers(`golden vectors differ by ${classifier.goldenError.toFixed(3)}; allowed ${card.goldenTolerance}`);
    }
    return classifier;
  }

  /** Return what the classifier says of each region of one picture, in the same order. */
  async score(picture: Picture, regions: readonly Region[]): Promise<Score[]> {
    const { card, input } = this;
    const scores: Score[] = [];
    for (let start = 0; start < regions.length; start += BATCH) {
      const part = regions.slice(start, start + BATCH);
      part.forEach((region, index) => {
        const crop = cut(picture, region.box, card.size, card.context);
        input.set(crop, index * crop.length);
      });
      const [rows, ood] = await this.crops(part.length);
      part.forEach((region, index) => scores.push(scored(card, region, rows[index], ood[index])));
    }
    return scores;
  }

  /** Score the windows of a whole picture, BGR; width and height multiples of 32. */
  async windows(bgr: Uint8Array, width: number, height: number): Promise<Look> {
    const found = await this.run(new ort.Tensor("uint8", bgr, [1, height, width, 3]), true, ["windows", "heat", "ood"]);
    const [, rows, columns] = found.heat.dims;
    return {
      rows: rowsOf(floats(found.windows), this.card.labels.length),
      heat: { data: floats(found.heat), width: columns, height: rows },
      ood: floats(found.ood)[0],
    };
  }

  /** Measure the milliseconds that one crop takes: the fastest of three. */
  async cropMs(): Promise<number> {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const started = performance.now();
      await this.crops(1);
      times.push(performance.now() - started);
    }
    return Math.min(...times);
  }

  /** Score the first crops of the input buffer. */
  private async crops(count: number): Promise<[Float32Array[], Float32Array]> {
    const { size, labels } = this.card;
    const crops = new ort.Tensor("uint8", this.input.subarray(0, count * size * size * 3), [count, size, size, 3]);
    const found = await this.run(crops, false, ["probabilities", "ood"]);
    return [rowsOf(floats(found.probabilities), labels.length), floats(found.ood)];
  }

  private run(crops: ort.Tensor, scan: boolean, outputs: string[]): Promise<ort.InferenceSession.ReturnType> {
    return this.session.run({ crops, [SCAN]: new ort.Tensor("bool", [scan], []) }, outputs);
  }

  private async goldenDifference(): Promise<number> {
    const { card } = this;
    const errors: number[] = [];
    for (const { png, probabilities } of card.golden) {
      this.input.set(cut(await pictureOf(png), WHOLE, card.size, 1));
      const [[row]] = await this.crops(1);
      errors.push(...probabilities.map((each, index) => Math.abs(row[index] - each)));
    }
    for (const { png, size, bear } of card.goldenFrames) {
      const { rows } = await this.windows(fitTo(await pictureOf(png), ...size), ...size);
      errors.push(Math.abs(Math.max(...rows.map((row) => bearOf(card, row))) - bear));
    }
    return Math.max(...errors); // NaN where one of them is
  }
}

/** Return the pixels of a PNG as they are in the file. */
async function pictureOf(png: Uint8Array): Promise<Picture> {
  const blob = new Blob([new Uint8Array(png)], { type: "image/png" });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  if (!context) throw new Error("this browser gives no canvas");
  context.drawImage(bitmap, 0, 0);
  const picture = context.getImageData(0, 0, bitmap.width, bitmap.height);
  bitmap.close();
  return picture;
}

/** Return a tensor's numbers, which lie outside the runtime's memory. */
function floats(tensor: ort.Tensor): Float32Array {
  if (!(tensor.data instanceof Float32Array)) throw new Error(`float32 expected, not ${tensor.type}`);
  return tensor.data;
}

function rowsOf(data: Float32Array, length: number): Float32Array[] {
  return Array.from({ length: data.length / length }, (_, row) => data.subarray(row * length, (row + 1) * length));
}
