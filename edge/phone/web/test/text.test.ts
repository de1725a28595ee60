import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { ProblemKind } from "../src/status";
import { LANGUAGE_NAMES, textsFor } from "../src/text";

const page = readFileSync(new URL("../static/index.html", import.meta.url), "utf8");
const languages = Object.keys(LANGUAGE_NAMES);
const english: Readonly<Record<string, unknown>> = textsFor(["en"]).text;

describe("the texts", () => {
  test("follow the phone's language, else they are English", () => {
    expect(textsFor(["de-AT", "en"]).language).toBe("de");
    expect(textsFor(["ja", "de"]).language).toBe("de");
    expect(textsFor(["ja"]).language).toBe("en");
  });

  test("hold the same values in each language, and none is empty", () => {
    for (const language of languages) {
      const text: Readonly<Record<string, unknown>> = textsFor([language]).text;
      for (const [name, words] of Object.entries(text)) {
        expect(words, `${language} ${name}`).not.toBe("");
        expect(valuesIn(words), `${language} ${name}`).toEqual(valuesIn(english[name]));
      }
      for (const [kind, words] of Object.entries(textsFor([language]).text.problems)) {
        const said = { detail: "41", at: "42", from: "43", to: "44" };
        const shown = (each: typeof words) => String(typeof each === "function" ? each(said) : each).match(/4[1-4]/g);
        expect(shown(words), `${language} ${kind}`).toEqual(shown(textsFor(["en"]).text.problems[kind as ProblemKind]));
      }
    }
  });
});

/** Return which of the values that a sentence is made with it holds; null: it is made with none. */
function valuesIn(words: unknown): string[] | null {
  if (typeof words !== "function") return null;
  const values = Array.from({ length: words.length }, (_, index) => `${41 + index}`);
  const sentence: unknown = words(...values);
  return values.filter((each) => String(sentence).includes(each));
}

describe("the page", () => {
  test("names only texts that there are", () => {
    const names = [...page.matchAll(/data-(?:text|label)="(\w+)"/g)].map((each) => each[1]);
    expect(names.length).toBeGreaterThan(50);
    for (const name of names) expect(typeof english[name], name).toBe("string");
  });

  test("has no script or style of its own, and nothing from elsewhere", () => {
    expect(page).not.toMatch(/\sstyle=|<style|\son\w+=|https?:|\/\/\w/);
    for (const [tag] of page.matchAll(/<script[^>]*>/g)) expect(tag).toContain("src=");
    for (const [, address] of page.matchAll(/(?:src|href)="([^"#][^"]*)"/g)) expect(address).not.toMatch(/^\//);
  });
});
