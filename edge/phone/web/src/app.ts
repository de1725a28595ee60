/** The page: opens the journal, goes from screen to screen, and binds what the user presses. */

import { ask, byId, put, putTexts } from "./dom";
import { showEvents } from "./event_list";
import { Installation, installWords, restart, watchForUpdates } from "./install";
import { Journal } from "./journal";
import { type SettingsChanges, SettingsView } from "./settings_view";
import { Siren } from "./siren";
import { StartCheck } from "./start_check";
import { problemWords } from "./status";
import { textsFor } from "./text";
import { Watch } from "./watch";
import { WatchView } from "./watch_view";
import { type DrawnZone, ZoneEditor } from "./zone_editor";

const SCREENS = ["start", "check", "watch", "events", "settings", "zone"] as const;
type Screen = (typeof SCREENS)[number];

const journal = await Journal.open();
let chosen = journal.setting<string | null>("language") ?? null; // null: as the phone
let modelThreshold = journal.setting<number>("modelThreshold");
let { language, text } = textsFor(chosen ? [chosen] : navigator.languages);
let check: StartCheck | null = null;
let updates = false; // it is looked for newer versions
let shown: Screen = "start";

const video = byId("picture", HTMLElement).querySelector("video");
if (!video) throw new Error("the page has no video");
const settings = {
  threshold: journal.setting<number | null>("threshold") ?? null,
  zones: journal.setting<readonly DrawnZone[]>("zones") ?? [],
};
const watch = new Watch(video, journal, settings, journal.setting<boolean>("sound") ?? true, changed);
const view = new WatchView(watch);
const installation = new Installation();
const editor = new ZoneEditor(watch, (zone) => {
  if (zone) keepZones([...watch.settings.zones, zone]);
  go("settings");
  if (zone) settingsView.showSaved(zone.name);
});
const changes: SettingsChanges = {
  threshold: (threshold) => {
    watch.use({ ...watch.settings, threshold });
    void journal.set("threshold", threshold);
  },
  sound: keepSound,
  zones: keepZones,
  language: speak,
  drawZone: () => {
    if (shown !== "settings") return leaveCamera(); // the user went on while it opened
    go("zone");
    editor.open(text);
  },
};
const settingsView = new SettingsView(watch, changes, text);

function changed(alarmed: boolean): void {
  if (alarmed) {
    for (const each of document.querySelectorAll("dialog")) each.close();
    go("watch");
    byId("silence", HTMLButtonElement).focus();
  }
  view.draw(text);
}

function keepZones(zones: readonly DrawnZone[]): void {
  watch.use({ ...watch.settings, zones });
  void journal.set("zones", zones);
}

function keepSound(on: boolean): void {
  watch.soundOn = on;
  if (on) void watch.siren.unlock();
  void journal.set("sound", on);
}

function speak(to: string | null): void {
  chosen = to;
  void journal.set("language", to);
  ({ language, text } = textsFor(to ? [to] : navigator.languages));
  check?.stop(); // its words are of the language before
  check = null;
  leaveCamera();
  putTexts(text, language);
  settingsView.show(text, chosen, modelThreshold);
  drawInstallation();
  view.draw(text);
}

/** Show on the first page how far the download is, and on the check. */
function drawInstallation(): void {
  const { state, percent } = installation;
  const words = state === "running" ? text.installProgress(percent) : state === "done" ? text.modelReady : installWords(state.error, text);
  put(byId("install-said", HTMLElement), words);
  byId("install-said", HTMLElement).dataset["outcome"] = state === "running" ? "wait" : state === "done" ? "ok" : "bad";
  byId("install-again", HTMLButtonElement).hidden = typeof state === "string";
  check?.progress();
}

function install(): void {
  installation.prepare().catch((error: unknown) => console.error("not ready to work without signal:", error));
}

/** Return the screen that "Watch" leads to. */
function home(): Screen {
  if (watch.running) return "watch";
  return check ? "check" : "start";
}

/** Close the camera if it was opened only to draw a zone. */
function leaveCamera(): void {
  if (!watch.running && !check) watch.camera.close();
}

function go(screen: Screen): void {
  if (shown === "zone" && screen !== "zone") {
    editor.leave();
    leaveCamera();
  }
  shown = screen;
  document.body.dataset["screen"] = screen;
  for (const each of SCREENS) byId(each, HTMLElement).hidden = each !== screen;
  const tab = screen === "zone" ? "settings" : screen === "events" || screen === "settings" ? screen : "watch";
  for (const each of document.querySelectorAll<HTMLElement>("nav button")) {
    if (each.dataset["go"] === tab) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  if (screen === "settings") settingsView.show(text, chosen, modelThreshold);
  if (screen === "events") showEvents(byId("event-list", HTMLElement), journal, text).catch(fault);
  if (screen === "check") check?.limits(); // the settings may be others
  view.draw(text);
  const panel = byId(screen, HTMLElement);
  panel.scrollTop = 0;
  panel.querySelector("h2")?.focus();
}

function startCheck(): void {
  check?.stop();
  check = new StartCheck(watch, journal, installation, text, changes, () => go("settings"), modelReady);
  go("check");
  check.run();
}

function modelReady(): void {
  modelThreshold = watch.ready?.threshold;
  void journal.set("modelThreshold", modelThreshold);
  if (updates) return;
  updates = true;
  watchForUpdates((what) => {
    put(byId("update-what", HTMLElement), `${text.installOffer[what]} ${text.updateStops}`);
    byId("update", HTMLElement).hidden = false;
  }).catch(fault);
}

async function stop(): Promise<void> {
  check?.stop();
  check = null;
  await watch.end(); // the first page then says that all is stored
  if (!check && (shown === "check" || shown === "watch")) go("start");
}

function fault(error: unknown): void {
  console.error(error);
  const detail = error instanceof Error ? error.message : String(error);
  watch.report("internal", { detail });
  if (watch.running) return;
  put(byId("fault", HTMLElement), problemWords(text, "internal", { detail }).join(" "));
  byId("fault", HTMLElement).hidden = false;
}

function onClick(id: string, act: () => void): void {
  byId(id, HTMLButtonElement).addEventListener("click", act);
}

onClick("install-again", () => {
  install();
  byId("start-title", HTMLElement).focus(); // the button that had it is gone
});
onClick("check-start", startCheck);
onClick("check-back", () => void stop());
onClick("start-watching", () => {
  if (!check) return; // "Back" was tapped
  check.stop();
  check = null;
  watch.begin();
  go("watch");
});
onClick("silence", () => {
  watch.silence();
  byId("state-word", HTMLElement).focus(); // the button that had it is gone
  if (watch.silenced) put(byId("say-later", HTMLElement), text.silenced);
});
onClick("torch", () => {
  watch.camera
    .light(!watch.camera.torch)
    .then(() => view.draw(text))
    .catch(fault);
});
onClick("stop", async () => {
  if (await ask(text.stopQuestion, text.stop, text.stopKeep)) await stop();
});
onClick("bar", () => go("watch"));
onClick("update-restart", () => void watch.end().then(restart).catch(fault));
for (const each of document.querySelectorAll<HTMLElement>("nav button")) {
  const to = each.dataset["go"];
  each.addEventListener("click", () => go(to === "events" || to === "settings" ? to : home()));
}
addEventListener("error", (event) => fault(event.error ?? event.message));
addEventListener("unhandledrejection", (event) => fault(event.reason));
addEventListener("pointerdown", () => void watch.siren.resume()); // a tap lets the sound go on
addEventListener("resize", () => view.draw(text));
addEventListener("beforeunload", (event) => {
  if (watch.running) event.preventDefault(); // the browser asks before it leaves
});

byId("limit-vibration", HTMLElement).hidden = Siren.canVibrate;
putTexts(text, language);
installation.onChange = drawInstallation;
install();
const power = (): void => {
  check?.battery();
  view.draw(text);
};
watch.power.listen(power).catch(fault);
go("start");
