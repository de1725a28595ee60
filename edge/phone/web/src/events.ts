/** From decisions and faults to events, numbered and timed: `edge/alert/events.py` and `edge/record/run.py`. */

import type { Decision } from "./alarms";
import type { FaultReport } from "./camera_check";
import type { BearEvent, BoxXYWH, CameraFault, Frame, TroubleKind } from "./schema";

const TROUBLE_WORDS: Record<TroubleKind, string> = {
  gone: "no picture",
  frozen: "the same picture again and again",
  black: "a black picture",
  white: "a white picture",
  covered: "something before the lens",
  blurred: "a blurred picture",
  moved: "another view",
};

/** With these faults of the camera no bear is seen: why its event ends though nobody saw it leave. */
export const UNSEEN_WORDS: Partial<Record<TroubleKind, string>> = {
  gone: "the camera gives no picture any more, so nothing is known of the bear",
  frozen: "the camera gives the same picture again and again, so nothing is known of the bear",
  black: "the camera gives a black picture, so nothing is known of the bear",
  white: "the camera gives a white picture, so nothing is known of the bear",
  covered: "something is before the lens, so nothing is known of the bear",
};
const UNKNOWN = "unknown: unlike the pictures the model was trained on";

/** When a frame was taken. */
export type Taken = Pick<Frame, "time" | "wall">;

/** Makes the events of one watch. */
export class EventFactory {
  constructor(
    readonly camera: string,
    private readonly bootId: string,
    private readonly model: string,
    private readonly live: boolean,
    private seq: number, // of the next event
  ) {}

  /** Return a decision as an event. `why`: an end that was not seen; `since`: when the frame came, `performance.now()`. */
  bear(decision: Decision, taken: Taken, since: number, why: string | null = null): BearEvent {
    return {
      ...this.event("bear", decision.type, decision.id, taken, since),
      track: decision.track,
      label: decision.label,
      score: rounded(decision.score, 4),
      top_score: rounded(decision.topScore, 4),
      box_xywh: roundedBox(decision.box),
      onset_s: decision.onsetS === null ? null : rounded(decision.onsetS, 3),
      model: this.model,
      detail: why ?? (decision.unknown ? UNKNOWN : null),
      zones: decision.zones,
      escalated: decision.escalated,
    };
  }

  /** Return a fault of the camera, or its end, as an event. `stopped`: the end only because nobody watches any more. */
  trouble(report: FaultReport, taken: Taken, since: number, stopped = false): BearEvent {
    const end = stopped ? "it lasted until watching was stopped" : `over after ${report.lastedS.toFixed(0)} s`;
    const detail = report.type === "end" ? `${end} (${TROUBLE_WORDS[report.fault.kind]})` : faultWords(report.fault);
    return { ...this.event("camera", report.type, report.id, taken, since), label: report.fault.kind, detail };
  }

  private event(kind: BearEvent["kind"], type: BearEvent["type"], id: string, taken: Taken, since: number): BearEvent {
    return {
      kind,
      type,
      id,
      seq: this.seq++,
      boot_id: this.bootId,
      camera: this.camera,
      captured_at: new Date(taken.wall).toISOString(),
      clock_synced: null, // a browser does not know
      track: null,
      label: null,
      score: null,
      top_score: null,
      box_xywh: null,
      media_time_s: this.live ? null : rounded(taken.time, 3),
      latency_ms: rounded(performance.now() - since, 2),
      onset_s: null,
      durable: false,
      model: null,
      evidence: null,
      detail: null,
      zones: [],
      escalated: null,
      file: null,
      quiet: null,
      species: null,
      stage: null,
      schema_version: 1,
    };
  }
}

/** Return one sentence: what, the value seen, what to do. */
function faultWords({ kind, value }: CameraFault): string {
  switch (kind) {
    case "gone":
      return `no frame for ${value.toFixed(0)} s; close other apps that use the camera, or open this app again`;
    case "frozen":
      return `the same picture for ${value.toFixed(0)} s; close this app and open it again`;
    case "black":
      return `the picture is black (brightness ${value.toFixed(0)} of 255): look for something on the lens; at night a phone sees nothing without a lamp`;
    case "white":
      return `the picture is white (brightness ${value.toFixed(0)} of 255): look for the sun or a lamp at the lens, frost or snow`;
    case "covered":
      return `hardly anything can be made out (${value.toFixed(0)} % of the picture is without structure): clean the lens and clear what hangs before it, or wait for thick fog to lift`;
    case "blurred":
      return `the picture has lost its sharpness (${value.toFixed(0)} % of what is usual here is left): wipe dew or dirt off the lens, or wait for the fog to lift`;
    case "moved":
      return `the camera shows another view than before (likeness ${value.toFixed(2)} of 1): if nobody turned it, straighten it; if somebody did, check its zones`;
  }
}

/** Return a number with at most so many decimals. */
export function rounded(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}

export function roundedBox([x, y, w, h]: BoxXYWH): BoxXYWH {
  return [rounded(x, 5), rounded(y, 5), rounded(w, 5), rounded(h, 5)];
}
