/** A stand-in for the detector: what it answers is told through the channel "detector". */
import type { FromWorker, ToWorker } from "../src/protocol";
import type { BearEvent } from "../src/schema";

let state: "watching" | "maybe" | "bear" = "watching";
let silent = false;
let seq = 0;
let wanted: BearEvent[] = [];
let faults: { kind: "black"; value: number }[] = [];
const say = (message: FromWorker): void => self.postMessage(message);
const event = (type: "new" | "end", id: string): BearEvent => ({
  kind: "bear", type, id, seq: ++seq, boot_id: "0", camera: "phone", captured_at: new Date().toISOString(), clock_synced: null, track: 1,
  label: "brown_bear", score: 0.93, top_score: 0.93, box_xywh: [0.4, 0.3, 0.3, 0.4], media_time_s: null, latency_ms: 1, onset_s: 1, durable: true,
  model: "m", evidence: null, detail: null, zones: [], escalated: null, file: null, quiet: null, schema_version: 1,
}); // prettier-ignore
new BroadcastChannel("detector").onmessage = ({ data }: MessageEvent<string>) => {
  const [what, id] = data.split(" ");
  if (what === "hang") silent = true;
  if (what === "black") faults = [{ kind: "black", value: 1 }];
  if (what === "clear") faults = [];
  if (what === "maybe" || what === "watching" || what === "bear") state = what;
  if (what === "bear") wanted.push(event("new", id ?? "a"));
  if (what === "end") { wanted.push(event("end", id ?? "a")); state = "watching"; }
};
self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === "start") {
    seq = data.seq;
    setTimeout(() => say({ type: "ready", model: "bear@1a2b3c4d", labels: ["brown_bear"], threshold: 0.62, notice: null, goldenError: 0, threads: 1, cropMs: 51, scanSide: 448 }), 300);
  }
  if (data.type === "close") say({ type: "closed", events: [] });
  if (data.type !== "frame") return;
  data.picture.close();
  if (silent) return;
  const marks = state === "watching" ? [{ box: [0.1, 0.6, 0.1, 0.2], kind: "motion", bear: 0.02 } as const] : [{ box: [0.4, 0.3, 0.3, 0.4], kind: "track", bear: state === "bear" ? 0.93 : 0.55 } as const];
  const events = wanted.map((each) => ({ event: each, full: null, crop: null, cropNote: null }));
  wanted = [];
  say({ type: "looked", time: data.time, marks, state, evidence: 0.4, faults, events, fps: 5, tookMs: 20, cropMs: 20, scanMs: 60, scanSide: 448 });
};
