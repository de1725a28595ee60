/** Decide when the siren sounds: from a bear's alarm until somebody silences it, or until the bear has been gone long enough. */

import type { BearEvent } from "./schema";

/** A bear that only passes must still wake a sleeper. */
export const LEAST_S = 60;
/** Nobody saw the bear leave: it may still be there. */
export const UNSEEN_S = 600;
const SURER = "rising score"; // of `escalated`

interface Sounding {
  readonly since: number;
  until: number | null; // null: the bear is in the picture
  left: boolean; // it was seen to leave
}

export class Alarm {
  private readonly sounding = new Map<string, Sounding>();
  private readonly silenced = new Set<string>();
  private readonly inView = new Set<string>();

  /** Take an event of the watch; return whether it is a new alarm that must be heard. */
  event(event: BearEvent, now: number): boolean {
    if (event.kind !== "bear") return false;
    this.forget(now);
    const before = this.sounding.get(event.id);
    if (event.type === "end") {
      this.inView.delete(event.id);
      const left = event.detail === null; // else the detail says why the end was not seen
      if (left) this.silenced.delete(event.id);
      if (before) Object.assign(before, { left, until: left ? before.since + LEAST_S : now + UNSEEN_S });
      return false;
    }
    this.inView.add(event.id);
    if (before) Object.assign(before, { left: false, until: null }); // it is back
    if (before || (event.type !== "new" && event.escalated === null)) return false;
    // A person who silenced a bear knows of it: only what it does is news, not how sure the app is.
    if (event.escalated === SURER && this.silenced.has(event.id)) return false;
    this.silenced.delete(event.id);
    this.sounding.set(event.id, { since: now, until: null, left: false });
    return true;
  }

  /** Return whether the siren must sound now. */
  sounds(now: number): boolean {
    this.forget(now);
    return this.sounding.size > 0;
  }

  /** Return whether every bear was seen to leave the picture. */
  get over(): boolean {
    return this.inView.size === 0 && [...this.sounding.values()].every((each) => each.left);
  }

  /** Return whether a bear that somebody silenced is still in the picture. */
  get quiet(): boolean {
    return [...this.silenced].some((id) => this.inView.has(id));
  }

  /** Silence the bears of now, each until it comes back or enters another zone; another bear sounds. */
  silence(): void {
    for (const [id, each] of this.sounding) if (!each.left) this.silenced.add(id);
    this.sounding.clear();
  }

  /** Take no bear as in view: the detector that saw them is gone, and nobody knows where they are. */
  lost(now: number): void {
    this.inView.clear();
    this.silenced.clear();
    for (const each of this.sounding.values()) each.until ??= now + UNSEEN_S;
  }

  private forget(now: number): void {
    for (const [id, each] of this.sounding) if (each.until !== null && now >= each.until) this.sounding.delete(id);
  }
}
