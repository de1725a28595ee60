/** Draw the watch on the page: the big state, the boxes, the figures, what is wrong. */

import { CAMERA_PROBLEMS } from "./camera";
import { byId, button, element, momentOf, numberOf, put, setIcon, timeOf } from "./dom";
import { drawMarks, drawZones, overlay } from "./overlay";
import { MODEL_FAILURES } from "./protocol";
import { type Problem, type State, problemWords } from "./status";
import type { Texts } from "./text";
import type { Watch } from "./watch";

const WITH_AGAIN: ReadonlySet<Problem["kind"]> = new Set<Problem["kind"]>([...CAMERA_PROBLEMS, ...MODEL_FAILURES]);

export class WatchView {
  private shown = ""; // the problems on the page
  private said: State | null = null;

  constructor(private readonly watch: Watch) {}

  /** Show what is true now. */
  draw(text: Texts): void {
    const state = this.watch.state;
    this.drawState(state, text);
    this.drawProblems(text);
    this.drawFigures(text);
    if (document.body.dataset["screen"] === "watch") this.drawPicture(text);
    if (state !== this.said && this.watch.running) {
      this.said = state;
      if (state === "bear") put(byId("say-now", HTMLElement), text.saidBear(timeOf(Date.now())));
      else put(byId("say-later", HTMLElement), text.states[state].join(". "));
    }
  }

  private drawPicture(text: Texts): void {
    const drawing = overlay(this.watch.camera.video, byId("picture", HTMLElement));
    if (!drawing) return;
    drawZones(drawing, this.watch.settings.zones);
    drawMarks(drawing, this.watch.freshMarks, text);
  }

  private drawState(state: State, text: Texts): void {
    const [word, hint] = text.states[state];
    const panel = byId("state", HTMLElement);
    panel.dataset["state"] = state;
    setIcon(panel, state);
    put(byId("state-word", HTMLElement), word);
    const left = state === "bear" && this.watch.bearLeft;
    put(byId("state-hint", HTMLElement), left ? text.hintBearOver : hint);
    const bar = byId("bar", HTMLButtonElement);
    bar.hidden = !this.watch.running || document.body.dataset["screen"] === "watch"; // there it is shown large
    bar.dataset["state"] = state;
    setIcon(bar, state);
    put(bar.querySelector("span") ?? bar, word);
    byId("flash", HTMLElement).hidden = !this.watch.sounding;
    const silence = byId("silence", HTMLButtonElement);
    silence.hidden = !this.watch.noisy;
    put(silence.querySelector("span") ?? silence, this.watch.sounding && !this.watch.soundOn ? text.stopFlashing : text.silence);
    byId("silence-hint", HTMLElement).hidden = !this.watch.sounding;
    byId("silenced", HTMLElement).hidden = !this.watch.silenced;
    byId("slow", HTMLElement).hidden = !this.watch.slow;
    byId("sound-off", HTMLElement).hidden = this.watch.soundOn;
    const torch = byId("torch", HTMLButtonElement);
    torch.hidden = !this.watch.camera.hasTorch;
    put(torch, this.watch.camera.torch ? text.torchOff : text.torchOn);
  }

  private drawProblems(text: Texts): void {
    const problems = this.watch.troubles;
    const now = JSON.stringify([text.appName, problems]);
    if (now === this.shown) return;
    this.shown = now;
    byId("problems", HTMLElement).replaceChildren(...problems.map((each) => this.item(each, text)));
  }

  private item(problem: Problem, text: Texts): HTMLElement {
    const item = document.createElement("li");
    item.append(...problemWords(text, problem.kind, problem.values).map((each) => element("p", each)));
    if (WITH_AGAIN.has(problem.kind)) item.append(button(text.tryAgain, () => void this.watch.again()));
    else if (problem.past || problem.kind === "internal") {
      item.append(
        button(text.dismiss, () => {
          this.watch.clear(problem.kind);
          this.draw(text);
        }),
      );
    }
    return item;
  }

  private drawFigures(text: Texts): void {
    const { watch } = this;
    const { battery } = watch.power;
    const age = text.agoSeconds(Math.round(watch.ageS));
    put(byId("figure-look", HTMLElement), watch.looked ? age : text.noneYet);
    put(byId("figure-rate", HTMLElement), numberOf(watch.rate));
    const level = battery ? `${Math.round(100 * battery.level)} %` : text.unknown;
    put(byId("figure-battery", HTMLElement), battery?.charging ? `${level}, ${text.charging}` : level);
    put(byId("figure-model", HTMLElement), watch.ready?.model ?? text.unknown);
    const bear = watch.lastBear;
    put(byId("figure-bear", HTMLElement), bear ? momentOf(Date.parse(bear.captured_at)) : text.noneYet);
  }
}
