import { expect, test } from "vitest";
import { shareOf } from "../src/power";

test("a low battery takes from the frame rate unless it is charging", () => {
  expect(shareOf(null)).toBe(1);
  expect(shareOf({ level: 0.2, charging: false })).toBe(1);
  expect(shareOf({ level: 0.19, charging: false })).toBe(0.5);
  expect(shareOf({ level: 0.09, charging: false })).toBe(0.25);
  expect(shareOf({ level: 0.05, charging: true })).toBe(1);
});
