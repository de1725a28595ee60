import { expect, test } from "vitest";
import { speedOf } from "../src/start_check";

test("a phone's speed is looks a second, and few are slow", () => {
  expect(speedOf(10)).toEqual({ looks: 10, slow: false });
  expect(speedOf(51)).toEqual({ looks: 7, slow: false });
  expect(speedOf(160)).toEqual({ looks: 2, slow: false });
  expect(speedOf(180)).toEqual({ looks: 1.9, slow: true });
  expect(speedOf(1000)).toEqual({ looks: 0.3, slow: true });
  expect(speedOf(10_000)).toEqual({ looks: 0.1, slow: true });
});
