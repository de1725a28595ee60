import { expect, test } from "vitest";
import { shareOf } from "../src/power";

test("a low battery and heat take from the frame rate, the worse of both counts", () => {
  expect(shareOf(null, null)).toBe(1);
  expect(shareOf({ level: 0.2, charging: false }, "fair")).toBe(1);
  expect(shareOf({ level: 0.19, charging: false }, null)).toBe(0.5);
  expect(shareOf({ level: 0.09, charging: false }, null)).toBe(0.25);
  expect(shareOf({ level: 0.05, charging: true }, null)).toBe(1);
  expect(shareOf({ level: 0.05, charging: true }, "serious")).toBe(0.5);
  expect(shareOf({ level: 0.15, charging: false }, "critical")).toBe(0.25);
});
