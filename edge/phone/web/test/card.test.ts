/** The card of the bundled model, and what is wrong with others. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CardError, DamagedFile, EVALUATION_ONLY, dropDefault, metadata, readCard } from "../src/card";

const file = new Uint8Array(readFileSync(new URL("../../../models/bear.onnx", import.meta.url)));
const text = metadata(file, "bear_alarm.card") ?? "";

/** Return a file with these metadata, fields before and after them, as protobuf writes it. */
function onnx(key: string, value: string): Uint8Array {
  const bytes = (number: number, body: Uint8Array): number[] => [...varint(number * 8 + 2), ...varint(body.length), ...body];
  const words = new TextEncoder();
  const entry = Uint8Array.from([...bytes(1, words.encode(key)), ...bytes(2, words.encode(value))]);
  const other = Uint8Array.from([...bytes(1, words.encode("other")), ...bytes(2, words.encode("1"))]);
  const fixed = [...varint(5 * 8 + 5), 1, 2, 3, 4, ...varint(6 * 8 + 1), 1, 2, 3, 4, 5, 6, 7, 8];
  return Uint8Array.from([8, 200, 1, ...fixed, ...bytes(7, new Uint8Array(300)), ...bytes(14, other), ...bytes(14, entry), 8, 1]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))];
}

type Json = Record<string, unknown>;

function changed(change: (card: Json) => void): Uint8Array {
  const card: Json = JSON.parse(text);
  change(card);
  return onnx("bear_alarm.card", JSON.stringify(card));
}

test("the bundled model's card is read", () => {
  const card = readCard(file);
  const held = JSON.parse(text);
  expect(card.labels).toEqual(held.labels);
  expect(card.alarmColumns.map((column) => card.labels[column])).toEqual(held.alarm_labels);
  expect([card.size, card.context, card.crop, card.frame]).toEqual([
    held.input_sizes[0],
    held.crop.context,
    held.thresholds.crop.value,
    held.thresholds.frame.value,
  ]);
  expect([card.oodThreshold, card.goldenTolerance]).toEqual([held.ood.threshold, held.golden_tolerance]);
  expect([card.sides, card.windows]).toEqual([held.frame.sides, held.frame.windows]);
  expect(card.golden.map((each) => each.probabilities)).toEqual(held.golden.map((each: Json) => each.probabilities));
  expect(card.goldenFrames.map((each) => each.size)).toEqual(held.golden_frames.map((each: Json) => each.size_wh));
  for (const { png } of [...card.golden, ...card.goldenFrames]) expect([...png.slice(1, 4)]).toEqual([80, 78, 71]);
  expect(card.notice).toBe(held.notice);
});

test("a card that was written again is read the same", () => {
  expect(readCard(changed(() => {}))).toEqual(readCard(file));
});

test.each<[string, (card: Json) => void]>([
  ["card.labels: missing", (card) => delete card.labels],
  ["card.golden: missing", (card) => delete card.golden],
  ["card.frame is no object", (card) => (card.frame = null)],
  ["card.thresholds.frame is no object", (card) => (card.thresholds = { crop: { value: 0.5 } })],
  ["card.thresholds.crop.value: not between", (card) => (card.thresholds = { crop: { value: 1 }, frame: { value: 0.5 } })],
  ["card.card_version: 3, not 2", (card) => (card.card_version = 3)],
  ["card.ood.threshold: not a number", (card) => (card.ood = { threshold: "0.1" })],
  ["card.golden_tolerance: not between", (card) => (card.golden_tolerance = 0.9)],
  ["card.alarm_labels: not among the labels", (card) => (card.alarm_labels = ["wolf"])],
  ["card.alarm_labels: not fewer than the labels", (card) => (card.alarm_labels = card.labels)],
  ["card.input_sizes: not multiples of 32", (card) => (card.input_sizes = [225])],
  ["card.golden[0].png_base64: not base64", (card) => ((card.golden as Json[])[0].png_base64 = "?")],
  ["card.golden[1].probabilities: not one for each label", (card) => ((card.golden as Json[])[1].probabilities = [1])],
])("an error names what is wrong: %s", (words, change) => {
  expect(() => readCard(changed(change))).toThrow(words);
  expect(() => readCard(changed(change))).toThrow(CardError);
});

test("a file without a card is no damaged file", () => {
  expect(() => readCard(onnx("another", "{}"))).toThrow(new CardError("no bear-alarm card"));
  expect(() => readCard(onnx("bear_alarm.card", "{"))).toThrow(CardError);
  expect(() => readCard(new Uint8Array())).toThrow(CardError);
});

test("a file that is cut off is a damaged file", () => {
  expect(() => readCard(file.subarray(0, file.length - 1000))).toThrow(DamagedFile);
  expect(() => readCard(new TextEncoder().encode("<!DOCTYPE html><title>Not found</title>"))).toThrow(DamagedFile);
});

function differences(one: Uint8Array, other: Uint8Array): number[] {
  const places: number[] = [];
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) places.push(index);
  return places;
}

test("of a default only the name is changed", () => {
  const before = file.slice();
  const changedFile = file.slice();
  dropDefault(changedFile, "scan");
  const places = differences(changedFile, before);
  expect(places.length).toBe(4);
  const [first, last] = [places[0], places[3] + 1];
  expect(new TextDecoder().decode(before.subarray(first, last))).toBe("scan");
  expect(new TextDecoder().decode(changedFile.subarray(first, last))).toBe("____");
  dropDefault(changedFile, "scan"); // there is none any more
  dropDefault(before, "another");
  expect(Buffer.compare(before, file)).toBe(0);
  expect(differences(changedFile, before)).toEqual(places);
});

test("the notice that the app translates is the one of the Python side and of the bundled model", () => {
  const python = readFileSync(new URL("../../../detect/card.py", import.meta.url), "utf8");
  expect(python).toContain(`EVALUATION_ONLY = "${EVALUATION_ONLY}"`);
  expect(readCard(file).notice).toBe(EVALUATION_ONLY);
});
