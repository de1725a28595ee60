import { expect, test } from "vitest";
import { surplus, type Entry } from "../src/journal";
import type { BearEvent, EventType } from "../src/schema";

const review = { verdict: "wrong", at: "2026-01-01T00:00:00.000Z", label: null } as const;

/** An incident of one event. */
function entry(id: string, began: number, more: Partial<Entry> = {}, type: EventType = "end", boot = "old"): Entry {
  const event = { kind: "bear", type, id, seq: began, boot_id: boot } as BearEvent;
  return { id, began, events: [event], reviews: [], exported: false, bytes: 100, ...more };
}

const nobody: ReadonlySet<string> = new Set();

test("what a copy exists of goes first, and what a person reviewed for the next export stays", () => {
  const all = [
    entry("reviewed", 1, { reviews: [review] }),
    entry("plain 2", 3),
    entry("plain 1", 2),
    entry("exported", 4, { reviews: [review], exported: true }),
  ];
  expect(surplus(all, "", nobody, 0, 10).pictures).toEqual(["exported", "plain 1", "plain 2"]);
});

test("the incident that is being written, and those that go on, are never deleted", () => {
  const all = [entry("now", 1), entry("open", 2, {}, "new", "alive"), entry("cut off", 3, {}, "new", "dead")];
  expect(surplus(all, "now", new Set(["alive"]), 0, 10).pictures).toEqual(["cut off"]);
});

test("within the limits nothing goes", () => {
  expect(surplus([entry("a", 1), entry("b", 2)], "", nobody, 200, 2)).toEqual({ pictures: [], incidents: [] });
});

test("only as many pictures go as the limit asks for, and lines stay", () => {
  const all = [entry("a", 1), entry("none", 2, { bytes: 0 }), entry("b", 3), entry("c", 4)];
  expect(surplus(all, "c", nobody, 250, 10)).toEqual({ pictures: ["a"], incidents: [] });
  expect(surplus(all, "c", nobody, 199, 10)).toEqual({ pictures: ["a", "b"], incidents: [] });
});

test("beyond the number of events the oldest incidents go whole, and their pictures count as gone", () => {
  const all = [entry("a", 1), entry("b", 2), entry("c", 3)];
  expect(surplus(all, "c", nobody, 200, 2)).toEqual({ pictures: [], incidents: ["a"] });
  expect(surplus(all, "c", nobody, 100, 2)).toEqual({ pictures: ["b"], incidents: ["a"] });
});
