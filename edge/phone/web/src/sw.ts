/**
 * Service worker: serves the app from its own cache, so that it starts without signal.
 *
 * Each version has a cache, filled before the version may start and never changed. Files that an older version has too
 * are copied, not fetched. The model has caches of its own, which the page fills (`install.ts`).
 */

import { appPrefix, download, DownloadError, keep, modelPrefix, type FromServiceWorker, type ToServiceWorker } from "./download";

declare const self: ServiceWorkerGlobalScope;
declare const APP_VERSION: string;
declare const APP_FILES: Readonly<Record<string, readonly [sha256: string, bytes: number]>>;

const DIGEST = "x-sha256"; // header of a file in the cache
const TOLD_EVERY_MS = 200;
const folder = new URL(self.registration.scope).pathname;
const prefix = appPrefix(folder);
const cacheName = prefix + APP_VERSION;
const at = (file: string) => new URL(file, self.registration.scope).href;

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("message", (event) => {
  const wish = event.data as ToServiceWorker;
  if (wish === "restart") event.waitUntil(restart(event.source));
  if (wish === "claim") event.waitUntil(self.clients.claim());
});
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || !url.pathname.startsWith(folder)) return;
  const file = url.pathname.slice(folder.length) || "index.html";
  if (file in APP_FILES) event.respondWith(appFile(file, event.request));
  else if (/^model-[0-9a-f]+\.onnx$/.test(file)) event.respondWith(modelFile(event.request));
});

/** Take over, unless another page of the app is open: a version never changes under a page that watches. */
async function restart(asking: ExtendableMessageEvent["source"]): Promise<void> {
  if (!(asking instanceof WindowClient)) return;
  if ((await pages()).every((each) => each.id === asking.id)) return self.skipWaiting();
  asking.postMessage({ type: "others-open" } satisfies FromServiceWorker);
}

/** Fetch every file of this version. What has come stays when the rest fails, so that a new try goes on from there. */
async function install(): Promise<void> {
  const cache = await caches.open(cacheName);
  const total = Object.values(APP_FILES).reduce((sum, [, bytes]) => sum + bytes, 0);
  let done = 0;
  let toldAt = 0;
  try {
    for (const [file, [digest, bytes]] of Object.entries(APP_FILES)) {
      const kept = await known(file, digest);
      const found =
        kept ??
        (await download(at(file), digest, (come) => {
          if (performance.now() - toldAt < TOLD_EVERY_MS) return;
          toldAt = performance.now();
          void tell({ type: "app-progress", share: (done + Math.min(come, bytes)) / total });
        }));
      const headers = new Headers(found.headers);
      headers.set(DIGEST, digest);
      await keep(cache, at(file), new Response(found.body, { headers }));
      done += bytes;
      await tell({ type: "app-progress", share: done / total });
    }
  } catch (error) {
    const fault = error instanceof DownloadError ? error.fault : null;
    await tell({ type: "app-failed", fault, detail: error instanceof Error ? error.message : String(error) });
    throw error;
  }
}

/** Return a file that this or an older version has in its cache, if it is the very same. */
async function known(file: string, digest: string): Promise<Response | null> {
  for (const name of await caches.keys()) {
    if (!name.startsWith(prefix)) continue;
    const found = await caches.match(at(file), { cacheName: name });
    if (found?.headers.get(DIGEST) === digest) return found;
  }
  return null;
}

/** Delete older versions, now that this one is complete and in use. One that is being fetched now is newer: it stays. */
async function activate(): Promise<void> {
  await self.clients.claim();
  if (self.registration.installing ?? self.registration.waiting) return;
  const old = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== cacheName);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function appFile(file: string, request: Request): Promise<Response> {
  return (await caches.match(at(file), { cacheName })) ?? fetch(request);
}

async function modelFile(request: Request): Promise<Response> {
  // "reload" asks for another copy than the one here, which is damaged.
  for (const name of request.cache === "reload" ? [] : await caches.keys()) {
    const found = name.startsWith(modelPrefix(folder)) && (await caches.match(request, { cacheName: name, ignoreSearch: true }));
    if (found) return found;
  }
  return fetch(request);
}

async function tell(news: FromServiceWorker): Promise<void> {
  for (const client of await pages()) client.postMessage(news);
}

/** Return the open pages of this app, of whatever version. */
async function pages(): Promise<WindowClient[]> {
  const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  return all.filter((each) => each.url.startsWith(self.registration.scope));
}
