/** The list of events: what happened, what a person says of it, and its export. */

import { ask, button, dateOf, element, numberOf, put } from "./dom";
import { exportReviewed } from "./export";
import type { Journal, Review, ShownEntry } from "./journal";
import { type BearEvent, TROUBLES } from "./schema";
import { problemWords } from "./status";
import type { Texts } from "./text";

const SHOWN = 100; // incidents

/** One incident in the list. */
interface Row {
  readonly item: HTMLLIElement;
  bytes: number; // of the picture that it shows
  show(entry: ShownEntry): void;
}

/** Show the newest events in `root`, in place of what is there, and what is new of them while `root` is on the screen. */
export async function showEvents(root: HTMLElement, journal: Journal, text: Texts): Promise<void> {
  const trouble = element("p", "", { class: "events-trouble", role: "alert" });
  const status = element("p", "", { class: "events-status", role: "status" });
  const none = element("p", text.eventsNone);
  const list = element("ol", "", { class: "events-list" });
  const storage = element("p", "", { class: "events-storage" });
  const rows = new Map<string, Row>();
  const draw = async () => {
    const entries = await journal.incidents(SHOWN);
    for (const entry of entries) if (!rows.has(entry.id)) rows.set(entry.id, newRow(entry, journal, text));
    const pictures = await Promise.all(entries.map((entry) => newPicture(entry, rows.get(entry.id), journal, list.isConnected, text)));
    keepPlace(list, () => update(list, rows, entries, pictures));
    say(trouble, journal.trouble ? problemWords(text, journal.trouble).join(" ") : "");
    none.hidden = entries.length > 0;
    const { used, quota } = await journal.usage();
    say(storage, quota > 0 ? text.eventsStored(megabytes(used)) : ""); // 0: the browser does not tell
  };
  const done = async (words: string | null) => {
    if (words === null) return; // the user changed their mind
    await draw();
    put(status, words);
  };
  const save = button(text.eventsExport, () => {
    save.disabled = true;
    saveReviewed(journal, text)
      .then(done)
      .catch((error: unknown) => {
        console.error("export:", error);
        put(status, text.eventsExportFailed);
      })
      .finally(() => (save.disabled = false));
  });
  save.className = "events-main";
  const clear = button(text.eventsDelete, () => void deleteExported(journal, text).then(done));
  const actions = element("div", "", { class: "events-actions" });
  actions.append(save, clear);
  await draw();
  root.replaceChildren(trouble, actions, status, none, list, storage);
  let drawing = false;
  let more = false;
  journal.onChange = () => {
    more = true;
    if (drawing || root.closest("[hidden]")) return;
    drawing = true;
    void (async () => {
      for (; more; await draw()) more = false;
    })()
      .catch((error: unknown) => console.error("events:", error))
      .finally(() => (drawing = false));
  };
}

/** Bring the list up to date. What is there stays the same element, with its focus and what is chosen in it. */
function update(
  list: HTMLElement, rows: Map<string, Row>, entries: readonly ShownEntry[], pictures: readonly (HTMLImageElement | null)[],
): void {
  const ids = new Set(entries.map((entry) => entry.id));
  for (const [id, { item }] of rows) {
    if (ids.has(id)) continue;
    item.remove();
    rows.delete(id);
  }
  entries.forEach((entry, index) => {
    const row = rows.get(entry.id);
    if (!row) return;
    row.show(entry);
    const picture = pictures[index];
    if (picture) {
      row.item.querySelector("img")?.remove();
      row.item.prepend(picture);
      row.bytes = entry.bytes;
    }
    const there = list.children.item(index);
    if (there !== row.item) list.insertBefore(row.item, there);
  });
}

/** Change the list; what the user reads stays where it is on the screen. */
function keepPlace(list: HTMLElement, change: () => void): void {
  let scrolled = list.parentElement;
  while (scrolled && scrolled.scrollTop === 0) scrolled = scrolled.parentElement;
  const top = Math.max(scrolled?.getBoundingClientRect().top ?? 0, 0);
  const read = [...list.children].find((item) => item.getBoundingClientRect().bottom > top);
  const before = read?.getBoundingClientRect().top ?? 0;
  change();
  if (scrolled && read?.isConnected) scrolled.scrollTop += read.getBoundingClientRect().top - before;
}

function newRow(entry: ShownEntry, journal: Journal, text: Texts): Row {
  const { kind } = entry.events[0];
  const item = element("li", "", { class: `event event-${kind}` });
  const began = new Date(entry.began);
  const when = dateOf(entry.began);
  const title = element("h3", titleOf(entry, text));
  const [what, details, picture, stored] = [element("p"), element("p"), element("p"), element("p")];
  const words = element("div", "", { class: "event-words" });
  words.append(title, element("time", when, { datetime: began.toISOString() }), what, details, stored, picture);
  item.append(words);
  const form = kind === "bear" ? reviewForm(entry.id, `${title.textContent}, ${when}`, journal, text) : null;
  if (form) item.append(form.fieldset);
  let reviewed = "";
  const show = (now: ShownEntry) => {
    put(title, titleOf(now, text));
    say(what, kind === "bear" ? "" : troubleOf(now.events[0], text));
    say(details, detailsOf(now, text));
    say(stored, now.events.every((event) => event.durable) ? "" : text.eventsNotStored);
    say(picture, now.bytes > 0 || kind !== "bear" ? "" : text.eventsNoPicture);
    const review = JSON.stringify([now.review, now.exported]);
    if (review !== reviewed) form?.show(now.review, now.exported); // else somebody may be choosing
    reviewed = review;
  };
  return { item, bytes: 0, show };
}

/** Set the words of a paragraph that is hidden while it has none. */
function say(paragraph: HTMLElement, words: string): void {
  put(paragraph, words);
  paragraph.hidden = words === "";
}

/**
 * Return the picture of an entry, the crop or else the frame, if its row shows another.
 *
 * `whole`: decoded, so that the list knows its size at once.
 *
 * Its address is given back as soon as it is there: the list may be shown often.
 */
async function newPicture(
  entry: ShownEntry, row: Row | undefined, journal: Journal, whole: boolean, text: Texts,
): Promise<HTMLImageElement | null> {
  if (entry.bytes === 0 || entry.bytes === row?.bytes) return null;
  const { full, crop } = await journal.pictures(entry.id);
  const jpeg = crop ?? full;
  if (!jpeg) return null;
  const picture = element("img", "", { alt: text.eventsPicture(dateOf(entry.began)), decoding: "async" });
  const address = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
  for (const over of ["load", "error"]) picture.addEventListener(over, () => URL.revokeObjectURL(address), { once: true });
  picture.src = address;
  if (whole) await picture.decode().catch((error: unknown) => console.error("a picture of the list:", error));
  return picture;
}

function titleOf({ events, label }: ShownEntry, text: Texts): string {
  const [{ kind }] = events;
  if (kind === "bear") return text.eventsSpecies[label ?? ""] ?? text.eventsBear;
  return kind === "camera" ? text.eventsCamera : text.eventsHealth;
}

/** Return what is wrong with the camera or the app, in the user's words; `detail` is for the export. */
function troubleOf({ label, detail }: BearEvent, text: Texts): string {
  if (label === "hidden") return text.eventsHidden;
  if (label === "detector") return text.eventsDetector;
  const trouble = TROUBLES.find((each) => each === label);
  return trouble ? problemWords(text, trouble).join(" ") : (detail ?? "");
}

/** Return how sure, how long, where, and whether it is over. */
function detailsOf(entry: ShownEntry, text: Texts): string {
  const { events, topScore, lastedS, zones, state } = entry;
  const found: string[] = [];
  if (events[0].kind === "bear" && topScore !== null) {
    const words = topScore >= 0.9 ? text.eventsSure : topScore >= 0.7 ? text.eventsLikely : text.eventsMaybe;
    found.push(`${words} (${Math.round(100 * topScore)} %)`);
  }
  if (zones.length > 0) found.push(text.eventsZones(zones.join(", ")));
  if (lastedS !== null) found.push(text.eventsLasted(lasting(lastedS, text)));
  if (state === "going on") found.push(text.eventsGoingOn);
  if (state === "cut off") found.push(text.eventsCutOff);
  return found.join(" · ");
}

function lasting(seconds: number, text: Texts): string {
  if (seconds < 90) return text.eventsSeconds(Math.round(seconds));
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? text.eventsMinutes(minutes) : text.eventsHours(Math.floor(minutes / 60), minutes % 60);
}

/** The buttons with which a person says what an event shows. They stay where they are, as does the focus. */
interface ReviewForm {
  readonly fieldset: HTMLFieldSetElement;
  show(last: Review | null, exported: boolean): void;
}

function reviewForm(id: string, name: string, journal: Journal, text: Texts): ReviewForm {
  const fieldset = element("fieldset", "", { class: "event-review" });
  const legend = element("legend", text.eventsWhat);
  legend.append(element("span", ` ${name}`, { class: "visually-hidden" }));
  const said = element("p", "", { class: "event-said", role: "status" });
  const verdicts = { confirmed: text.eventsConfirmed, wrong: text.eventsWrong, unsure: text.eventsUnsure } as const;
  const buttons = (Object.keys(verdicts) as (keyof typeof verdicts)[]).map((verdict) => ({
    verdict,
    choose: button(verdicts[verdict], () => void journal.review(id, verdict)),
  }));
  const others = element("select", "", { "aria-label": `${text.eventsOther}, ${name}` });
  others.append(new Option(`${text.eventsOther} …`, ""), ...Object.entries(text.eventsOthers).map(([label, words]) => new Option(words, label)));
  others.addEventListener("change", () => others.value && void journal.review(id, { label: others.value }));
  const show: ReviewForm["show"] = (last, exported) => {
    for (const { verdict, choose } of buttons) choose.setAttribute("aria-pressed", String(last?.verdict === verdict));
    const label = last?.label ?? "";
    if (others.value !== label) others.value = label;
    const what = last && (last.verdict === "relabelled" ? (text.eventsOthers[label] ?? label) : verdicts[last.verdict]);
    put(said, what ? text.eventsReviewed(what) + (exported ? `, ${text.eventsExported}` : "") : "");
  };
  fieldset.append(legend, ...buttons.map(({ choose }) => choose), others, said);
  return { fieldset, show };
}

/** Hand the zip to the user; return what to say then, null if the user changed their mind. */
async function saveReviewed(journal: Journal, text: Texts): Promise<string | null> {
  const events = await journal.reviewed();
  if (events.length === 0) return text.eventsNoneReviewed;
  const zip = await exportReviewed(journal, events);
  const day = new Date().toISOString().slice(0, 10);
  if (!(await handOver(new File([zip], `bear-alarm-events-${day}.zip`, { type: "application/zip" })))) return null;
  await journal.markExported(events.map((entry) => entry.id));
  return text.eventsExportDone(events.length);
}

/** Share a file where the system can, else download it; return false if the user closed the share sheet. */
async function handOver(file: File): Promise<boolean> {
  if (matchMedia("(pointer: coarse)").matches && navigator.canShare?.({ files: [file] })) {
    try {
      await navigator.share({ files: [file] });
      return true;
    } catch (error) {
      const name = error instanceof DOMException ? error.name : "";
      if (name === "AbortError") return false;
      if (name !== "NotAllowedError") throw error; // the tap was too long ago for a share sheet: download it
    }
  }
  const link = element("a", "", { href: URL.createObjectURL(file), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it meanwhile
  return true;
}

async function deleteExported(journal: Journal, text: Texts): Promise<string | null> {
  if ((await journal.reviewed(true)).length === 0) return text.eventsNoneExported;
  if (!(await ask(text.eventsDeleteAsk, text.eventsDelete, text.cancel))) return null;
  return text.eventsDeleted(await journal.deleteExported());
}

function megabytes(bytes: number): string {
  return `${numberOf(bytes / 1e6, bytes < 10e6 ? 1 : 0)} MB`;
}
