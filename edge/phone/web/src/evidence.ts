/** When is it a bear: evidence gathered over time, a leaky one-sided CUSUM for each track; as in `edge/decide/evidence.py`. */

import type { Incident } from "./alarms";
import { firstMax, type Track } from "./tracker";

const EPSILON = 1e-6; // probabilities are kept this far from 0 and 1, where the logit ends
const STILL_COUNTS = 2; // weight of a score of something that stands still, for and against
const STILL_MORE = 1.7; // logits by which a crop of what stands still must be surer
const MEAN_S = 3; // how far back the mean of the scores goes
const SCANNED_S = 5; // for how long a frame scan that found a bear counts beside the crops
const TIMES = 2; // the evidence that a spot held back needs, as a multiple of the usual

/** The constants of the decision. */
export class Rule {
  readonly cap = 3; // c, logits
  readonly alarmAt = 1.8; // h, logit-seconds
  readonly firstS = 0.3; // w0
  readonly stepMaxS = 0.4; // dt_max
  readonly forgetS = 10; // tau

  private constructor(
    readonly threshold: number, // bear probability with no evidence either way, 0 to 1
    readonly stillThreshold: number, // the same for a crop of what stands still
    readonly oodThreshold: number, // stranger crops than this count half
  ) {}

  /** Return the rule a model's card asks for; `threshold` (0 to 1) overrides both of the rule's. */
  static fromCard(card: { crop: number; oodThreshold: number }, threshold: number | null = null): Rule {
    return new Rule(threshold ?? card.crop, threshold ?? sigmoid(logit(card.crop) + STILL_MORE), card.oodThreshold);
  }

  /** Return the bear probability that is no evidence either way. */
  thresholdFor(still: boolean): number {
    return still ? Math.max(this.threshold, this.stillThreshold) : this.threshold;
  }

  /**
   * Return the evidence of one bear probability in logits, -c to +c; above 0 where it passes the threshold.
   *
   * What stands still has the higher threshold to pass; beyond it each score counts double, for and against.
   */
  evidence(bear: number, ood: number, still: boolean): number {
    let logits = logit(bear) - logit(this.threshold);
    if (still) logits = Math.min(logits, STILL_COUNTS * (logit(bear) - logit(this.thresholdFor(true))));
    logits = Math.min(Math.max(logits, -this.cap), this.cap);
    return logits > 0 && ood > this.oodThreshold ? logits / 2 : logits;
  }
}

/** The evidence of one track after one frame. */
export interface EvidenceState {
  readonly track: number;
  readonly sum: number; // the evidence gathered, S, logit-seconds
  readonly alarmAt: number; // h, as it holds for this track now
}

/** The evidence gathered for one track: S. Times in seconds. */
export class Evidence {
  sum = 0; // logit-seconds
  time: number | null = null; // of the last score; null before the first

  constructor(readonly rule: Rule) {}

  /** Add the evidence of a score (`Rule.evidence`) at a time. */
  add(logits: number, time: number): void {
    this.sum = this.after(logits, time);
    this.time = time;
  }

  /** Return what S would be with one more score. */
  after(logits: number, time: number): number {
    if (this.time === null) return Math.max(0, this.rule.firstS * logits);
    const weight = Math.min(Math.max(time - this.time, 0), this.rule.stepMaxS);
    return Math.max(0, this.at(time) + weight * logits);
  }

  /** Return S at a time, where no score has come since the last. */
  at(time: number): number {
    const passed = this.time === null ? 0 : Math.max(time - this.time, 0);
    return this.sum * Math.exp(-passed / this.rule.forgetS);
  }
}

/** The evidence of one track; one for each that was ever scored. */
export class TrackEvidence {
  evidence: Evidence;
  onset: number | null = null; // when the support that led to the alarm began, seconds
  incident: Incident | null = null; // that it was published as
  twice = false; // whether it needs twice the evidence, for its spot has a history
  mean = 0; // of the last scores in logits; above 0 where they mostly pass the threshold
  private averagedAt: number | null = null; // seconds

  constructor(readonly rule: Rule) {
    this.evidence = new Evidence(rule);
  }

  /** h as it holds for this track now, logit-seconds. */
  get alarmAt(): number {
    return this.rule.alarmAt * (this.twice ? TIMES : 1);
  }

  /**
   * Return what the score of a frame at a time (seconds) counts, logits; 0 where nothing does.
   *
   * Only a score of the track's own box counts against it, and none does before one counted for it. What has paused
   * and does not reach the still threshold counts nothing: it is the same picture as before.
   */
  counted(track: Track, time: number): number {
    if (!track.now) return 0;
    const { bear, ood } = track.now;
    // It has paused and needs a higher score: no frame scan found it, or its spot has a history.
    const doubted = track.paused && (this.twice || !track.scanned(time, SCANNED_S));
    const logits = this.rule.evidence(bear, ood, doubted && track.still);
    if (doubted && !track.still && logits > 0 && bear < this.rule.thresholdFor(true)) return 0;
    return logits > 0 || (track.own && this.evidence.time !== null) ? logits : 0;
  }

  /**
   * Keep the mean of this frame's score and those before it, in logits (time in seconds).
   *
   * What stands still is not held to its own threshold here: a bear that lies down is still there.
   */
  average(track: Track, time: number): void {
    if (!track.now) return;
    const logits = this.rule.evidence(track.now.bear, track.now.ood, false);
    if (logits > 0 || track.own) {
      const passedS = this.averagedAt === null ? Infinity : Math.max(time - this.averagedAt, 0);
      this.mean += (1 - Math.exp(-passedS / MEAN_S)) * (logits - this.mean);
      this.averagedAt = time;
    }
  }

  /**
   * Add what counts at a time (seconds).
   *
   * `likelySame`: the evidence of other tracks that may be the same animal. Where one of them has more, this goes on
   * from there; not from one that was published already, for that evidence is of a second animal nearby.
   */
  add(logits: number, time: number, likelySame: readonly TrackEvidence[]): void {
    if (logits > 0 && !this.incident) {
      const lenders = likelySame.filter((other) => !other.incident);
      const best = firstMax([this, ...lenders], (one) => one.evidence.after(logits, time)) ?? this;
      this.evidence.sum = best.evidence.sum;
      this.evidence.time = best.evidence.time;
      this.onset = best.onset;
    }
    this.evidence.add(logits, time);
    if (this.evidence.sum === 0) this.onset = null;
    else this.onset ??= time;
  }
}

/** Return the probability of log-odds. */
export function sigmoid(logits: number): number {
  return 1 / (1 + Math.exp(-logits));
}

/** Return log(p / (1 - p)), p kept away from 0 and 1. */
export function logit(p: number): number {
  const kept = Math.min(Math.max(p, EPSILON), 1 - EPSILON);
  return Math.log(kept / (1 - kept));
}
