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

/** Return a problem's sentences: what is wrong, and the steps. */
export function problemWords(text: Texts, kind: ProblemKind, { detail = "", at = 0, from = 0, to = 0 }: Values = {}): readonly string[] {
  const words = text.problems[kind];
  return typeof words === "function" ? words({ detail, at: timeOf(at), from: timeOf(from), to: timeOf(to) }) : words;
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
