import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Problem, STALE_S, problemWords, stateOf } from "../src/status";
import { textsFor } from "../src/text";

const { text } = textsFor(["en"]);
beforeAll(() => {
  vi.stubGlobal("document", { documentElement: { lang: "en" } });
  vi.stubGlobal("navigator", { languages: ["en-GB"] });
});
afterAll(() => void vi.unstubAllGlobals());

const well = { seen: "watching", sounding: false, problems: [] } as const;
const problem = (kind: Problem["kind"], past = false): Problem => ({ kind, values: {}, past });

describe("the big state", () => {
  test("is what the last look saw", () => {
    for (const seen of ["watching", "maybe", "bear"] as const) expect(stateOf({ ...well, seen })).toBe(seen);
    expect(stateOf({ ...well, seen: null })).toBe("starting");
  });

  test("is not watching while the camera or the detector sees nothing, whatever the last look saw", () => {
    for (const kind of ["gone", "frozen", "black", "white", "covered", "denied", "busy", "model-wrong", "stale", "giving-up"] as const) {
      for (const seen of [null, "watching", "bear"] as const) expect(stateOf({ seen, sounding: false, problems: [problem(kind)] }), kind).toBe("blind");
    }
  });

  test("stays what it is beside smaller problems and past ones", () => {
    for (const each of [problem("blurred"), problem("moved"), problem("full"), problem("sound"), problem("restarted", true)]) {
      expect(stateOf({ ...well, problems: [each] }), each.kind).toBe("watching");
    }
  });

  test("is a bear while the siren sounds, also when nothing is seen any more", () => {
    expect(stateOf({ ...well, seen: null, sounding: true, problems: [problem("gone")] })).toBe("bear");
  });
});

describe("the words of a problem", () => {
  test("hold what is known of it", () => {
    expect(problemWords(text, "internal", { detail: "TypeError: x" })[0]).toContain("TypeError: x");
    expect(problemWords(text, "other", { detail: "TypeError: x" })[0]).toContain("TypeError: x");
    expect(problemWords(text, "stale")[0]).toContain(`${STALE_S} s`);
  });

  test("have steps where somebody can do something about the camera", () => {
    for (const kind of ["denied", "missing", "busy", "insecure", "other"] as const) {
      expect(problemWords(text, kind)[1], kind).toMatch(/Android.*iPhone/);
    }
  });

  test("say from when to when nothing was watched", () => {
    const [from, to] = [new Date(2026, 5, 1, 3, 12).getTime(), new Date(2026, 5, 1, 3, 40).getTime()];
    expect(problemWords(text, "hidden", { from, to })[0]).toMatch(/from 0?3:12.* to 0?3:40/);
  });
});
