/** The settings: when to alarm, sound, zones, language. */

import { problemOf } from "./camera";
import { byId, button, element, put } from "./dom";
import { problemWords } from "./status";
import { LANGUAGE_NAMES, type Texts } from "./text";
import type { Watch } from "./watch";
import type { DrawnZone } from "./zone_editor";

const TEST_S = 2;

export interface SettingsChanges {
  threshold(threshold: number | null): void;
  sound(on: boolean): void;
  zones(zones: readonly DrawnZone[]): void;
  language(language: string | null): void; // null: as the phone
  drawZone(): void;
}

export class SettingsView {
  private readonly threshold = byId("threshold", HTMLInputElement);
  private readonly sound = byId("sound", HTMLInputElement);
  private readonly language = byId("language", HTMLSelectElement);

  constructor(
    private readonly watch: Watch,
    private readonly change: SettingsChanges,
    private text: Texts,
  ) {
    this.threshold.addEventListener("input", () => this.sayThreshold(this.threshold.valueAsNumber / 100));
    this.threshold.addEventListener("change", () => this.setThreshold(this.threshold.valueAsNumber / 100));
    byId("threshold-reset", HTMLButtonElement).addEventListener("click", () => this.setThreshold(null));
    this.sound.addEventListener("change", () => change.sound(this.sound.checked));
    byId("sound-test", HTMLButtonElement).addEventListener("click", () => void watch.testSiren(TEST_S));
    byId("zone-draw", HTMLButtonElement).addEventListener("click", () => void this.drawZone());
    this.language.addEventListener("change", () => change.language(this.language.value || null));
  }

  /** Show the settings as they are. */
  show(text: Texts, language: string | null, modelThreshold: number | undefined): void {
    this.text = text;
    this.modelThreshold = modelThreshold;
    const threshold = this.watch.settings.threshold ?? modelThreshold;
    this.threshold.disabled = threshold === undefined; // no model was here yet
    if (threshold !== undefined) this.threshold.valueAsNumber = Math.round(100 * threshold);
    this.sayThreshold(threshold);
    this.sound.checked = this.watch.soundOn;
    this.showZones();
    const options = [["", text.languageOfPhone], ...Object.entries(LANGUAGE_NAMES)];
    this.language.replaceChildren(...options.map(([value, name]) => new Option(name, value, false, value === (language ?? ""))));
  }

  private modelThreshold: number | undefined;

  private setThreshold(threshold: number | null): void {
    this.change.threshold(threshold);
    const shown = threshold ?? this.modelThreshold;
    if (shown !== undefined) this.threshold.valueAsNumber = Math.round(100 * shown);
    this.sayThreshold(shown);
  }

  private sayThreshold(threshold: number | undefined): void {
    const own = this.watch.settings.threshold === null ? this.text.thresholdDefault : "";
    const words = threshold === undefined ? "" : this.text.thresholdIs(Math.round(100 * threshold));
    put(byId("threshold-is", HTMLElement), `${words} ${own}`.trim());
    this.threshold.setAttribute("aria-valuetext", words);
    byId("threshold-reset", HTMLButtonElement).disabled = this.watch.settings.threshold === null;
  }

  private showZones(): void {
    const { zones } = this.watch.settings;
    byId("zones-none", HTMLElement).hidden = zones.length > 0;
    for (const id of ["zone-problem", "zones-said"]) put(byId(id, HTMLElement), "");
    const items = zones.map((zone) => {
      const item = element("li", "");
      const remove = button(this.text.zoneDelete(zone.name), () => {
        this.change.zones(zones.filter((each) => each !== zone));
        this.showZones();
        byId("zone-draw", HTMLButtonElement).focus(); // the button that had it is gone
      });
      item.append(element("span", zone.name), remove);
      return item;
    });
    byId("zones", HTMLElement).replaceChildren(...items);
  }

  /** Show that a zone was saved, with the list of zones in view. */
  showSaved(name: string): void {
    put(byId("zones-said", HTMLElement), this.text.zoneSaved(name));
    const title = byId("zones-title", HTMLElement);
    title.scrollIntoView();
    title.focus();
  }

  private async drawZone(): Promise<void> {
    try {
      await this.watch.camera.open();
      this.change.drawZone();
    } catch (error) {
      const words = problemWords(this.text, problemOf(error), { detail: String(error) });
      put(byId("zone-problem", HTMLElement), words.join(" "));
    }
  }
}
