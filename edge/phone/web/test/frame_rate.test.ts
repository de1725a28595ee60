/** Frame rate, crop budget, the scan's moments and size. */

import { expect, test } from "vitest";
import { ACTIVE_FPS, CropBudget, FrameRateControl, IDLE_FPS, MAX_CROPS, ScanSize, ScanTimer } from "../src/frame_rate";
import { Stillness } from "../src/stillness";

test("a quiet place has few frames, from ten seconds after the last sign on", () => {
  const pace = new FrameRateControl();
  const fpsAt = (time: number, sign = false): number => {
    pace.follow(sign, time);
    return pace.fps;
  };
  expect([0, 9.9, 10].map((time) => fpsAt(time))).toEqual([ACTIVE_FPS, ACTIVE_FPS, IDLE_FPS]);
  expect(fpsAt(20, true)).toBe(ACTIVE_FPS);
  expect([29.9, 30].map((time) => fpsAt(time))).toEqual([ACTIVE_FPS, IDLE_FPS]);
  pace.share = 0.5;
  expect(fpsAt(31)).toBe(IDLE_FPS / 2);
});

test("a scan is due at once where asked, in every frame while the picture moves, else every two seconds", () => {
  const timer = new ScanTimer();
  expect(timer.due(0, false, false)).toBe(true);
  expect([0.5, 1.9].map((time) => timer.due(time, false, false))).toEqual([false, false]);
  expect(timer.due(2, false, false)).toBe(true);
  expect(timer.due(2.1, false, true)).toBe(true);
  expect(timer.due(2.2, true, false)).toBe(true);
});

test("a scan that takes long comes seldom, and what was asked for is not forgotten", () => {
  const timer = new ScanTimer();
  timer.note(0.5);
  expect(timer.due(0, false, false)).toBe(true);
  expect(timer.due(4.9, false, false)).toBe(false);
  expect(timer.due(5, false, false)).toBe(true);
  expect(timer.due(5.5, true, false)).toBe(false); // at most half of the time
  expect(timer.due(6, false, false)).toBe(true);
});

test("a slow phone has fewer crops a frame, but three at least", () => {
  const budget = new CropBudget(0.25);
  expect(budget.beside(0)).toBe(MAX_CROPS);
  budget.note(2, 0.1);
  expect(budget.beside(0)).toBe(5);
  expect(budget.beside(0.1)).toBe(3);
  expect(budget.beside(9)).toBe(3);
  const file = new CropBudget(null);
  file.note(1, 9);
  expect(file.beside(9)).toBe(MAX_CROPS);
});

test("the scan shrinks where it is slow or the phone is hot, and grows back after a minute that is fast", () => {
  const size = new ScanSize(448);
  for (let time = 0; time < 2; time++) size.note(0.5, time, 1);
  expect(size.side).toBe(448);
  size.note(0.5, 2, 1);
  expect(size.side).toBe(384);
  for (let time = 3; time < 9; time++) size.note(0.9, time, 1);
  expect(size.side).toBe(320); // never below
  for (let time = 10; time < 70; time += 2) size.note(0.1, time, 1);
  expect(size.side).toBe(320);
  size.note(0.1, 70, 1);
  expect(size.side).toBe(384);
  for (let time = 72; time <= 134; time += 2) size.note(0.1, time, 1);
  expect(size.side).toBe(448);
  for (let time = 140; time < 143; time++) size.note(0.3, time, 0.5);
  expect(size.side).toBe(384);
});

test("a size is not taken back that would be too slow", () => {
  const size = new ScanSize(448);
  size.begin(0.5);
  expect(size.side).toBe(384);
  for (let time = 0; time < 300; time += 2) size.note(0.36, time, 1);
  expect(size.side).toBe(384);
  const slow = new ScanSize(448);
  slow.begin(5);
  expect(slow.side).toBe(320);
  const small = new ScanSize(256); // a card with a small size
  small.begin(5);
  expect(small.side).toBe(256);
});

test("only the very same pixels stand still", () => {
  const still = new Stillness();
  const picture = { data: new Uint8ClampedArray(64 * 48 * 4).fill(90), width: 64, height: 48 };
  const other = { ...picture, data: picture.data.slice() };
  other.data[4 * (64 * 17 + 3)] += 1; // a pixel that is not in the sample
  expect([0, 1, 2].map((time) => still.look(picture, time))).toEqual([0, 1, 2]);
  expect(still.look(other, 3)).toBe(0);
  expect(still.look(other, 4)).toBe(1);
  still.reset();
  expect(still.look(other, 5)).toBe(0);
  other.data[0] += 1; // a pixel of the sample
  expect(still.look(other, 6)).toBe(0);
  expect(still.look({ data: new Uint8ClampedArray(48 * 64 * 4), width: 48, height: 64 }, 7)).toBe(0);
});
