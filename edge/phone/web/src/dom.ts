/** Small help with the page's elements. */

import type { Sentence, Texts } from "./text";

/** Return the element with this id, of this class. */
export function byId<T extends Element>(id: string, kind: abstract new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Set an element's text if it is another: screen readers and the layout then have nothing to do. */
export function put(element: Element, words: string): void {
  if (element.textContent !== words) element.textContent = words;
}

/** Return a new button that does something. */
export function button(words: string, act: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.addEventListener("click", act);
  return made;
}

/** Return a new element with words in it. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K, words = "", attributes: Readonly<Record<string, string>> = {},
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = words;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Ask a question in a dialog, under which the page goes on; return true for `yes`. An alarm closes it unanswered. */
export function ask(question: string, yes: string, no: string): Promise<boolean> {
  const dialog = element("dialog", "", { "aria-label": question });
  const keep = button(no, () => dialog.close());
  keep.className = "large";
  const act = element("p", "", { class: "act" });
  act.append(keep, button(yes, () => dialog.close("yes")));
  dialog.append(element("p", question), act);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

/** Let an icon show another symbol of index.html. */
export function setIcon(holder: Element, name: string): void {
  const use = holder.querySelector("use");
  if (use && use.getAttribute("href") !== `#icon-${name}`) use.setAttribute("href", `#icon-${name}`);
}

/** Give every element that names a text its words. */
export function putTexts(text: Texts, language: string): void {
  document.documentElement.lang = language;
  document.title = text.appName;
  for (const each of document.querySelectorAll<HTMLElement>("[data-text]")) {
    put(each, text[each.dataset["text"] as Sentence]);
  }
  for (const each of document.querySelectorAll<HTMLElement>("[data-label]")) {
    each.setAttribute("aria-label", text[each.dataset["label"] as Sentence]);
  }
}

/** Return the phone's own way to write dates and numbers, if that is in the app's language. */
export function localeOf(language: string): string {
  return navigator.languages.find((each) => each.split("-")[0] === language) ?? language;
}

const locale = (): string => localeOf(document.documentElement.lang);

/** Return a number as the app's language writes it, with so many digits after the point or fewer. */
export function numberOf(value: number, digits = 1): string {
  return value.toLocaleString(locale(), { maximumFractionDigits: digits });
}

/** Return a time of day as the app's language writes it. */
export function timeOf(wall: number): string {
  return new Date(wall).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
}

/** Return a day and its time. */
export function dateOf(wall: number): string {
  return new Date(wall).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "medium" });
}

/** Return a time, with its day if that is not today. */
export function momentOf(wall: number): string {
  return new Date(wall).toDateString() === new Date().toDateString() ? timeOf(wall) : dateOf(wall);
}
