/** Fetch files whole and checked: a file is kept only if it is what was announced. */

/** unsupported: the browser, or an address without HTTPS; model-missing: the app is there, its model is not. */
export type DownloadFault = "offline" | "missing" | "damaged" | "full" | "unsupported" | "model-missing";

export class DownloadError extends Error {
  constructor(
    readonly fault: DownloadFault,
    message: string,
  ) {
    super(message);
  }
}

const STALL_MS = 30_000; // a connection that gives nothing for so long is dead

/** Return the SHA-256 of data, hexadecimal. */
export async function sha256(data: BufferSource): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Return a file with its headers, checked against its SHA-256 (null: not checked).
 *
 * `tell` is called with the number of bytes that have come. Throws DownloadError.
 */
export async function download(url: string, digest: string | null, tell: (bytes: number) => void = () => {}): Promise<Response> {
  if (digest === null) return fetched(url, digest, tell, "no-store");
  try {
    return await fetched(url, digest, tell, "no-cache");
  } catch (error) {
    if (!(error instanceof DownloadError && error.fault === "damaged")) throw error;
    return fetched(url, digest, tell, "reload"); // a cache on the way may hold an older one and call it the newest
  }
}

async function fetched(url: string, digest: string | null, tell: (bytes: number) => void, cache: RequestCache): Promise<Response> {
  const stalled = new AbortController();
  const stop = () => stalled.abort(new Error("the connection gave nothing for 30 s"));
  let timer = setTimeout(stop, STALL_MS);
  try {
    const response = await fetch(url, { cache, signal: stalled.signal });
    if (!response.ok) throw new DownloadError("missing", `${url}: the server answers ${response.status}`);
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let bytes = 0;
    const reader = response.body?.getReader();
    for (let piece = await reader?.read(); piece && !piece.done; piece = await reader?.read()) {
      clearTimeout(timer);
      timer = setTimeout(stop, STALL_MS);
      parts.push(piece.value);
      tell((bytes += piece.value.length));
    }
    const whole = new Blob(parts);
    if (digest !== null) {
      const found = await sha256(await whole.arrayBuffer());
      if (found !== digest) throw new DownloadError("damaged", `${url}: its SHA-256 is ${found}, not ${digest}`);
    }
    // A new response: one that was redirected cannot answer a navigation, and the body is unpacked already.
    const headers = new Headers(response.headers);
    for (const name of ["content-encoding", "content-length", "transfer-encoding"]) headers.delete(name);
    return new Response(whole, { headers });
  } catch (error) {
    if (error instanceof DownloadError) throw error;
    throw new DownloadError("offline", `${url}: ${error instanceof Error ? error.message : error}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Keep a response in a cache. Throws DownloadError where the storage is full. */
export async function keep(cache: Cache, url: string, response: Response): Promise<void> {
  try {
    await cache.put(url, response);
  } catch (error) {
    if (isQuotaError(error)) throw new DownloadError("full", `${url}: the storage is full`);
    throw error;
  }
}

/** Return whether an error says that the browser gives no more room. */
export function isQuotaError(error: unknown): boolean {
  return typeof error === "object" && error !== null && "name" in error && error.name === "QuotaExceededError";
}

// Names of caches. An origin has one set of them, and may hold this app in two folders, so the folder is in the name.

/** Return how the names of a folder's app caches begin; `folder` is a path such as /bears/. */
export const appPrefix = (folder: string) => `bear-alarm app ${folder} `;

/** Return how the names of a folder's model caches begin. */
export const modelPrefix = (folder: string) => `bear-alarm model ${folder} `;

/** Messages of the service worker to its pages while it fetches the app. */
export type FromServiceWorker =
  | { readonly type: "app-progress"; readonly share: number } // 0 to 1
  | { readonly type: "others-open" } // no restart: another page of the app may be in its watch
  | { readonly type: "app-failed"; readonly fault: DownloadFault | null; readonly detail: string }; // null: the app itself failed

/** Requests of a page to the service worker: to take over now, or to serve pages that it does not serve yet. */
export type ToServiceWorker = "restart" | "claim";
