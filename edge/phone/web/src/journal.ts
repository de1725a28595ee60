/**
 * The journal of events with their pictures, in IndexedDB: what `edge/record` is to the device.
 *
 * What cannot be written waits in memory and is shown from there, so that no trouble of the storage stops the alarm.
 */

import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import { isQuotaError } from "./download";
import type { CropNote, Published, Reviewed } from "./protocol";
import type { BearEvent } from "./schema";

/** A review as in `edge/record/review.py`. */
export interface Review {
  readonly verdict: "confirmed" | "wrong" | "relabelled" | "unsure";
  readonly at: string; // ISO 8601, UTC
  readonly label: string | null;
}

export type Verdict = "confirmed" | "wrong" | "unsure" | { readonly label: string };
export type Trouble = "full" | "broken";

/** What is kept of one incident, without its pictures. */
export interface Kept {
  readonly id: string;
  readonly began: number; // milliseconds since 1970, of its first event
  readonly events: readonly BearEvent[];
  readonly reviews: readonly Review[]; // the last one holds
  readonly exported: boolean; // since its last review
  readonly bytes: number; // of its pictures
}

/** Its pictures, JPEG. `full` is the frame of the alarm, for which the first event has the box. */
export interface Pictures {
  readonly full: ArrayBuffer | null;
  readonly crop: ArrayBuffer | null;
  readonly cropNote: CropNote | null;
}

export interface Incident extends Kept {
  readonly state: "over" | "going on" | "cut off"; // cut off: the app ended before it did
  readonly label: string | null;
  readonly topScore: number | null;
  readonly lastedS: number | null; // null: it has but one event
  readonly zones: readonly string[];
  readonly review: Review | null;
  readonly picture: Blob | null; // the crop; without one the whole frame
}

interface Tables extends DBSchema {
  incidents: { key: string; value: Kept; indexes: { began: number } };
  pictures: { key: string; value: Pictures };
  settings: { key: string; value: unknown };
}

const VERSION = 1; // of the tables
const MAX_BYTES = 300e6; // of pictures
const MAX_SHARE = 0.6; // of what the browser gives, for pictures
const MAX_FREED = 20e6; // at once, when the storage is full: some browsers free what was deleted only later
const MAX_EVENTS = 5000;
const TIDY_EVERY = 20; // events: the limits need not be exact
const OPEN_MS = 5000; // a database that does not open must not hold up the alarm
const MAX_WAITING = 200; // incidents in memory
const WAITING_PICTURES = 20; // of the newest of them
const REVIEWED_S = 24 * 3600;
const ALARM_LABELS = ["brown_bear", "black_bear", "polar_bear"]; // as in train/data/pictures.py
const NO_PICTURES: Pictures = { full: null, crop: null, cropNote: null };

export class Journal {
  readonly bootId = newId();
  /** Called when storing fails, and with null when it works again. */
  onTrouble: ((trouble: Trouble | null) => void) | null = null;
  /** Called after a review, for the repeat-alarm filter. */
  onReview: ((reviewed: Reviewed) => void) | null = null;

  readonly #name: string;
  readonly #notesBootId = newId(); // the worker counts the events of `bootId` itself
  readonly #openNotes = new Map<string, string>(); // detail -> id
  readonly #waiting = new Map<string, { kept: Kept; pictures: Pictures }>();
  readonly #settings = new Map<string, unknown>(); // that could not be stored
  #db: IDBPDatabase<Tables> | null = null;
  #seq = 0;
  #untidied = TIDY_EVERY; // events written since the limits were looked at
  #camera = "phone";
  #trouble: Trouble | null = null;
  #last: Promise<unknown> = Promise.resolve(); // writes come one after the other

  private constructor(name: string) {
    this.#name = name;
  }

  /** Open the journal. One that cannot be opened keeps everything in memory. */
  static async open(name = "bear-alarm"): Promise<Journal> {
    const journal = new Journal(name);
    navigator.locks
      ?.request(lockOf(journal.bootId), () => new Promise(() => {})) // held while the page lives
      .catch((error: unknown) => console.error("journal:", error));
    await journal.#tried(async (db) => {
      for (const kept of await db.getAll("incidents")) {
        for (const event of kept.events) journal.#seq = Math.max(journal.#seq, event.seq);
      }
    });
    return journal;
  }

  /** What is wrong with the storage now. */
  get trouble(): Trouble | null {
    return this.#trouble;
  }

  /** Return the number of the next event. It goes on over reloads. */
  nextSeq(): number {
    return ++this.#seq;
  }

  /** Keep an event, then its pictures. Resolves once both are stored, or wait in memory. */
  async add({ event, full, crop, cropNote }: Published): Promise<void> {
    this.#seq = Math.max(this.#seq, event.seq);
    if (event.kind === "bear") this.#camera = event.camera;
    const kept: Kept = { id: event.id, began: Date.parse(event.captured_at), events: [event], reviews: [], exported: false, bytes: 0 };
    this.#wait(kept, NO_PICTURES);
    const line = this.#flush();
    const ofAlarm = event.type === "new" ? full : null;
    if (ofAlarm || crop) {
      const [fullData, cropData] = await Promise.all([ofAlarm?.arrayBuffer(), crop?.arrayBuffer()]);
      this.#wait(kept, { full: fullData ?? null, crop: cropData ?? null, cropNote });
      await this.#flush();
    }
    await line;
  }

  /** Keep a health event of the app itself; "end" ends the one with the same words, else the last one. */
  async note(type: "new" | "end", detail: string): Promise<void> {
    const words = this.#openNotes.has(detail) ? detail : [...this.#openNotes.keys()].at(-1);
    const id = (type === "end" && words !== undefined && this.#openNotes.get(words)) || newId();
    if (type === "new") this.#openNotes.set(detail, id);
    else if (words !== undefined) this.#openNotes.delete(words);
    const event: BearEvent = {
      kind: "health", type, id, seq: this.nextSeq(), boot_id: this.#notesBootId, camera: this.#camera,
      captured_at: new Date().toISOString(), clock_synced: null, track: null, label: null, score: null, top_score: null,
      box_xywh: null, media_time_s: null, latency_ms: null, onset_s: null, durable: false, model: null, evidence: null,
      detail, zones: [], escalated: null, file: null, quiet: null, schema_version: 1,
    };
    await this.add({ event, full: null, crop: null, cropNote: null });
  }

  /** Return the newest incidents, the newest first. */
  async incidents(limit: number): Promise<Incident[]> {
    const alive = await this.#alive();
    const found: Incident[] = [];
    for (const kept of (await this.#all()).slice(-limit).reverse()) {
      const { full, crop } = await this.pictures(kept.id);
      const jpeg = crop ?? full;
      found.push(described(kept, alive, jpeg && new Blob([jpeg], { type: "image/jpeg" })));
    }
    return found;
  }

  /** Return the pictures of an incident. */
  async pictures(id: string): Promise<Pictures> {
    const stored = await this.#tried((db) => db.get("pictures", id));
    return newest(stored, this.#waiting.get(id)?.pictures ?? NO_PICTURES);
  }

  /** Note what a person saw. The last review of an incident holds. */
  async review(id: string, verdict: Verdict): Promise<void> {
    const at = new Date().toISOString();
    const review: Review =
      typeof verdict === "string" ? { verdict, at, label: null } : { verdict: "relabelled", at, label: verdict.label };
    let event: BearEvent | undefined;
    await this.#change([id], (kept) => {
      event = kept.events[0];
      const last = kept.reviews.at(-1);
      if (last?.verdict === review.verdict && last.label === review.label) return kept;
      return { ...kept, reviews: [...kept.reviews, review], exported: false };
    });
    if (event?.box_xywh) this.onReview?.({ event: id, box: event.box_xywh, agoS: 0, wrong: isWrong(review) });
  }

  /** Return the reviews of the last day that say that no bear was there. */
  async reviews(): Promise<Reviewed[]> {
    const found: Reviewed[] = [];
    for (const { id, events, reviews } of await this.#all()) {
      const review = reviews.at(-1);
      const box = events[0]?.box_xywh;
      if (!review || !box || !isWrong(review)) continue;
      const agoS = Math.max((Date.now() - Date.parse(review.at)) / 1000, 0);
      if (agoS < REVIEWED_S) found.push({ event: id, box, agoS, wrong: true });
    }
    return found;
  }

  /** Return the reviewed bear events, the oldest first; `exported` alone if it is true. */
  async reviewed(exported = false): Promise<Kept[]> {
    return (await this.#all()).filter((kept) => isBear(kept) && kept.reviews.length > 0 && (kept.exported || !exported));
  }

  /** Note that these incidents were exported. */
  async markExported(ids: readonly string[]): Promise<void> {
    await this.#change(ids, (kept) => ({ ...kept, exported: true }));
  }

  /** Delete the incidents that were exported since their last review; return how many. */
  async deleteExported(): Promise<number> {
    const ids = (await this.reviewed(true)).map((kept) => kept.id);
    for (const id of ids) this.#waiting.delete(id);
    const done = await this.#inTurn(() => this.#tried((db) => remove(db, ids).then(() => true)));
    return done ? ids.length : 0;
  }

  /** Return a setting; with a value, store it first. */
  async setting<T>(key: string, value?: T): Promise<T | undefined> {
    if (value !== undefined) {
      this.#settings.set(key, value);
      await this.#flush();
      return value;
    }
    const found = this.#settings.has(key) ? this.#settings.get(key) : await this.#tried((db) => db.get("settings", key));
    return found as T | undefined;
  }

  /** Ask the browser never to delete the journal by itself; return whether it agreed. */
  async persisted(): Promise<boolean> {
    return (await navigator.storage?.persist?.()) ?? false;
  }

  /** Return the bytes that the browser counts for this site, and how many it would give. */
  async usage(): Promise<{ used: number; quota: number }> {
    const found = await navigator.storage?.estimate?.();
    return { used: found?.usage ?? 0, quota: found?.quota ?? 0 };
  }

  /** Close the database, as when the page goes. */
  close(): void {
    this.#db?.close();
    this.#db = null;
  }

  /** Return all incidents, stored and waiting, the oldest first. */
  async #all(): Promise<Kept[]> {
    const found = new Map<string, Kept>();
    for (const kept of (await this.#tried(storedIncidents)) ?? []) found.set(kept.id, kept);
    for (const [id, { kept }] of this.#waiting) found.set(id, merged(found.get(id), kept));
    return [...found.values()].sort((one, other) => one.began - other.began);
  }

  /** Write what waits, until something fails: settings, then the lines of all events, then pictures. */
  #flush(): Promise<void> {
    return this.#inTurn(async () => {
      for (const [key, value] of [...this.#settings]) {
        const stored = await this.#tried((db) => db.put("settings", value, key));
        if (stored === undefined) return;
        if (this.#settings.get(key) === value) this.#settings.delete(key);
      }
      const all = [...this.#waiting];
      for (const [id, { kept }] of all) {
        const events = kept.events.map((event) => ({ ...event, durable: true }));
        const stored = await this.#tried(async (db) => {
          await this.#withRoom(db, 0, id, () => change(db, id, (before) => merged(before, { ...kept, events })));
          return true;
        });
        if (!stored) return;
        this.#untidied += events.length;
      }
      for (const [id, waiting] of all) {
        const { full, crop } = waiting.pictures;
        const stored = await this.#tried(async (db) => {
          if (full || crop) await this.#storePictures(db, id, waiting.pictures);
          if (this.#untidied >= TIDY_EVERY) await this.#tidy(db, id);
          return true;
        });
        if (!stored) return;
        if (this.#waiting.get(id) === waiting) this.#waiting.delete(id); // else more has come meanwhile
      }
      this.#report(null);
    });
  }

  async #storePictures(db: IDBPDatabase<Tables>, id: string, pictures: Pictures): Promise<void> {
    const whole = newest(await db.get("pictures", id), pictures);
    const bytes = (whole.full?.byteLength ?? 0) + (whole.crop?.byteLength ?? 0);
    await this.#withRoom(db, bytes, id, async () => {
      const writing = db.transaction(["incidents", "pictures"], "readwrite");
      const kept = await writing.objectStore("incidents").get(id);
      if (kept) {
        void writing.objectStore("incidents").put({ ...kept, bytes }).catch(() => {}); // `done` reports it
        void writing.objectStore("pictures").put(whole, id).catch(() => {});
      }
      await writing.done;
    });
  }

  /** Write; when the storage is full, delete pictures of older incidents, one after the other, and try again. */
  async #withRoom(db: IDBPDatabase<Tables>, bytes: number, id: string, write: () => Promise<void>): Promise<void> {
    let old: Kept[] | null = null;
    let most = bytes + MAX_FREED;
    for (;;) {
      try {
        return await write();
      } catch (error) {
        if (!isQuotaError(error)) throw error;
        old ??= deletable(await storedIncidents(db), id, await this.#alive()).filter((kept) => kept.bytes > 0);
        if (old.length === 0 || most <= 0) throw error;
        for (let freed = 0; old.length > 0 && freed <= bytes; ) {
          const next = old.shift();
          if (next) await db.delete("pictures", next.id);
          freed += next?.bytes ?? 0;
          most -= next?.bytes ?? 0;
        }
      }
    }
  }

  /** Keep the journal's own limits. */
  async #tidy(db: IDBPDatabase<Tables>, id: string): Promise<void> {
    const all = await storedIncidents(db);
    const { quota } = await this.usage();
    const most = quota > 0 ? Math.min(MAX_BYTES, MAX_SHARE * quota) : MAX_BYTES;
    const { pictures, incidents } = surplus(all, id, await this.#alive(), most, MAX_EVENTS);
    for (const each of pictures) await db.delete("pictures", each);
    await remove(db, incidents);
    this.#untidied = 0;
  }

  /** Change what is kept of incidents. */
  async #change(ids: readonly string[], how: (kept: Kept) => Kept): Promise<void> {
    await this.#inTurn(async () => {
      for (const id of ids) {
        const stored = await this.#tried((db) => db.get("incidents", id));
        const waiting = this.#waiting.get(id)?.kept;
        const kept = waiting ? merged(stored, waiting) : stored;
        if (kept) this.#wait(how(kept), NO_PICTURES);
      }
    });
    await this.#flush();
  }

  /** Let this wait to be written, within bounds. */
  #wait(kept: Kept, pictures: Pictures): void {
    const before = this.#waiting.get(kept.id);
    this.#waiting.set(kept.id, { kept: merged(before?.kept, kept), pictures: newest(before?.pictures, pictures) });
    const ids = [...this.#waiting.keys()];
    for (const id of ids.slice(0, -MAX_WAITING)) this.#waiting.delete(id);
    for (const id of ids.slice(0, -WAITING_PICTURES)) {
      const waiting = this.#waiting.get(id);
      if (waiting) waiting.pictures = NO_PICTURES;
    }
  }

  /** Return the runs that go on: this page's, and those of other open pages. */
  async #alive(): Promise<ReadonlySet<string>> {
    const locks = await navigator.locks?.query();
    return new Set([this.bootId, this.#notesBootId, ...(locks?.held ?? []).map((lock) => (lock.name ?? "").slice(lockOf("").length))]);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {}); // whoever asked for it gets its error
    return turn;
  }

  /** Do something with the database; report trouble and return undefined where it fails. */
  async #tried<T>(work: (db: IDBPDatabase<Tables>) => Promise<T>): Promise<T | undefined> {
    try {
      this.#db ??= await this.#opened();
      return await work(this.#db);
    } catch (error) {
      console.error("journal:", error);
      const full = isQuotaError(error);
      if (!full) this.close(); // the next call opens it anew
      this.#report(full ? "full" : "broken");
      return undefined;
    }
  }

  #opened(): Promise<IDBPDatabase<Tables>> {
    const opened = openDB<Tables>(this.#name, VERSION, {
      upgrade(db) {
        db.createObjectStore("incidents", { keyPath: "id" }).createIndex("began", "began");
        db.createObjectStore("pictures");
        db.createObjectStore("settings");
      },
      blocking: () => this.close(), // a newer app in another tab, or one that deletes it, must not wait for this page
      terminated: () => {
        this.#db = null;
        this.#report("broken");
      },
    });
    const late = new Promise<never>((_, reject) => setTimeout(() => reject(new Error("the database does not open")), OPEN_MS));
    return Promise.race([opened, late]);
  }

  #report(trouble: Trouble | null): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.onTrouble?.(trouble);
  }
}

const lockOf = (bootId: string) => `bear-alarm run ${bootId}`;
const isBear = (kept: Kept) => kept.events[0]?.kind === "bear";

/** Return an id of 32 hexadecimal digits. */
function newId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

function isWrong({ verdict, label }: Review): boolean {
  return verdict === "wrong" || (verdict === "relabelled" && !ALARM_LABELS.includes(label ?? ""));
}

/** Return an incident with what is new of it; an event that is there already stays as it is. */
function merged(before: Kept | undefined, more: Kept): Kept {
  if (!before) return more;
  const isNew = (event: BearEvent) => !before.events.some((each) => each.seq === event.seq && each.boot_id === event.boot_id);
  const reviews = more.reviews.filter((review) => !before.reviews.some((each) => each.at === review.at));
  return {
    ...before,
    events: [...before.events, ...more.events.filter(isNew)],
    reviews: [...before.reviews, ...reviews],
    exported: more.exported || (before.exported && reviews.length === 0),
  };
}

function newest(before: Pictures | undefined, more: Pictures): Pictures {
  return {
    full: before?.full ?? more.full, // of the alarm: it stays
    crop: more.crop ?? before?.crop ?? null,
    cropNote: (more.crop ? more.cropNote : before?.cropNote) ?? null,
  };
}

function described(kept: Kept, alive: ReadonlySet<string>, picture: Blob | null): Incident {
  const { events } = kept;
  const first = events[0];
  const last = events[events.length - 1];
  const scores = events.flatMap((event) => [event.top_score, event.score]).filter((score) => score !== null);
  const apart = (last.media_time_s ?? Date.parse(last.captured_at) / 1000) - (first.media_time_s ?? kept.began / 1000);
  return {
    ...kept,
    state: isOpen(kept, alive) ? "going on" : last.type === "end" ? "over" : "cut off",
    label: [...events].reverse().find((event) => event.label !== null)?.label ?? null,
    topScore: scores.length > 0 ? Math.max(...scores) : null,
    lastedS: events.length > 1 ? Math.max(apart, 0) : null,
    zones: [...new Set(events.flatMap((event) => event.zones))],
    review: kept.reviews.at(-1) ?? null,
    picture,
  };
}

function isOpen({ events }: Kept, alive: ReadonlySet<string>): boolean {
  const last = events[events.length - 1];
  return last.type !== "end" && alive.has(last.boot_id);
}

/**
 * Return what may be deleted, the first to go first: what was exported, then what nobody reviewed, at last what was
 * reviewed and not exported; among equals the oldest. What is open stays, and so does `id`.
 */
export function deletable(all: readonly Kept[], id: string, alive: ReadonlySet<string>): Kept[] {
  const worth = (kept: Kept) => (kept.exported ? 0 : kept.reviews.length === 0 ? 1 : 2);
  return all
    .filter((kept) => kept.id !== id && !isOpen(kept, alive))
    .sort((one, other) => worth(one) - worth(other) || one.began - other.began);
}

/** Return whose pictures, and which whole incidents, are to be deleted to keep both limits. */
export function surplus(
  all: readonly Kept[], id: string, alive: ReadonlySet<string>, maxBytes: number, maxEvents: number,
): { pictures: string[]; incidents: string[] } {
  let bytes = all.reduce((sum, kept) => sum + kept.bytes, 0);
  let events = all.reduce((sum, kept) => sum + kept.events.length, 0);
  const pictures: string[] = [];
  const incidents: string[] = [];
  if (bytes <= maxBytes && events <= maxEvents) return { pictures, incidents };
  for (const kept of deletable(all, id, alive)) {
    if (events > maxEvents) {
      incidents.push(kept.id);
      events -= kept.events.length;
      bytes -= kept.bytes;
    } else if (bytes > maxBytes && kept.bytes > 0) {
      pictures.push(kept.id);
      bytes -= kept.bytes;
    }
  }
  return { pictures, incidents };
}

/** Change one incident in one transaction. */
async function change(db: IDBPDatabase<Tables>, id: string, how: (kept: Kept | undefined) => Kept | undefined): Promise<void> {
  const writing = db.transaction("incidents", "readwrite", { durability: "strict" });
  const changed = how(await writing.store.get(id));
  if (changed) void writing.store.put(changed).catch(() => {}); // `done` reports it
  await writing.done;
}

/** Return all incidents, the oldest first, with the bytes of the pictures that are still there. */
async function storedIncidents(db: IDBPDatabase<Tables>): Promise<Kept[]> {
  const reading = db.transaction(["incidents", "pictures"]);
  const [all, ids] = await Promise.all([
    reading.objectStore("incidents").index("began").getAll(),
    reading.objectStore("pictures").getAllKeys(),
  ]);
  const there = new Set(ids);
  // A full storage takes no change, only deletions: the size in the record of an incident outlives its pictures.
  return all.map((kept) => (there.has(kept.id) ? kept : { ...kept, bytes: 0 }));
}

async function remove(db: IDBPDatabase<Tables>, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const writing = db.transaction(["incidents", "pictures"], "readwrite");
  for (const id of ids) {
    void writing.objectStore("incidents").delete(id);
    void writing.objectStore("pictures").delete(id);
  }
  await writing.done;
}
