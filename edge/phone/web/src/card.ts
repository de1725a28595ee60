/** The model card inside an ONNX file: what `edge/detect/card.py` reads. */

const CARD_KEY = "bear_alarm.card";
const CARD_VERSION = 2;
const CELL_PX = 32;
/** The notice of models that were trained on little; the app says it in its language. EVALUATION_ONLY of card.py. */
export const EVALUATION_ONLY = "Evaluation only: train on your own pictures before relying on it.";
const MAX_TOLERANCE = 0.5; // a golden tolerance above it would let any network pass

export interface GoldenVector {
  readonly png: Uint8Array;
  readonly probabilities: readonly number[];
}

export interface GoldenFrame {
  readonly png: Uint8Array;
  readonly size: readonly [number, number]; // width and height in pixels, multiples of 32
  readonly bear: number; // of the window with the highest bear probability
}

/** The part of the card that the phone needs. */
export interface Card {
  readonly name: string;
  readonly labels: readonly string[];
  readonly alarmColumns: readonly number[]; // where the alarm labels stand among them
  readonly size: number; // a crop's side in pixels
  readonly context: number; // the crop's side over the region's longer side
  readonly crop: number; // bear probability from which one crop counts as a bear
  readonly frame: number; // the same for the frame scan
  readonly oodThreshold: number;
  readonly sides: readonly number[]; // of the frame scan: the picture's longer side in pixels
  readonly windows: readonly number[]; // sides in cells
  readonly golden: readonly GoldenVector[];
  readonly goldenFrames: readonly GoldenFrame[];
  readonly goldenTolerance: number;
  readonly notice: string | null;
}

/** The bytes are no ONNX file. */
export class DamagedFile extends Error {}

/** The file has no card, or one that cannot be used. */
export class CardError extends Error {}

/** Return the card in the bytes of an ONNX file. Throw DamagedFile or CardError. */
export function readCard(file: Uint8Array): Card {
  const text = metadata(file, CARD_KEY);
  if (text === null) throw new CardError("no bear-alarm card");
  let held: unknown;
  try {
    held = JSON.parse(text);
  } catch {
    throw new CardError("the card is no JSON");
  }
  return checked(new Fields(held, "card"));
}

/**
 * Return one value of `metadata_props`, or null.
 *
 * A protobuf message is a row of fields: a tag (number << 3 | type), then a number or so many bytes. In a ModelProto,
 * field 14 holds a message of key (1) and value (2). The other fields, the graph among them, are skipped.
 */
export function metadata(file: Uint8Array, key: string): string | null {
  const words = new TextDecoder();
  let found: string | null = null;
  for (const [number, bytes] of fields(file)) {
    if (number !== 14) continue;
    const entry = new Map([...fields(bytes)].map(([each, value]) => [each, words.decode(value)]));
    if (entry.get(1) === key) found = entry.get(2) ?? null;
  }
  return found;
}

/**
 * Make a switch of the graph that has a default an input that must be given: onnxruntime-web takes no other.
 *
 * In the graph (field 7) the default is an initializer (5) of the input's name (8). In these bytes it gets another name,
 * as long as the old one, so that nothing else in the file moves; then it is the default of nothing.
 */
export function dropDefault(file: Uint8Array, input: string): void {
  const words = new TextDecoder();
  for (const [number, graph] of fields(file)) {
    if (number !== 7) continue;
    for (const [part, initializer] of fields(graph)) {
      if (part !== 5) continue;
      for (const [each, name] of fields(initializer)) {
        if (each === 8 && words.decode(name) === input) name.fill("_".charCodeAt(0));
      }
    }
  }
}

function* fields(message: Uint8Array): Generator<[number, Uint8Array]> {
  let at = 0;
  const varint = (): number => {
    for (let value = 0, factor = 1; at < message.length && factor < 2 ** 63; factor *= 128) {
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new DamagedFile("the file is cut off or is no ONNX model");
  };
  while (at < message.length) {
    const tag = varint();
    const type = tag % 8;
    if (type === 0) {
      varint();
      continue;
    }
    const length = type === 2 ? varint() : type === 1 ? 8 : type === 5 ? 4 : Infinity;
    if (at + length > message.length) throw new DamagedFile("the file is cut off or is no ONNX model");
    yield [Math.floor(tag / 8), message.subarray(at, at + length)];
    at += length;
  }
}

/** Values of a JSON object, each of the type that is asked for. */
class Fields {
  constructor(
    private readonly held: unknown,
    private readonly where: string,
  ) {}

  get(name: string): unknown {
    const held = this.held;
    if (typeof held !== "object" || held === null) throw new CardError(`${this.where} is no object`);
    return Object.entries(held).find(([key]) => key === name)?.[1];
  }

  in(name: string): Fields {
    return new Fields(this.get(name), `${this.where}.${name}`);
  }

  number(name: string, least = -Infinity, most = Infinity): number {
    const value = this.get(name);
    if (typeof value !== "number" || !Number.isFinite(value)) return this.fail(name, "a number");
    return value >= least && value <= most ? value : this.fail(name, `between ${least} and ${most}`);
  }

  text(name: string): string {
    const value = this.get(name);
    return typeof value === "string" ? value : this.fail(name, "a text");
  }

  list(name: string): readonly unknown[] {
    const value: unknown = this.get(name);
    return Array.isArray(value) && value.length ? value : this.fail(name, "a list with something in it");
  }

  texts(name: string): readonly string[] {
    const all = this.list(name);
    return all.every((each) => typeof each === "string") ? all : this.fail(name, "a list of texts");
  }

  numbers(name: string): readonly number[] {
    const all = this.list(name);
    return all.every((each) => typeof each === "number") ? all : this.fail(name, "a list of numbers");
  }

  /** Return sizes that a network with cells of so many pixels can take. */
  sizes(name: string, multipleOf: number): readonly number[] {
    const all = this.numbers(name);
    const fit = all.every((each) => each > 0 && each % multipleOf === 0);
    return fit ? all : this.fail(name, `multiples of ${multipleOf}`);
  }

  objects(name: string): Fields[] {
    return this.list(name).map((each, index) => new Fields(each, `${this.where}.${name}[${index}]`));
  }

  png(): Uint8Array {
    try {
      return Uint8Array.from(atob(this.text("png_base64")), (each) => each.charCodeAt(0));
    } catch {
      return this.fail("png_base64", "base64");
    }
  }

  fail(name: string, wanted: string): never {
    throw new CardError(`${this.where}.${name}: ${this.get(name) === undefined ? "missing" : `not ${wanted}`}`);
  }
}

function checked(card: Fields): Card {
  const version = card.number("card_version");
  if (version !== CARD_VERSION) throw new CardError(`card.card_version: ${version}, not ${CARD_VERSION}`);
  const [labels, alarmLabels] = [card.texts("labels"), card.texts("alarm_labels")];
  const alarmColumns = alarmLabels.map((label) => labels.indexOf(label));
  if (alarmColumns.includes(-1)) card.fail("alarm_labels", "among the labels");
  if (new Set(labels).size !== labels.length) card.fail("labels", "a list of different texts");
  if (alarmLabels.length >= labels.length) card.fail("alarm_labels", "fewer than the labels");
  const [crop, limits, frame] = [card.in("crop"), card.in("thresholds"), card.in("frame")];
  if (crop.get("square") !== true) crop.fail("square", "true");
  if (crop.text("shrink") !== "INTER_AREA") crop.fail("shrink", "INTER_AREA");
  if (crop.text("enlarge") !== "INTER_LINEAR") crop.fail("enlarge", "INTER_LINEAR");
  const [sides, windows] = [frame.sizes("sides", CELL_PX), frame.sizes("windows", 1)];
  if (Math.min(...windows) < 2 || Math.max(...windows) * CELL_PX > Math.min(...sides)) {
    frame.fail("windows", "at least 2 cells, and within the sides");
  }
  const golden = card.objects("golden").map((each) => {
    const probabilities = each.numbers("probabilities");
    if (probabilities.length !== labels.length) each.fail("probabilities", "one for each label");
    return { png: each.png(), probabilities };
  });
  const goldenFrames = card.objects("golden_frames").map((each) => {
    const [width, height] = each.sizes("size_wh", CELL_PX);
    return { png: each.png(), size: [width, height] as const, bear: each.number("bear") };
  });
  const notice = card.get("notice") ?? null;
  const above0 = Number.MIN_VALUE;
  return {
    name: card.text("name"),
    labels,
    alarmColumns,
    size: card.sizes("input_sizes", CELL_PX)[0],
    context: crop.number("context", 1, 3),
    crop: limits.in("crop").number("value", above0, 1 - Number.EPSILON),
    frame: limits.in("frame").number("value", above0, 1 - Number.EPSILON),
    oodThreshold: card.in("ood").number("threshold"),
    sides,
    windows,
    golden,
    goldenFrames,
    goldenTolerance: card.number("golden_tolerance", above0, MAX_TOLERANCE),
    notice: notice === null ? null : card.text("notice"),
  };
}
