import { afterEach, expect, test, vi } from "vitest";
import { DownloadError, type DownloadFault, download, sha256 } from "../src/download";
import { Installation, installWords, parseModelJson } from "../src/install";
import { textsFor } from "../src/text";

const { text } = textsFor(["en"]);
const MODEL = { name: "bear", file: "model-0123456789ab.onnx", sha256: "0123456789ab".padEnd(64, "0"), bytes: 5 };

afterEach(() => void vi.unstubAllGlobals());

/** Lets `fetch` answer so. */
function answer(body: BodyInit | null, init?: ResponseInit): void {
  vi.stubGlobal("fetch", async () => new Response(body, init));
}

test("model.json is read, and a later version may have more in it", () => {
  expect(parseModelJson(JSON.stringify({ ...MODEL, more: 1 }))).toEqual(MODEL);
});

test.each([
  ["no JSON", "<html>"],
  ["no name", "null"],
  ["no file", JSON.stringify({ ...MODEL, file: "../other/model-0123456789ab.onnx" })],
  ["no SHA-256", JSON.stringify({ ...MODEL, sha256: "0123456789ab" })],
  ["no size", JSON.stringify({ ...MODEL, bytes: "5" })],
])("a model.json that is none is refused: %s", (why, json) => {
  expect(() => parseModelJson(json)).toThrow(`model.json: ${why}`);
});

test("a download keeps the headers that isolate the page, and drops those of the transfer", async () => {
  const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp", "Content-Encoding": "br" };
  answer("abc", { headers });
  const come: number[] = [];
  const found = await download("x", await sha256(new TextEncoder().encode("abc")), (bytes) => come.push(bytes));
  expect(await found.text()).toBe("abc");
  expect(found.headers.get("cross-origin-opener-policy")).toBe("same-origin");
  expect(found.headers.get("cross-origin-embedder-policy")).toBe("require-corp");
  expect(found.headers.has("content-encoding")).toBe(false);
  expect(come.at(-1)).toBe(3);
});

test("what is not what was announced is refused, with the reason", async () => {
  answer("<html>a page in place of the file</html>");
  await expect(download("x", "0".repeat(64))).rejects.toMatchObject({ fault: "damaged" });
  answer("gone", { status: 404 });
  await expect(download("x", null)).rejects.toMatchObject({ fault: "missing", message: "x: the server answers 404" });
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  await expect(download("x", null)).rejects.toMatchObject({ fault: "offline" });
});

test("a connection that gives nothing more is given up", async () => {
  vi.useFakeTimers();
  vi.stubGlobal("fetch", (_: string, { signal }: RequestInit) => {
    const body = new ReadableStream({
      start(stream) {
        stream.enqueue(new Uint8Array(2));
        signal?.addEventListener("abort", () => stream.error(signal.reason));
      },
    });
    return Promise.resolve(new Response(body));
  });
  const ended = expect(download("x", null)).rejects.toMatchObject({ fault: "offline", message: "x: the connection gave nothing for 30 s" });
  await vi.advanceTimersByTimeAsync(31_000);
  await ended;
  vi.useRealTimers();
});

test("the page and the check wait for one download, and a new try begins another", async () => {
  vi.stubGlobal("navigator", {}); // without a service worker
  vi.stubGlobal("location", { origin: "here" });
  const installation = new Installation();
  const told: Installation["state"][] = [];
  installation.onChange = () => told.push(installation.state);
  const first = installation.prepare();
  expect(installation.prepare()).toBe(first);
  await expect(first).rejects.toMatchObject({ fault: "unsupported" });
  expect(told).toEqual(["running", { error: expect.any(DownloadError) }]);
  const second = installation.prepare();
  expect(second).not.toBe(first);
  expect(told.at(-1)).toBe("running");
  await expect(second).rejects.toMatchObject({ fault: "unsupported" });
});

test("each fault has a sentence of its own", () => {
  const faults: DownloadFault[] = ["unsupported", "offline", "missing", "damaged", "full", "model-missing"];
  expect(new Set(faults.map((fault) => installWords(new DownloadError(fault, ""), text))).size).toBe(6);
});
