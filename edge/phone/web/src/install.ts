/** Bring the app and the model onto the phone, so that both start without signal; offer newer ones. */

import { download, DownloadError, keep, modelPrefix, sha256, type FromServiceWorker, type ToServiceWorker } from "./download";
import type { Failure } from "./protocol";
import { problemWords } from "./status";
import { type Texts, textsFor } from "./text";
import type { Model } from "./watch";

interface ModelJson {
  readonly name: string;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

const APP_SHARE = 0.7; // of the whole download
const CONTROL_MS = 3000; // how long the service worker may take to serve this page
const CHECK_MS = 3600_000;
const MODEL_JSON = "model.json";
const FAILED = "failed"; // an entry in the cache of a model that did not start

const LASTING: ReadonlySet<Failure> = new Set<Failure>(["model-corrupt", "model-card", "model-wrong"]);

const address = (file: string) => new URL(file, document.baseURI).href;
const prefix = () => modelPrefix(new URL(".", document.baseURI).pathname);

/**
 * Fetch what is missing, and return the model; without signal, what is there. May be called again after an error.
 *
 * `progress` is called with the share that is done, 0 to 1. Throws DownloadError; `installWords` has its sentence.
 */
export async function prepare(progress: (share: number) => void): Promise<Model> {
  if (!("serviceWorker" in navigator) || !("caches" in globalThis)) {
    throw new DownloadError("unsupported", `no service worker at ${location.origin}`);
  }
  await installApp((share) => progress(APP_SHARE * share));
  const model = (await newestModel()) ?? (await firstModel((share) => progress(APP_SHARE + (1 - APP_SHARE) * share)));
  progress(1);
  return { model: address(model.file), sha256: model.sha256 };
}

/** The download: it begins when the page opens. The first page shows it, and the check waits for the same. */
export class Installation {
  percent = 0; // in tens: a screen reader reads each
  state: "running" | "done" | { readonly error: unknown } = "running";
  onChange: () => void = () => {};
  private running: Promise<Model> | null = null;

  /** Begin, or join what runs. What is kept may have gone since the last time: then it is fetched again. Throws as `prepare` does. */
  prepare(): Promise<Model> {
    return (this.running ??= this.run());
  }

  private async run(): Promise<Model> {
    this.tell("running", 0);
    try {
      const found = await prepare((share) => this.tell("running", 10 * Math.floor(10 * share)));
      this.tell("done", 100);
      return found;
    } catch (error) {
      this.tell({ error }, this.percent);
      throw error;
    } finally {
      this.running = null;
    }
  }

  private tell(state: Installation["state"], percent: number): void {
    [this.state, this.percent] = [state, percent];
    this.onChange();
  }
}

/** Return the sentence for an error of `prepare`. */
export function installWords(error: unknown, text: Texts): string {
  if (!(error instanceof DownloadError)) return problemWords(text, "internal", { detail: String(error) }).join(" ");
  return error.fault === "model-missing" ? problemWords(text, error.fault).join(" ") : text.installFaults[error.fault];
}

async function ownRegistration(): Promise<ServiceWorkerRegistration | null> {
  const found = await navigator.serviceWorker.getRegistration();
  return found?.scope === address(".") ? found : null; // another app's may cover the whole host
}

/** Wait until the service worker has every file and serves this page. */
async function installApp(progress: (share: number) => void): Promise<void> {
  let failed: Error | null = null;
  const listen = ({ data }: MessageEvent<FromServiceWorker>) => {
    if (data.type === "app-progress") progress(data.share);
    if (data.type === "app-failed") failed = data.fault ? new DownloadError(data.fault, data.detail) : new Error(data.detail);
  };
  navigator.serviceWorker.addEventListener("message", listen);
  navigator.serviceWorker.startMessages();
  try {
    const registration = (await ownRegistration()) ?? (await register());
    const coming = registration.active ?? registration.waiting ?? registration.installing;
    if (!coming) throw new DownloadError("damaged", "the service worker has gone");
    if (coming.state !== "activated" && !(await activated(coming))) {
      await new Promise((resolve) => setTimeout(resolve)); // its last message may come after its state
      throw failed ?? new DownloadError("offline", "the download ended early");
    }
    await controlled(coming);
  } finally {
    navigator.serviceWorker.removeEventListener("message", listen);
  }
}

async function register(): Promise<ServiceWorkerRegistration> {
  try {
    return await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
  } catch (error) {
    const refused = error instanceof DOMException && error.name === "SecurityError";
    throw new DownloadError(refused ? "unsupported" : "offline", error instanceof Error ? error.message : String(error));
  }
}

/** Return true when a service worker is active, false when its download failed. */
function activated(coming: ServiceWorker): Promise<boolean> {
  return new Promise((resolve) => {
    const look = () => {
      if (coming.state === "activated" || coming.state === "redundant") resolve(coming.state === "activated");
    };
    coming.addEventListener("statechange", look);
    look();
  });
}

/** Wait until the service worker serves this page: not so on the first visit, and after a forced reload. */
async function controlled(active: ServiceWorker): Promise<void> {
  if (navigator.serviceWorker.controller) return;
  await new Promise<void>((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    setTimeout(resolve, CONTROL_MS); // all is cached by now: it will serve the next visit
    active.postMessage("claim" satisfies ToServiceWorker);
  });
}

// Models: one cache for each, named by its SHA-256. `model.json` goes in last, so that a cache with it is complete.

/** Return the newest model that is complete, if there is one that did not fail; null: there is none. */
async function newestModel(): Promise<ModelJson | null> {
  const models = (await completeModels()).reverse();
  return models.find((each) => !each.failed) ?? models[0] ?? null;
}

/** Return the models that are complete, the newest last. */
async function completeModels(): Promise<(ModelJson & { failed: boolean })[]> {
  const found: (ModelJson & { failed: boolean })[] = [];
  for (const name of await modelCaches()) {
    const cache = await caches.open(name);
    const described = await cache.match(address(MODEL_JSON));
    if (!described) continue;
    try {
      const model = parseModelJson(await described.text());
      if (await cache.match(address(model.file))) found.push({ ...model, failed: await hasFailed(model.sha256) });
    } catch (error) {
      console.error(`${name}:`, error); // damaged: as if it were not there
    }
  }
  return found;
}

/** Return the names of the model caches, the newest last. */
async function modelCaches(): Promise<string[]> {
  return (await caches.keys()).filter((name) => name.startsWith(prefix())); // in the order in which they were made
}

async function firstModel(progress: (share: number) => void): Promise<ModelJson> {
  try {
    const model = await hostsModel();
    await fetchModel(model, progress);
    return model;
  } catch (error) {
    if (error instanceof DownloadError && error.fault === "offline") throw new DownloadError("model-missing", error.message);
    throw error;
  }
}

async function hostsModel(): Promise<ModelJson> {
  const response = await download(address(MODEL_JSON), null);
  return parseModelJson(await response.text());
}

async function fetchModel(model: ModelJson, progress: (share: number) => void = () => {}): Promise<void> {
  const file = await download(address(model.file), model.sha256, (bytes) => progress(Math.min(bytes / model.bytes, 1)));
  const name = prefix() + model.sha256;
  await caches.delete(name); // an older copy would count as older than the models since
  const cache = await caches.open(name);
  await keep(cache, address(model.file), file);
  await keep(cache, address(MODEL_JSON), new Response(JSON.stringify(model)));
}

/** Return what `model.json` says. Throws DownloadError where it is none. */
export function parseModelJson(text: string): ModelJson {
  const wrong = (why: string) => new DownloadError("damaged", `${MODEL_JSON}: ${why}`);
  let found: Partial<Record<keyof ModelJson, unknown>> | null;
  try {
    found = JSON.parse(text);
  } catch {
    throw wrong("no JSON");
  }
  const { name, file, sha256, bytes } = found ?? {};
  if (typeof name !== "string") throw wrong("no name");
  if (typeof file !== "string" || !/^model-[0-9a-f]{12}\.onnx$/.test(file)) throw wrong("no file");
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) throw wrong("no SHA-256");
  if (typeof bytes !== "number" || !(bytes > 0)) throw wrong("no size");
  return { name, file, sha256, bytes };
}

/** Note that a model has started: older ones are no longer needed. */
export async function modelWorks(digest: string): Promise<void> {
  const names = await modelCaches();
  const older = names.slice(0, Math.max(names.indexOf(prefix() + digest), 0));
  await Promise.all(older.map((name) => caches.delete(name)));
}

/**
 * Deal with a model that did not start; return whether there is another one, or a whole one, which `prepare` returns.
 *
 * It gives way only to a model that is there. What may pass, such as a file that could not be read, changes nothing.
 */
export async function modelFails(digest: string, failure: Failure): Promise<boolean> {
  if (!LASTING.has(failure)) return false;
  const other = (await completeModels()).some((each) => each.sha256 !== digest && !each.failed);
  if (!other) return hostsOther(digest);
  const name = prefix() + digest;
  if (await caches.has(name)) await (await caches.open(name)).put(address(FAILED), new Response("failed"));
  return true;
}

/** Fetch the host's model in place of the phone's only one, where that is another or the phone's bytes are not what they were. */
async function hostsOther(digest: string): Promise<boolean> {
  try {
    const model = await hostsModel();
    if (await hasFailed(model.sha256)) return false;
    if (model.sha256 === digest && (await storedDigest(model)) === digest) return false;
    await fetchModel(model);
    return true;
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error;
    console.info("no other model for now:", error);
    return false;
  }
}

async function storedDigest({ file, sha256: digest }: ModelJson): Promise<string | null> {
  const stored = await caches.match(address(file), { cacheName: prefix() + digest });
  return stored ? sha256(await stored.arrayBuffer()) : null;
}

async function hasFailed(digest: string): Promise<boolean> {
  return (await caches.match(address(FAILED), { cacheName: prefix() + digest })) !== undefined;
}

/**
 * Look for a newer app and model now, every hour and when signal comes back; fetch them in the background.
 *
 * `offer` is called when one is complete. It starts with `restart`, or when the app is next opened.
 */
export async function watchForUpdates(offer: (what: "app" | "model") => void): Promise<void> {
  const registration = await ownRegistration();
  if (!registration) return;
  let offered: ServiceWorker | null = null;
  const look = () => {
    if (!registration.active || !registration.waiting || registration.waiting === offered) return;
    offered = registration.waiting;
    offer("app");
  };
  const follow = () => {
    registration.installing?.addEventListener("statechange", look);
    look(); // it may be complete already
  };
  follow();
  registration.addEventListener("updatefound", follow);
  let busy = false;
  const check = async () => {
    if (busy || !navigator.onLine) return;
    busy = true;
    try {
      await registration.update();
      look();
      const model = await hostsModel();
      const newest = await newestModel();
      if (newest && model.sha256 !== newest.sha256 && !(await hasFailed(model.sha256))) {
        await fetchModel(model);
        offer("model");
      }
    } catch (error) {
      console.info("no update for now:", error); // without signal this is the usual case
    } finally {
      busy = false;
    }
  };
  window.addEventListener("online", () => void check());
  setInterval(() => void check(), CHECK_MS);
  await check();
}

/** Start what `watchForUpdates` has offered: the page loads again. Another page of the app would get a detector of another version. */
export async function restart(): Promise<void> {
  const waiting = (await ownRegistration())?.waiting;
  if (!waiting) return location.reload();
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  navigator.serviceWorker.addEventListener("message", ({ data }: MessageEvent<FromServiceWorker>) => {
    if (data.type !== "others-open") return;
    alert(textsFor([document.documentElement.lang]).text.installOthersOpen);
    location.reload();
  });
  waiting.postMessage("restart" satisfies ToServiceWorker);
}
