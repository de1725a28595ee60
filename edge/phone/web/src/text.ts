/** Every sentence that a user reads, in each language. Missing ones are a type error. */

const en = {
  // Watching
  appName: "Bear Alarm",
  // Events
};

export type Texts = typeof en;

const de: Texts = {
  // Watching
  appName: "Bärenalarm",
  // Events
};

const LANGUAGES: Record<string, Texts> = { en, de };

/** Return the texts of the first language that there is; English if there is none. */
export function textsFor(languages: readonly string[]): { readonly language: string; readonly text: Texts } {
  const language = languages.map((each) => each.slice(0, 2)).find((each) => each in LANGUAGES) ?? "en";
  return { language, text: LANGUAGES[language] };
}
