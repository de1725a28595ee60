/** The list of events: what happened, what a person says of it, and its export. */

import { exportReviewed } from "./export";
import type { Incident, Journal, Review, Verdict } from "./journal";
import type { Texts } from "./text";

const SHOWN = 100; // incidents

/** Show the newest events in `root`, in place of what is there. */
export async function showEvents(root: HTMLElement, journal: Journal, text: Texts): Promise<void> {
  const incidents = await journal.incidents(SHOWN);
  const status = element("p", { className: "events-status" }, { role: "status" });
  const storage = element("p", { className: "events-storage" });
  const again = async (words: string) => {
    await showEvents(root, journal, text);
    const [fresh] = root.getElementsByClassName("events-status");
    if (fresh) fresh.textContent = words;
  };
  const save = element("button", { type: "button", textContent: text.eventsExport, className: "events-main" });
  save.addEventListener("click", () => {
    save.disabled = true;
    void saveReviewed(journal, text)
      .then((words) => (words === null ? undefined : again(words)))
      .catch((error: unknown) => {
        console.error("export:", error);
        status.textContent = text.eventsExportFailed;
      })
      .finally(() => (save.disabled = false));
  });
  const clear = element("button", { type: "button", textContent: text.eventsDelete });
  clear.addEventListener("click", () => void deleteExported(journal, text).then((words) => (words === null ? undefined : again(words))));
  const list = element("ol", { className: "events-list" });
  list.append(...incidents.map((incident) => listItem(incident, journal, text)));
  const trouble = journal.trouble ? [element("p", { className: "events-trouble", textContent: text.eventsTrouble[journal.trouble] }, { role: "alert" })] : [];
  const actions = element("div", { className: "events-actions" });
  actions.append(save, clear);
  const body = incidents.length > 0 ? list : element("p", { textContent: text.eventsNone });
  root.replaceChildren(...trouble, actions, status, body, storage);
  const { used, quota } = await journal.usage();
  storage.textContent = quota > 0 ? text.eventsStored(megabytes(used), megabytes(quota)) : "";
}

function listItem(incident: Incident, journal: Journal, text: Texts): HTMLLIElement {
  const item = element("li", { className: `event event-${incident.events[0].kind}` });
  const when = new Date(incident.began).toLocaleString(localeOf(document.documentElement.lang), { dateStyle: "medium", timeStyle: "medium" });
  const words = element("div", { className: "event-words" });
  const title = element("h3", { textContent: titleOf(incident, text) });
  const time = element("time", { dateTime: new Date(incident.began).toISOString(), textContent: when });
  words.append(title, time, element("p", { textContent: detailsOf(incident, text) }));
  if (!incident.events.every((event) => event.durable)) words.append(element("p", { textContent: text.eventsNotStored }));
  if (incident.picture) item.append(pictureOf(incident.picture, text.eventsPicture(when)));
  else if (incident.events[0].kind === "bear") words.append(element("p", { textContent: text.eventsNoPicture }));
  item.append(words);
  if (incident.events[0].kind === "bear") item.append(reviewForm(incident, `${title.textContent}, ${when}`, journal, text));
  return item;
}

/** Return the phone's own way to write dates, if that is in the app's language. */
function localeOf(language: string): string {
  return navigator.languages.find((each) => each.split("-")[0] === language) ?? language;
}

/** Return the picture. Its address is given back as soon as it is drawn: the list may be shown often. */
function pictureOf(jpeg: Blob, alt: string): HTMLImageElement {
  const picture = element("img", { alt, decoding: "async" });
  const address = URL.createObjectURL(jpeg);
  for (const over of ["load", "error"]) picture.addEventListener(over, () => URL.revokeObjectURL(address), { once: true });
  picture.src = address;
  return picture;
}

function titleOf({ events, label }: Incident, text: Texts): string {
  const [{ kind }] = events;
  if (kind === "bear") return text.eventsSpecies[label ?? ""] ?? text.eventsBear;
  return { camera: text.eventsCamera, health: text.eventsHealth, test: text.eventsTest }[kind];
}

/** Return how sure, how long, where, and whether it is over. */
function detailsOf(incident: Incident, text: Texts): string {
  const { events, topScore, lastedS, zones, state } = incident;
  const isBear = events[0].kind === "bear";
  const found = isBear ? [] : [events[0].detail ?? ""];
  if (isBear && topScore !== null) {
    const words = topScore >= 0.9 ? text.eventsSure : topScore >= 0.7 ? text.eventsLikely : text.eventsMaybe;
    found.push(`${words} (${Math.round(100 * topScore)} %)`);
  }
  if (zones.length > 0) found.push(text.eventsZones(zones.join(", ")));
  if (lastedS !== null) found.push(text.eventsLasted(lasting(lastedS, text)));
  if (state === "going on") found.push(text.eventsGoingOn);
  if (state === "cut off") found.push(text.eventsCutOff);
  return found.filter(Boolean).join(" · ");
}

function lasting(seconds: number, text: Texts): string {
  if (seconds < 90) return text.eventsSeconds(Math.round(seconds));
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? text.eventsMinutes(minutes) : text.eventsHours(Math.floor(minutes / 60), minutes % 60);
}

/** Return the buttons with which a person says what an event shows. They stay where they are, as does the focus. */
function reviewForm(incident: Incident, name: string, journal: Journal, text: Texts): HTMLElement {
  const form = element("fieldset", { className: "event-review" });
  const legend = element("legend", { textContent: text.eventsWhat });
  legend.append(element("span", { className: "visually-hidden", textContent: ` ${name}` }));
  const said = element("p", { className: "event-said" }, { role: "status" });
  const verdicts = { confirmed: text.eventsConfirmed, wrong: text.eventsWrong, unsure: text.eventsUnsure } as const;
  const buttons = (Object.keys(verdicts) as (keyof typeof verdicts)[]).map((verdict) => {
    const button = element("button", { type: "button", textContent: verdicts[verdict] });
    button.addEventListener("click", () => void review(verdict));
    return { verdict, button };
  });
  const choice = element("select", {}, { "aria-label": `${text.eventsOther}, ${name}` });
  choice.append(new Option(`${text.eventsOther} …`, ""), ...Object.entries(text.eventsOthers).map(([label, words]) => new Option(words, label)));
  choice.addEventListener("change", () => choice.value && void review({ label: choice.value }));
  const show = (last: Pick<Review, "verdict" | "label"> | null, exported: boolean) => {
    for (const { verdict, button } of buttons) button.setAttribute("aria-pressed", String(last?.verdict === verdict));
    choice.value = last?.label ?? "";
    const what = last && (last.verdict === "relabelled" ? (text.eventsOthers[last.label ?? ""] ?? last.label ?? "") : verdicts[last.verdict]);
    said.textContent = what ? text.eventsReviewed(what) + (exported ? `, ${text.eventsExported}` : "") : "";
  };
  const review = async (verdict: Verdict) => {
    await journal.review(incident.id, verdict);
    show(typeof verdict === "string" ? { verdict, label: null } : { verdict: "relabelled", label: verdict.label }, false);
  };
  show(incident.review, incident.exported);
  form.append(legend, ...buttons.map(({ button }) => button), choice, said);
  return form;
}

/** Hand the zip to the user; return what to say then, null if the user changed their mind. */
async function saveReviewed(journal: Journal, text: Texts): Promise<string | null> {
  const events = await journal.reviewed();
  if (events.length === 0) return text.eventsNoneReviewed;
  const zip = await exportReviewed(journal, events);
  const day = new Date().toISOString().slice(0, 10);
  if (!(await handOver(new File([zip], `bear-alarm-events-${day}.zip`, { type: "application/zip" })))) return null;
  await journal.markExported(events.map((kept) => kept.id));
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
  const link = element("a", { href: URL.createObjectURL(file), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it meanwhile
  return true;
}

async function deleteExported(journal: Journal, text: Texts): Promise<string | null> {
  if ((await journal.reviewed(true)).length === 0) return text.eventsNoneExported;
  if (!confirm(text.eventsDeleteAsk)) return null;
  return text.eventsDeleted(await journal.deleteExported());
}

function megabytes(bytes: number): string {
  const whole = bytes / 1e6;
  return whole < 1000 ? `${whole.toFixed(whole < 10 ? 1 : 0)} MB` : `${(whole / 1000).toFixed(1)} GB`;
}

function element<K extends keyof HTMLElementTagNameMap>(
  name: K, more: Partial<HTMLElementTagNameMap[K]>, attributes: Readonly<Record<string, string>> = {},
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), more);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}
