/**
 * The journal of events with their pictures, in IndexedDB: what `edge/record` is to the device.
 *
 * What cannot be written waits in memory and is shown from there, so that no trouble of the storage stops the alarm.
 */

import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import { isQuotaError } from "./download";
import type { CropNote, Published, Reviewed } from "./protocol";
import { type BearEvent, newId } from "./schema";

/** A review as in `edge/record/review.py`. */
export interface Review {
  readonly verdict: "confirmed" | "wrong" | "relabelled" | "unsure";
  readonly at: string; // ISO 8601, UTC
  readonly label: string | null;
}

export type Verdict = "confirmed" | "wrong" | "unsure" | { readonly label: string };
export type Trouble = "full" | "broken";

/** Subject of a health event of the app: the app was not in front, or there was no detector. */
export type NoteKind = "hidden" | "detector";

/** Record of one incident, without its pictures. */
export interface Entry {
  readonly id: string;
  readonly began: number; // milliseconds since 1970, of its first event
  readonly events: readonly BearEvent[];
  readonly reviews: readonly Review[]; // the last one holds
  readonly exported: boolean; // since its last review
  readonly bytes: number; // of its pictures
}

/** The pictures of an entry, JPEG. `full` is the frame of the alarm, for which the first event has the box. */
export interface Pictures {
  readonly full: ArrayBuffer | null;
  readonly crop: ArrayBuffer | null;
  readonly cropNote: CropNote | null;
}

/** An entry with what the list tells of it. */
export interface ShownEntry extends Entry {
  readonly state: "over" | "going on" | "cut off"; // cut off: the app ended before it did
  readonly label: string | null;
  readonly topScore: number | null;
  readonly lastedS: number | null; // null: it has but one event
  readonly zones: readonly string[];
  readonly review: Review | null;
}

interface Tables extends DBSchema {
  incidents: { key: string; value: Entry; indexes: { began: number } };
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
const NO_PICTURES: Pictures = { full: null, crop: null, cropNote: null };

export class Journal {
  readonly bootId = newId();
  /** Called when storing fails, and with null when it works again. */
  onTrouble: ((trouble: Trouble | null) => void) | null = null;
  /** Called when an event or a picture was stored, or waits because it cannot be. */
  onChange: (() => void) | null = null;
  /** Called after a review, for the repeat-alarm filter. */
  onReview: ((reviewed: Reviewed) => void) | null = null;

  readonly #name: string;
  readonly #notes = new Map<NoteKind, string>(); // ids
  readonly #waiting = new Map<string, { entry: Entry; pictures: Pictures }>();
  readonly #settings = new Map<string, unknown>(); // as stored, and newer
  readonly #newSettings = new Set<string>(); // keys of those that are not stored
  #db: IDBPDatabase<Tables> | null = null;
  #opening: Promise<IDBPDatabase<Tables>> | null = null;
  #late = false; // it did not open in time: nobody waits for it any more
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
    await journal.#tried(async () => {});
    return journal;
  }

  /** Write what waits, also where the database was closed under it or has not opened so far. */
  async retry(): Promise<void> {
    if (this.#late) this.#opening = null; // it may never open: ask for another one beside it
    await this.#flush();
  }

  /** Return the trouble of the storage now; null: it works. */
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
    const entry: Entry = { id: event.id, began: Date.parse(event.captured_at), events: [event], reviews: [], exported: false, bytes: 0 };
    this.#wait(entry, NO_PICTURES);
    const line = this.#flush();
    const ofAlarm = event.type === "new" ? full : null;
    if (ofAlarm || crop) {
      const [fullData, cropData] = await Promise.all([ofAlarm?.arrayBuffer(), crop?.arrayBuffer()]);
      this.#wait(entry, { full: fullData ?? null, crop: cropData ?? null, cropNote });
      await this.#flush();
    }
    await line;
  }

  /** Keep a health event of the app itself; an end is that of the last one of its kind. */
  async note(kind: NoteKind, type: "new" | "end", detail: string): Promise<void> {
    if (type === "new") this.#notes.set(kind, newId());
    const id = this.#notes.get(kind) ?? newId();
    const event: BearEvent = {
      kind: "health", type, id, seq: this.nextSeq(), boot_id: this.bootId, camera: this.#camera,
      captured_at: new Date().toISOString(), clock_synced: null, track: null, label: kind, score: null, top_score: null,
      box_xywh: null, media_time_s: null, latency_ms: null, onset_s: null, durable: false, model: null, evidence: null,
      detail, zones: [], escalated: null, file: null, quiet: null, species: null, stage: null, schema_version: 1,
    };
    await this.add({ event, full: null, crop: null, cropNote: null });
  }

  /** Return the newest incidents, the newest first. */
  async incidents(limit: number): Promise<ShownEntry[]> {
    const alive = await this.#alive();
    return (await this.#all()).slice(-limit).reverse().map((entry) => described(entry, alive));
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
    await this.#change([id], (entry) => {
      event = entry.events[0];
      const last = entry.reviews.at(-1);
      if (last?.verdict === review.verdict && last.label === review.label) return entry;
      return { ...entry, reviews: [...entry.reviews, review], exported: false };
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
  async reviewed(exported = false): Promise<Entry[]> {
    return (await this.#all()).filter((entry) => isBear(entry) && entry.reviews.length > 0 && (entry.exported || !exported));
  }

  /** Note that these incidents were exported. */
  async markExported(ids: readonly string[]): Promise<void> {
    await this.#change(ids, (entry) => ({ ...entry, exported: true }));
  }

  /** Delete the incidents that are over and were exported since their last review; return how many. */
  async deleteExported(): Promise<number> {
    const alive = await this.#alive();
    const ids = (await this.reviewed(true)).filter((entry) => !isOpen(entry, alive)).map((entry) => entry.id);
    for (const id of ids) this.#waiting.delete(id);
    const done = await this.#inTurn(() => this.#tried((db) => remove(db, ids).then(() => true)));
    return done ? ids.length : 0;
  }

  /** Return a setting; undefined: it was never set. */
  setting<T>(key: string): T | undefined {
    return this.#settings.get(key) as T | undefined;
  }

  /** Set a setting, and store it. */
  async set(key: string, value: unknown): Promise<void> {
    this.#settings.set(key, value);
    this.#newSettings.add(key);
    await this.#flush();
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
  async #all(): Promise<Entry[]> {
    const found = new Map<string, Entry>();
    for (const entry of (await this.#tried(storedEntries)) ?? []) found.set(entry.id, entry);
    for (const [id, { entry, pictures }] of this.#waiting) {
      const whole = merged(found.get(id), entry);
      found.set(id, { ...whole, bytes: bytesOf(pictures) || whole.bytes });
    }
    return [...found.values()].sort((one, other) => one.began - other.began);
  }

  /** Write what waits, until something fails: settings, then the lines of all events, then pictures. */
  #flush(): Promise<void> {
    return this.#inTurn(async () => {
      const waited = this.#waiting.size > 0;
      if (await this.#write()) this.#report(null);
      if (waited) this.onChange?.();
    });
  }

  async #write(): Promise<boolean> {
    const tried = (work: (db: IDBPDatabase<Tables>) => Promise<unknown>) => this.#tried((db) => work(db).then(() => true));
    if (!(await tried(async () => {}))) return false; // it opens, though nothing may wait
    for (const key of [...this.#newSettings]) {
      const value = this.#settings.get(key);
      if (!(await tried((db) => db.put("settings", value, key)))) return false;
      if (this.#settings.get(key) === value) this.#newSettings.delete(key);
    }
    const all = [...this.#waiting];
    for (const [id, { entry }] of all) {
      const events = entry.events.map((event) => ({ ...event, durable: true }));
      const line = (db: IDBPDatabase<Tables>) => change(db, id, (before) => merged(before, { ...entry, events }));
      if (!(await tried((db) => this.#withRoom(db, 0, id, () => line(db))))) return false;
      this.#untidied += events.length;
    }
    for (const [id, waiting] of all) {
      const { full, crop } = waiting.pictures;
      const stored = await tried(async (db) => {
        if (full || crop) await this.#storePictures(db, id, waiting.pictures);
        if (this.#untidied < TIDY_EVERY) return;
        await this.#makeRoom(db, 0, id);
        this.#untidied = 0;
      });
      if (!stored) return false;
      if (this.#waiting.get(id) === waiting) this.#waiting.delete(id); // else more has come meanwhile
    }
    return true;
  }

  async #storePictures(db: IDBPDatabase<Tables>, id: string, pictures: Pictures): Promise<void> {
    const whole = newest(await db.get("pictures", id), pictures);
    const bytes = bytesOf(whole);
    await this.#withRoom(db, bytes, id, async () => {
      const writing = db.transaction(["incidents", "pictures"], "readwrite");
      const entry = await writing.objectStore("incidents").get(id);
      if (entry) {
        void writing.objectStore("incidents").put({ ...entry, bytes }).catch(() => {}); // `done` reports it
        void writing.objectStore("pictures").put(whole, id).catch(() => {});
      }
      await writing.done;
    });
  }

  /** Write; when the storage is full, delete pictures of older incidents, a few at a time, and try again. */
  async #withRoom(db: IDBPDatabase<Tables>, bytes: number, id: string, write: () => Promise<void>): Promise<void> {
    for (let most = bytes + MAX_FREED; ; ) {
      try {
        return await write();
      } catch (error) {
        const freed = isQuotaError(error) && most > 0 ? await this.#makeRoom(db, Math.max(bytes, 1), id) : 0;
        if (freed === 0) throw error;
        most -= freed;
      }
    }
  }

  /** Keep the journal's own limits, and free so many bytes beside; return how many were freed. */
  async #makeRoom(db: IDBPDatabase<Tables>, bytes: number, id: string): Promise<number> {
    const all = await storedEntries(db);
    const { quota } = await this.usage();
    const total = all.reduce((sum, entry) => sum + entry.bytes, 0);
    const most = Math.min(MAX_BYTES, quota > 0 ? MAX_SHARE * quota : Infinity, total - bytes);
    const { pictures, incidents } = surplus(all, id, await this.#alive(), most, MAX_EVENTS);
    for (const each of pictures) await db.delete("pictures", each);
    await remove(db, incidents);
    const gone = new Set([...pictures, ...incidents]);
    return all.reduce((sum, entry) => sum + (gone.has(entry.id) ? entry.bytes : 0), 0);
  }

  /** Change what is kept of incidents. */
  async #change(ids: readonly string[], how: (entry: Entry) => Entry): Promise<void> {
    await this.#inTurn(async () => {
      for (const id of ids) {
        const stored = await this.#tried((db) => db.get("incidents", id));
        const waiting = this.#waiting.get(id)?.entry;
        const entry = waiting ? merged(stored, waiting) : stored;
        if (entry) this.#wait(how(entry), NO_PICTURES);
      }
    });
    await this.#flush();
  }

  /** Let this wait to be written, within bounds. */
  #wait(entry: Entry, pictures: Pictures): void {
    const before = this.#waiting.get(entry.id);
    this.#waiting.set(entry.id, { entry: merged(before?.entry, entry), pictures: newest(before?.pictures, pictures) });
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
    return new Set([this.bootId, ...(locks?.held ?? []).map((lock) => (lock.name ?? "").slice(lockOf("").length))]);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {}); // the caller gets its error
    return turn;
  }

  /** Do something with the database; report trouble and return undefined where it fails. */
  async #tried<T>(work: (db: IDBPDatabase<Tables>) => Promise<T>): Promise<T | undefined> {
    try {
      return await work(this.#db ?? (await this.#opened()));
    } catch (error) {
      console.error("journal:", error);
      const full = isQuotaError(error);
      if (!full) this.close(); // the next call opens it again
      this.#report(full ? "full" : "broken");
      return undefined;
    }
  }

  /** Return the database, if it opens in time. One that opens later is used from then on. */
  async #opened(): Promise<IDBPDatabase<Tables>> {
    this.#opening ??= this.#open();
    const slow = new Error("the database does not open");
    if (this.#late) throw slow;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#late = true;
        reject(slow);
      }, OPEN_MS);
    });
    return Promise.race([this.#opening, late]).finally(() => clearTimeout(timer));
  }

  #open(): Promise<IDBPDatabase<Tables>> {
    const opening = this.#opens().finally(() => {
      if (this.#opening === opening) this.#opening = null;
    });
    opening.then(() => this.#inTime()).catch((error: unknown) => console.error("journal:", error));
    return opening;
  }

  /** The database is open: write what has waited for it. */
  async #inTime(): Promise<void> {
    const waited = this.#late;
    this.#late = false;
    if (waited) await this.#flush();
  }

  async #opens(): Promise<IDBPDatabase<Tables>> {
    const db = await openDB<Tables>(this.#name, VERSION, {
      upgrade(made) {
        made.createObjectStore("incidents", { keyPath: "id" }).createIndex("began", "began");
        made.createObjectStore("pictures");
        made.createObjectStore("settings");
      },
      blocking: () => this.close(), // a newer app in another tab, or one that deletes it, must not wait for this page
      terminated: () => {
        this.#db = null;
        this.#report("broken");
      },
    });
    if (this.#db) {
      db.close(); // another one was faster
      return this.#db;
    }
    const reading = db.transaction(["incidents", "settings"]);
    const [entries, keys, values] = await Promise.all([
      reading.objectStore("incidents").getAll(),
      reading.objectStore("settings").getAllKeys(),
      reading.objectStore("settings").getAll(),
    ]);
    for (const { events } of entries) for (const { seq } of events) this.#seq = Math.max(this.#seq, seq);
    keys.forEach((key, index) => {
      if (!this.#settings.has(key)) this.#settings.set(key, values[index]);
    });
    return (this.#db = db);
  }

  #report(trouble: Trouble | null): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.onTrouble?.(trouble);
  }
}

const lockOf = (bootId: string) => `bear-alarm run ${bootId}`;
const bytesOf = ({ full, crop }: Pictures) => (full?.byteLength ?? 0) + (crop?.byteLength ?? 0);
const isBear = (entry: Entry) => entry.events[0]?.kind === "bear";

const isWrong = ({ verdict }: Review) => verdict === "wrong" || verdict === "relabelled"; // as no bear: there is no other choice

/** Return an incident with what is new of it; an event that is there already stays as it is. */
function merged(before: Entry | undefined, more: Entry): Entry {
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

function described(entry: Entry, alive: ReadonlySet<string>): ShownEntry {
  const { events } = entry;
  const last = events[events.length - 1];
  const scores = events.flatMap((event) => [event.top_score, event.score]).filter((score) => score !== null);
  return {
    ...entry,
    state: isOpen(entry, alive) ? "going on" : last.type === "end" ? "over" : "cut off",
    label: [...events].reverse().find((event) => event.label !== null)?.label ?? null,
    topScore: scores.length > 0 ? Math.max(...scores) : null,
    lastedS: events.length > 1 ? Math.max((Date.parse(last.captured_at) - entry.began) / 1000, 0) : null,
    zones: [...new Set(events.flatMap((event) => event.zones))],
    review: entry.reviews.at(-1) ?? null,
  };
}

function isOpen({ events }: Entry, alive: ReadonlySet<string>): boolean {
  const last = events[events.length - 1];
  return last.type !== "end" && alive.has(last.boot_id);
}

/**
 * Return whose pictures, and which whole incidents, are to be deleted to keep both limits.
 *
 * What was exported goes first, then what nobody reviewed; among equals the oldest. What was reviewed and not exported
 * stays, and so do `id` and what is open.
 */
export function surplus(
  all: readonly Entry[], id: string, alive: ReadonlySet<string>, maxBytes: number, maxEvents: number,
): { pictures: string[]; incidents: string[] } {
  let bytes = all.reduce((sum, entry) => sum + entry.bytes, 0);
  let events = all.reduce((sum, entry) => sum + entry.events.length, 0);
  const pictures: string[] = [];
  const incidents: string[] = [];
  if (bytes <= maxBytes && events <= maxEvents) return { pictures, incidents };
  const deletable = all
    .filter((entry) => entry.id !== id && !isOpen(entry, alive) && (entry.exported || entry.reviews.length === 0))
    .sort((one, other) => Number(other.exported) - Number(one.exported) || one.began - other.began);
  for (const entry of deletable) {
    if (events > maxEvents) {
      incidents.push(entry.id);
      events -= entry.events.length;
      bytes -= entry.bytes;
    } else if (bytes > maxBytes && entry.bytes > 0) {
      pictures.push(entry.id);
      bytes -= entry.bytes;
    }
  }
  return { pictures, incidents };
}

/** Change one incident in one transaction. */
async function change(db: IDBPDatabase<Tables>, id: string, how: (entry: Entry | undefined) => Entry | undefined): Promise<void> {
  const writing = db.transaction("incidents", "readwrite", { durability: "strict" });
  const changed = how(await writing.store.get(id));
  if (changed) void writing.store.put(changed).catch(() => {}); // `done` reports it
  await writing.done;
}

/** Return all incidents, the oldest first, with the bytes of the pictures that are still there. */
async function storedEntries(db: IDBPDatabase<Tables>): Promise<Entry[]> {
  const reading = db.transaction(["incidents", "pictures"]);
  const [all, ids] = await Promise.all([
    reading.objectStore("incidents").index("began").getAll(),
    reading.objectStore("pictures").getAllKeys(),
  ]);
  const there = new Set(ids);
  // A full storage takes no change, only deletions: the size in the record of an incident outlives its pictures.
  return all.map((entry) => (there.has(entry.id) ? entry : { ...entry, bytes: 0 }));
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
