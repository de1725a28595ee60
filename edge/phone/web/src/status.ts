/** State and problems on the watching page: the big state, and what is wrong in words. */

import { CAMERA_PROBLEMS, type CameraProblem } from "./camera";
import { timeOf } from "./dom";
import { UNSEEN_WORDS } from "./events";
import { type Failure, MODEL_FAILURES } from "./protocol";
import type { TroubleKind } from "./schema";
import type { Texts } from "./text";

export type State = "starting" | "watching" | "maybe" | "bear" | "blind";

export type ProblemKind =
  | TroubleKind
  | CameraProblem
  | Failure
  | "stale" // the detector does not answer
  | "restarted"
  | "giving-up" // it was restarted again and again
  | "hidden"
  | "sound"
  | "screen-missing"
  | "screen-refused"
  | "full"
  | "broken"
  | "internal";

/** Values for a problem's words; times in milliseconds since 1970. */
export interface Values {
  readonly detail?: string;
  readonly at?: number;
  readonly from?: number;
  readonly to?: number;
}

export interface Problem {
  readonly kind: ProblemKind;
  readonly values: Values;
  readonly past: boolean; // over, but shown until somebody has read it
}

/** A look that is older tells nothing of now. */
export const STALE_S = 10;

/** While one of these lasts, no bear can be seen. */
const BLIND: ReadonlySet<string> = new Set([...Object.keys(UNSEEN_WORDS), ...CAMERA_PROBLEMS, ...MODEL_FAILURES, "stale", "giving-up"]);

type Words = (text: Texts, values: Values) => readonly string[];

const WORDS: Readonly<Record<ProblemKind, Words>> = {
  gone: (text) => [text.problemGone],
  frozen: (text) => [text.problemFrozen],
  black: (text) => [text.problemBlack],
  white: (text) => [text.problemWhite],
  covered: (text) => [text.problemCovered],
  blurred: (text) => [text.problemBlurred],
  moved: (text) => [text.problemMoved],
  denied: (text) => [text.cameraDenied, text.cameraDeniedSteps],
  missing: (text) => [text.cameraMissing, text.cameraMissingSteps],
  busy: (text) => [text.cameraBusy, text.cameraBusySteps],
  insecure: (text) => [text.cameraInsecure, text.cameraInsecureSteps],
  other: (text, { detail = "" }) => [text.cameraOther(detail), text.cameraOtherSteps],
  "model-missing": (text) => [text.failedModelMissing],
  "model-corrupt": (text) => [text.failedModelCorrupt],
  "model-card": (text) => [text.failedModelCard],
  "model-wrong": (text) => [text.failedModelWrong],
  runtime: (text) => [text.failedRuntime],
  memory: (text) => [text.failedMemory],
  stale: (text) => [text.problemStale(STALE_S)],
  restarted: (text, { at = 0 }) => [text.problemRestarted(timeOf(at))],
  "giving-up": (text) => [text.problemGivingUp],
  hidden: (text, { from = 0, to = 0 }) => [text.problemHidden(timeOf(from), timeOf(to))],
  sound: (text) => [text.problemSound],
  "screen-missing": (text) => [text.screenMissing],
  "screen-refused": (text) => [text.screenRefused],
  full: (text) => [text.problemFull],
  broken: (text) => [text.problemBroken],
  internal: (text, { detail = "" }) => [text.problemInternal(detail)],
};

/** Return a problem's sentences: what is wrong, and the steps. */
export function problemWords(text: Texts, kind: ProblemKind, values: Values = {}): readonly string[] {
  return WORDS[kind](text, values);
}

/** Return whether a problem means that no bear can be seen now. */
export function blind(problem: Problem): boolean {
  return !problem.past && BLIND.has(problem.kind);
}

/** Return the big state. An alarm that sounds goes before all else. */
export function stateOf(watched: {
  readonly seen: "watching" | "maybe" | "bear" | null; // in the last look; null: there was none
  readonly sounding: boolean;
  readonly problems: readonly Problem[];
}): State {
  if (watched.sounding) return "bear";
  if (watched.problems.some(blind)) return "blind";
  return watched.seen ?? "starting";
}
