/** Dates and numbers follow the app's language. */

import { afterEach, expect, test, vi } from "vitest";
import { localeOf, momentOf, numberOf, timeOf } from "../src/dom";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function phone(lang: string, ...languages: string[]): void {
  vi.stubGlobal("document", { documentElement: { lang } });
  vi.stubGlobal("navigator", { languages });
}

test("the phone's own way to write is taken where it is in the app's language", () => {
  phone("en", "sl-SI", "en-GB");
  expect([localeOf("en"), localeOf("de")]).toEqual(["en-GB", "de"]);
  expect(numberOf(2.54)).toBe("2.5");
  phone("de", "sl-SI", "en-GB");
  expect([numberOf(2.54), numberOf(22.4, 0)]).toEqual(["2,5", "22"]);
});

test("a moment has its day if that is not today", () => {
  phone("en", "en-GB");
  vi.useFakeTimers({ now: new Date(2026, 5, 2, 0, 30) });
  const [today, yesterday] = [new Date(2026, 5, 2, 0, 10).getTime(), new Date(2026, 5, 1, 23, 50).getTime()];
  expect(momentOf(today)).toBe(timeOf(today));
  expect(momentOf(yesterday)).toMatch(/1 Jun 2026.*23:50/);
});
