import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CameraCheck, FaultDebouncer, type FaultReport, viewOf } from "../src/camera_check";
import type { Grey, TroubleKind } from "../src/schema";
import { ground, noise } from "./formula";

type Pair = readonly [number, number];
type Told = readonly [type: string, id: number, kind: TroubleKind, value: number, lastedS: number];

interface Step {
  readonly time: number;
  readonly faults: readonly (readonly [TroubleKind, number])[];
  readonly reports: readonly Told[];
  readonly now?: readonly TroubleKind[];
}

interface Vectors {
  readonly size_wh: Pair;
  readonly probes: readonly number[];
  readonly views: readonly {
    readonly scene: string;
    readonly size_wh: Pair;
    readonly mean: readonly number[];
    readonly structure: readonly number[];
    readonly contrast: readonly number[];
    readonly sharpness: readonly number[];
    readonly edges: readonly Pair[]; // place of the pixel, value
  }[];
  readonly sequences: readonly {
    readonly name: string;
    readonly scenes: readonly (readonly [string, number])[]; // and how often it is seen
    readonly faults: readonly (readonly (readonly [TroubleKind, number])[])[];
  }[];
  readonly debounced: readonly { readonly steps: readonly Step[]; readonly close: Step }[];
}

const VECTORS: Vectors = JSON.parse(readFileSync(new URL("vectors/camera_check.json", import.meta.url), "utf8"));
const LEVELS: Readonly<Record<string, number>> = { black: 6, white: 252, covered: 120 };
const ASIDE: Readonly<Record<string, Pair>> = { pushed: [4, 2], nudged: [3, 2] };
const drawn = new Map<string, Int32Array>();

/** Return a level of the camera's view before noise, as tests/helpers/make_phone_vectors.py draws it. */
function level(scene: string, x: number, y: number, width: number, height: number): number {
  if (scene in LEVELS) return LEVELS[scene];
  if (scene === "blinded" && x < 115) return 254;
  if (scene === "turned") return ground(2 * y, x) + 60 * ((Math.floor(x / 11) + Math.floor(y / 19)) % 2);
  if (scene in ASIDE) return level("usual", x + ASIDE[scene][0], y + ASIDE[scene][1], width, height);
  if (scene === "sparse" || scene === "other sparse") {
    const shown = x < 28 && y >= 15 && y < 37;
    return shown ? level(scene === "sparse" ? "usual" : "turned", x, y, width, height) : 120;
  }
  if (scene === "blurred" || scene === "drops") {
    let sum = 0;
    for (let j = -4; j <= 4; j++) {
      for (let i = -4; i <= 4; i++) {
        const [atX, atY] = [Math.min(Math.max(x + i, 0), width - 1), Math.min(Math.max(y + j, 0), height - 1)];
        sum += level(scene === "drops" ? "turned" : "usual", atX, atY, width, height);
      }
    }
    return Math.floor(sum / 81);
  }
  const usual = ground(x, y) + 60 * ((Math.floor(x / 17) + Math.floor(y / 13)) % 2);
  if (scene === "clock") return y < 3 || y >= 74 ? 6 + Math.floor(usual / 10) : 6;
  if (scene === "fog") return 130 + Math.floor(usual / 8);
  return scene === "dim" ? Math.floor((usual * 6) / 10) : usual;
}

function grey(scene: string, [width, height]: Pair, index: number): Grey {
  const key = `${scene} ${width} ${height}`;
  const place = (i: number): Pair => [i % width, Math.floor(i / width)];
  const levels = drawn.get(key) ?? Int32Array.from({ length: width * height }, (_, i) => level(scene, ...place(i), width, height));
  drawn.set(key, levels);
  const data = Float32Array.from(levels, (at, i) => Math.min(Math.max(at + noise(...place(i), index), 0), 255));
  return { data, width, height };
}

test.each(VECTORS.views)("the measures of $scene, $size_wh, are those of the Python side", (told) => {
  const view = viewOf(grey(told.scene, told.size_wh, 0));
  for (const each of ["mean", "structure", "contrast", "sharpness"] as const) {
    told[each].forEach((value, i) => expect(view[each][VECTORS.probes[i]], each).toBeCloseTo(value, 3));
  }
  for (const [at, value] of told.edges) expect(view.edges[at], `edges at ${at}`).toBeCloseTo(value, 3);
});

describe("the same faults second by second as the Python side finds", () => {
  test.each(VECTORS.sequences)("$name", ({ name, scenes, faults }) => {
    const check = new CameraCheck();
    const shown = scenes.flatMap(([scene, seconds]) => Array<string>(seconds).fill(scene));
    expect(shown.length).toBe(faults.length);
    shown.forEach((scene, second) => {
      const said = check.look(grey(scene, VECTORS.size_wh, second), second * (name === "slowly" ? 10 : 1));
      const told = faults[second];
      expect(said.map((fault) => fault.kind), `second ${second}, ${scene}`).toEqual(told.map(([kind]) => kind));
      said.forEach(({ kind, value }, i) => {
        const rounding = kind === "moved" ? 0.005 : 0.5; // the file has what a sentence says
        expect(Math.abs(value - told[i][1]), `second ${second}, ${kind}`).toBeLessThanOrEqual(rounding + 0.001);
      });
    });
  });
});

test("the sequences show every fault that a picture can have", () => {
  const kinds = new Set(VECTORS.sequences.flatMap(({ faults }) => faults.flat().map(([kind]) => kind)));
  expect([...kinds].sort()).toEqual(["black", "blurred", "covered", "moved", "white"]);
  expect(VECTORS.sequences.reduce((sum, { faults }) => sum + faults.length, 0)).toBeGreaterThan(90);
});

test("a picture of another size is another place", () => {
  const check = new CameraCheck();
  for (let second = 0; second < 86; second++) {
    const scene = second < 62 ? "usual" : "turned";
    expect(check.look(grey(scene, second < 62 ? VECTORS.size_wh : [77, 130], second), second)).toEqual([]);
  }
});

describe("the same reports as the Python side publishes", () => {
  test.each(VECTORS.debounced.map((each, i) => [i, each] as const))("faults at random, %i", (_, { steps, close }) => {
    const debouncer = new FaultDebouncer();
    const ids: string[] = [];
    const asTold = ({ type, id, fault, lastedS }: FaultReport): Told => {
      if (!ids.includes(id)) ids.push(id);
      expect(id).toMatch(/^[0-9a-f]{32}$/);
      return [type, ids.indexOf(id), fault.kind, fault.value, Math.round(lastedS * 1000) / 1000];
    };
    for (const { time, faults, reports, now } of steps) {
      const said = debouncer.report(faults.map(([kind, value]) => ({ kind, value })), time);
      expect(said.map(asTold), `at ${time}`).toEqual(reports);
      expect(debouncer.now.map((fault) => fault.kind), `at ${time}`).toEqual(now);
    }
    expect(debouncer.close(close.time).map(asTold)).toEqual(close.reports);
    expect(debouncer.now).toEqual([]);
  });
});
