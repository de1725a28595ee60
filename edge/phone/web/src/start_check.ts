/** The check before the start: each thing that a lonely phone needs, with its outcome in words and a way on. */

import { problemOf } from "./camera";
import { EVALUATION_ONLY } from "./card";
import { byId, button, element, numberOf } from "./dom";
import { type Installation, installWords, modelFails, modelWorks } from "./install";
import type { Journal } from "./journal";
import type { Failure } from "./protocol";
import type { SettingsChanges } from "./settings_view";
import { Siren } from "./siren";
import { problemWords } from "./status";
import type { Texts } from "./text";
import type { Model, Watch } from "./watch";
import { misplaced } from "./zone_editor";

type Outcome = keyof Texts["outcomes"];
type RowName = keyof Texts["rows"];
type Action = readonly [label: string, act: () => void];
const SIREN_S = 2;
const LOOK_MS = 200; // how often it is asked whether the detector is ready
const LOOK_CROPS = 3; // in a look at something that moves, or more
const MOST_LOOKS = 10; // a second
const FEW_LOOKS = 2; // a second; fewer are slow: an alarm needs some

/** Return about how many looks a second a phone has time for, rounded, and whether that is slow. */
export function speedOf(cropMs: number): { readonly looks: number; readonly slow: boolean } {
  const looks = Math.min(MOST_LOOKS, 1000 / (LOOK_CROPS * cropMs));
  return { looks: looks < FEW_LOOKS ? Math.max(0.1, Math.round(10 * looks) / 10) : Math.round(looks), slow: looks < FEW_LOOKS };
}

export class StartCheck {
  private readonly rows = new Map<RowName, HTMLElement>();
  private readonly passed = new Set<RowName>(); // of those without which there is no start
  private stopped = false;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly watch: Watch,
    private readonly journal: Journal,
    private readonly installation: Installation,
    private readonly text: Texts,
    private readonly change: Pick<SettingsChanges, "sound" | "threshold" | "zones">,
    private readonly openSettings: () => void,
    private readonly modelReady: () => void,
  ) {
    const list = byId("rows", HTMLElement);
    list.replaceChildren();
    for (const name of Object.keys(text.rows) as RowName[]) {
      const row = document.createElement("li");
      row.tabIndex = -1;
      row.dataset.row = name;
      this.rows.set(name, row);
      list.append(row);
      this.tell(name, "wait", "");
    }
  }

  /** Check everything. Call it from a tap, for the sound. */
  run(): void {
    void this.sound(); // first: it needs the tap
    void this.camera();
    this.limits();
    this.battery();
    void this.model();
    void this.rest();
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  /** Show what limits the alarm, from earlier days perhaps; nothing if nothing does. */
  limits(): void {
    const { text, change } = this;
    const { zones, threshold } = this.watch.settings;
    this.rows.get("limits")?.toggleAttribute("hidden", zones.length === 0 && threshold === null);
    const { videoWidth: width, videoHeight: height } = this.watch.camera.video;
    const words = [
      zones.length > 0 ? text.limitsZones(zones.length) : "",
      zones.length > 0 && width > 0 && misplaced(zones, { width, height }) ? text.limitsMisplaced : "",
      threshold !== null ? text.thresholdIs(Math.round(100 * threshold)) : "",
      text.limitsQuestion,
    ];
    const set = (act: () => void): void => {
      act();
      this.limits();
    };
    const actions: Action[] = [[text.limitsChange, this.openSettings]];
    if (zones.length > 0) actions.push([text.limitsDelete, () => set(() => change.zones([]))]);
    if (threshold !== null) actions.push([text.thresholdReset, () => set(() => change.threshold(null))]);
    this.tell("limits", "warn", words, actions);
  }

  /** Show a row's outcome, and the buttons that lead on. */
  private tell(name: RowName, outcome: Outcome, words: string | readonly string[], actions: readonly Action[] = []): void {
    const row = this.rows.get(name);
    const said = JSON.stringify([outcome, words]);
    if (!row || this.stopped || row.dataset["said"] === said) return; // a screen reader reads each change
    row.dataset["said"] = said;
    row.dataset["outcome"] = outcome;
    const title = element("b", `${this.text.rows[name]}: ${this.text.outcomes[outcome]}`);
    const lines = [words].flat().filter((each) => each !== "");
    const buttons = element("p", "", { class: "act" });
    for (const [label, act] of actions) {
      const acts = (): void => {
        act();
        (row.hidden ? byId("check-title", HTMLElement) : row).focus(); // the button that had it is gone
      };
      buttons.append(button(label, acts));
    }
    row.replaceChildren(title, ...lines.map((each) => element("p", each)), ...(actions.length > 0 ? [buttons] : []));
    if (outcome === "ok" || outcome === "warn") this.passed.add(name);
    else this.passed.delete(name);
    const complete = (["model", "camera", "sound"] as const).every((each) => this.passed.has(each));
    byId("start-watching", HTMLButtonElement).disabled = !complete;
    byId("start-missing", HTMLElement).hidden = complete;
  }

  private async camera(): Promise<void> {
    const { text } = this;
    this.tell("camera", "wait", text.cameraAsking);
    try {
      await this.watch.camera.open();
      const size = await this.watch.camera.size();
      if (this.stopped) return;
      if (!size) {
        this.watch.camera.close();
        throw new Error("no picture");
      }
      this.tell("camera", "ok", text.cameraReady(size.width, size.height));
      this.limits(); // whether the zones fit this picture
    } catch (error) {
      const words = problemWords(text, problemOf(error), { detail: String(error) });
      this.tell("camera", "bad", words, [[text.tryAgain, () => void this.camera()]]);
    }
  }

  private async sound(): Promise<void> {
    const { text } = this;
    const again: Action = [text.playAgain, () => void this.sound()];
    const play = (on: boolean): void => {
      this.change.sound(on);
      void this.sound();
    };
    const without: Action = [text.withoutSound, () => play(false)];
    if (!this.watch.soundOn) return this.tell("sound", "warn", text.soundOffChosen, [[text.playSwitchedOn, () => play(true)]]);
    this.tell("sound", "wait", "");
    const played = await this.watch.testSiren(SIREN_S);
    if (!played) {
      this.tell("sound", "bad", text.soundBlocked, [again, without]);
      return;
    }
    const asked = Siren.canVibrate ? [text.heardQuestion, text.heardVibration] : [text.heardQuestion];
    this.tell("sound", "ask", asked, [
      [text.heardYes, () => this.tell("sound", "ok", text.heardOk)],
      [text.heardNo, () => this.tell("sound", "bad", text.heardSteps, [again, without])],
    ]);
  }

  /** Show how far the download is. */
  progress(): void {
    const { state, percent } = this.installation;
    if (state === "running") this.tell("model", "wait", this.text.installProgress(percent));
  }

  private async model(): Promise<void> {
    const { text } = this;
    const again: Action = [text.tryAgain, () => void this.model()];
    let model: Model;
    try {
      const coming = this.installation.prepare();
      this.progress();
      model = await coming;
      if (this.stopped) return;
      this.tell("model", "wait", text.modelStarting);
      await this.watch.load(model);
      if (this.stopped) return;
    } catch (error) {
      console.error("no model", error);
      this.tell("model", "bad", installWords(error, text), [again]);
      return;
    }
    clearInterval(this.timer);
    this.timer = setInterval(() => {
      const { ready, failure } = this.watch;
      if (!ready && !failure) return;
      clearInterval(this.timer);
      if (ready) {
        const { looks, slow } = speedOf(ready.cropMs);
        const speed = slow ? text.modelSlow(numberOf(looks)) : text.modelFast(numberOf(looks));
        const notice = ready.notice === EVALUATION_ONLY ? text.modelEvaluation : (ready.notice ?? "");
        this.tell("model", slow || notice ? "warn" : "ok", [text.modelReady, speed, notice]);
        void modelWorks(model.sha256);
        this.modelReady();
      } else if (failure) void this.modelFailed(failure, model.sha256);
    }, LOOK_MS);
  }

  /** A model that does not work gives way to the one before, if the phone still has it. */
  private async modelFailed(failure: Failure, sha256: string): Promise<void> {
    const { text } = this;
    const another = await modelFails(sha256, failure);
    if (this.stopped) return;
    if (another) return this.model();
    this.tell("model", "bad", problemWords(text, failure), [[text.tryAgain, () => void this.model()]]);
  }

  private async rest(): Promise<void> {
    const { text } = this;
    const held = await this.watch.wake.hold();
    if (held === "held") this.tell("screen", "ok", text.screenHeld);
    else this.tell("screen", "warn", problemWords(text, held === "missing" ? "screen-missing" : "screen-refused"));
    const kept = await this.journal.persisted();
    this.tell("storage", kept ? "ok" : "warn", kept ? text.storageKept : text.storageMayGo);
  }

  /** Show the battery as it is now. */
  battery(): void {
    const { text } = this;
    const { battery } = this.watch.power;
    const percent = battery ? Math.round(100 * battery.level) : 0;
    if (!battery) this.tell("battery", "warn", text.batteryUnknown);
    else if (battery.charging) this.tell("battery", "ok", text.batteryCharging(percent));
    else this.tell("battery", "warn", text.batteryAlone(percent));
  }
}
