/** When the siren sounds: from a bear's alarm until somebody silences it, or until the bear has been gone long enough. */

import { type BearEvent, alarms } from "./schema";

/** A bear that only passes must still wake a sleeper. */
export const LEAST_S = 60;

interface Sounding {
  readonly since: number;
  over: boolean;
}

export class Alarm {
  private readonly sounding = new Map<string, Sounding>();
  private readonly silenced = new Set<string>();
  private readonly inView = new Set<string>();

  /** Take an event of the watch; return whether it is a new alarm that must be heard. */
  event(event: BearEvent, now: number): boolean {
    if (event.kind !== "bear") return false;
    const before = this.sounding.get(event.id);
    if (event.type === "end") {
      this.inView.delete(event.id);
      this.silenced.delete(event.id);
      if (before) before.over = true;
      return false;
    }
    this.inView.add(event.id);
    if (!alarms(event) || before || this.silenced.has(event.id)) return false;
    this.sounding.set(event.id, { since: now, over: false });
    return true;
  }

  /** Return whether the siren must sound now. */
  sounds(now: number): boolean {
    for (const [id, each] of this.sounding) if (each.over && now - each.since >= LEAST_S) this.sounding.delete(id);
    return this.sounding.size > 0;
  }

  /** Return whether every bear that sounds has left the picture. */
  get over(): boolean {
    return this.inView.size === 0;
  }

  /** Silence what sounds; another incident sounds again. */
  silence(): void {
    for (const id of this.sounding.keys()) if (this.inView.has(id)) this.silenced.add(id);
    this.sounding.clear();
  }

  /** Take every bear as gone: the detector that saw them is. */
  lost(): void {
    this.inView.clear();
    this.silenced.clear();
    for (const each of this.sounding.values()) each.over = true;
  }
}
