/** What the watching page tells: the big state, and what is wrong in words. */

import type { CameraProblem } from "./camera";
import type { Failure } from "./protocol";
import type { TroubleKind } from "./schema";
import type { Sentence } from "./text";

export type State = "starting" | "watching" | "maybe" | "bear" | "blind";

export type ProblemKind =
  | TroubleKind
  | CameraProblem
  | Failure
  | "stale" // the detector does not answer
  | "restarted"
  | "hopeless" // it was restarted again and again
  | "hidden"
  | "sound"
  | "screen-missing"
  | "screen-refused"
  | "full"
  | "broken"
  | "internal";

export interface Problem {
  readonly kind: ProblemKind;
  readonly values: Readonly<Record<string, string | number>>;
  readonly past: boolean; // over, but shown until somebody has read it
}

/** A look that is older tells nothing of now. */
export const STALE_S = 10;

/** While one of these lasts, no bear can be seen. The camera's kinds are UNSEEING of camera_check.ts. */
const BLIND: ReadonlySet<ProblemKind> = new Set<ProblemKind>([
  "gone", "frozen", "black", "white", "covered",
  "denied", "missing", "busy", "insecure", "other",
  "model-missing", "model-corrupt", "model-card", "model-wrong", "runtime", "memory",
  "stale", "hopeless",
]); // prettier-ignore

export const WORDS: Readonly<Record<ProblemKind, readonly [Sentence, Sentence?]>> = {
  gone: ["problemGone"],
  frozen: ["problemFrozen"],
  black: ["problemBlack"],
  white: ["problemWhite"],
  covered: ["problemCovered"],
  blurred: ["problemBlurred"],
  moved: ["problemMoved"],
  denied: ["cameraDenied", "cameraDeniedSteps"],
  missing: ["cameraMissing", "cameraMissingSteps"],
  busy: ["cameraBusy", "cameraBusySteps"],
  insecure: ["cameraInsecure", "cameraInsecureSteps"],
  other: ["cameraOther", "cameraOtherSteps"],
  "model-missing": ["failedModelMissing"],
  "model-corrupt": ["failedModelCorrupt"],
  "model-card": ["failedModelCard"],
  "model-wrong": ["failedModelWrong"],
  runtime: ["failedRuntime"],
  memory: ["failedMemory"],
  stale: ["problemStale"],
  restarted: ["problemRestarted"],
  hopeless: ["problemHopeless"],
  hidden: ["problemHidden"],
  sound: ["problemSound"],
  "screen-missing": ["screenMissing"],
  "screen-refused": ["screenRefused"],
  full: ["problemFull"],
  broken: ["problemBroken"],
  internal: ["problemInternal"],
};

/** Return whether a problem means that no bear can be seen now. */
export function blind(problem: Problem): boolean {
  return !problem.past && BLIND.has(problem.kind);
}

/** Return the big state. An alarm that sounds goes before all else. */
export function stateOf(watched: {
  readonly seen: "watching" | "maybe" | "bear" | null; // in the last look; null: there was none
  readonly ageS: number; // of the last look, or since the start
  readonly sounding: boolean;
  readonly problems: readonly Problem[];
}): State {
  if (watched.sounding) return "bear";
  if (watched.ageS > STALE_S || watched.problems.some(blind)) return "blind";
  return watched.seen ?? "starting";
}
