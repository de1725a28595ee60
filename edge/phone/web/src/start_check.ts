/** The check before the start: each thing that a lonely phone needs, with its outcome in words and a way on. */

import { problemOf } from "./camera";
import { byId, button, element } from "./dom";
import { type Prepared, installWords, modelFails, modelWorks, prepare } from "./install";
import type { Journal } from "./journal";
import type { Failure } from "./protocol";
import { Siren } from "./siren";
import { problemWords } from "./status";
import type { Sentence, Texts } from "./text";
import type { Watch } from "./watch";

type Outcome = "wait" | "ok" | "warn" | "bad" | "ask";
type RowName = "model" | "camera" | "sound" | "screen" | "storage" | "battery";

const TITLES: Readonly<Record<RowName, Sentence>> = {
  sound: "checkSound",
  camera: "checkCamera",
  model: "checkModel",
  screen: "checkScreen",
  storage: "checkStorage",
  battery: "checkBattery",
};
const OUTCOMES: Readonly<Record<Outcome, Sentence>> = {
  wait: "rowWait",
  ok: "rowOk",
  warn: "rowWarn",
  bad: "rowBad",
  ask: "rowAsk",
};
type Action = readonly [label: string, act: () => void];
const SIREN_S = 2;
const LOOK_MS = 200; // how often it is asked whether the detector is ready

export class StartCheck {
  private readonly rows = new Map<RowName, HTMLElement>();
  private readonly passed = new Set<RowName>(); // of those without which there is no start
  private stopped = false;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly watch: Watch,
    private readonly journal: Journal,
    private readonly text: Texts,
    private readonly soundChosen: (on: boolean) => void,
    private readonly modelReady: () => void,
  ) {
    const list = byId("rows", HTMLElement);
    list.replaceChildren();
    for (const name of Object.keys(TITLES) as RowName[]) {
      const row = document.createElement("li");
      row.tabIndex = -1;
      this.rows.set(name, row);
      list.append(row);
      this.tell(name, "wait", "");
    }
  }

  /** Check everything. Call it from a tap, for the sound. */
  run(): void {
    void this.sound(); // first: it needs the tap
    void this.camera();
    void this.model();
    void this.rest();
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  /** Show a row's outcome, and the buttons that lead on. */
  private tell(name: RowName, outcome: Outcome, words: string | readonly string[], actions: readonly Action[] = []): void {
    const row = this.rows.get(name);
    const said = JSON.stringify([outcome, words]);
    if (!row || this.stopped || row.dataset["said"] === said) return; // a screen reader reads each change
    row.dataset["said"] = said;
    row.dataset["outcome"] = outcome;
    const title = element("b", `${this.text[TITLES[name]]}: ${this.text[OUTCOMES[outcome]]}`);
    const lines = [words].flat().filter((each) => each !== "");
    const buttons = element("p", "", { class: "act" });
    for (const [label, act] of actions) {
      const acts = (): void => {
        act();
        row.focus(); // the button that had it is gone
      };
      buttons.append(button(label, acts));
    }
    row.replaceChildren(title, ...lines.map((each) => element("p", each)), ...(actions.length > 0 ? [buttons] : []));
    if (outcome === "ok" || (name === "sound" && outcome === "warn")) this.passed.add(name);
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
      if (this.stopped && !this.watch.running) return this.watch.camera.close(); // the user went back meanwhile
      const { videoWidth: width, videoHeight: height } = this.watch.camera.video;
      this.tell("camera", "ok", text.cameraReady(width, height));
    } catch (error) {
      const words = problemWords(text, problemOf(error), { detail: String(error) });
      this.tell("camera", "bad", words, [[text.tryAgain, () => void this.camera()]]);
    }
  }

  private async sound(): Promise<void> {
    const { text } = this;
    const again: Action = [text.playAgain, () => void this.sound()];
    const without: Action = [text.withoutSound, () => this.answer(false)];
    this.tell("sound", "wait", "");
    const played = await this.watch.testSiren(SIREN_S);
    if (!played) {
      this.tell("sound", "bad", text.soundBlocked, [again, without]);
      return;
    }
    const asked = Siren.canVibrate ? [text.heardQuestion, text.heardVibration] : [text.heardQuestion];
    this.tell("sound", "ask", asked, [
      [text.heardYes, () => this.answer(true)],
      [text.heardNo, () => this.tell("sound", "bad", text.heardSteps, [again, without])],
    ]);
  }

  private answer(heard: boolean): void {
    this.soundChosen(heard);
    if (heard) this.tell("sound", "ok", this.text.heardOk);
    else this.tell("sound", "warn", this.text.soundOffChosen, [[this.text.playAgain, () => void this.sound()]]);
  }

  private async model(): Promise<void> {
    const { text } = this;
    const again: Action = [text.tryAgain, () => void this.model()];
    this.tell("model", "wait", text.installProgress(0));
    let model: Prepared;
    try {
      model = await prepare((share) => this.tell("model", "wait", text.installProgress(10 * Math.floor(10 * share))));
      if (this.stopped) return;
      this.tell("model", "wait", text.modelStarting);
      await this.watch.load(model);
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
        this.tell("model", "ok", [text.modelReady(Math.round(ready.cropMs)), ready.notice ?? ""]);
        void modelWorks(model.sha256);
        this.modelReady();
      } else if (failure) void this.modelFailed(failure, model.sha256);
    }, LOOK_MS);
  }

  /** A model that does not work gives way to the one before, if the phone still has it. */
  private async modelFailed(failure: Failure, sha256: string): Promise<void> {
    const { text } = this;
    if (await modelFails(sha256, failure)) return this.model();
    this.tell("model", "bad", problemWords(text, failure), [[text.tryAgain, () => void this.model()]]);
  }

  private async rest(): Promise<void> {
    const { text } = this;
    const held = await this.watch.wake.hold();
    if (held === "held") this.tell("screen", "ok", text.screenHeld);
    else this.tell("screen", "warn", held === "missing" ? text.screenMissing : text.screenRefused);
    const kept = await this.journal.persisted();
    this.tell("storage", kept ? "ok" : "warn", kept ? text.storageKept : text.storageMayGo);
    const { battery } = this.watch.power;
    const percent = battery ? Math.round(100 * battery.level) : 0;
    if (!battery) this.tell("battery", "warn", text.batteryUnknown);
    else if (battery.charging) this.tell("battery", "ok", text.batteryCharging(percent));
    else this.tell("battery", "warn", text.batteryAlone(percent));
  }
}
