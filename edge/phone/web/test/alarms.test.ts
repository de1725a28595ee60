import { expect, test } from "vitest";
import { Decider, type Decision } from "../src/alarms";
import { Rule } from "../src/evidence";
import { RepeatAlarmFilter } from "../src/repeat_alarms";
import type { BoxXYWH, RegionKind } from "../src/schema";
import { Tracker } from "../src/tracker";

// What takes too long for the scenes of decisions.test.ts; expected as in tests/decide.

const LEFT: BoxXYWH = [0.1, 0.2, 0.2, 0.2];
const RULE = Rule.fromCard({ crop: 0.42, oodThreshold: 4 });
const STUMP = Float32Array.from({ length: 256 }, (_, i) => (i % 2 === 0 ? 1 : -1));

/** Time that goes on before one camera. */
class Stage {
  time = 0;
  told: { decision: Decision; time: number }[] = [];
  readonly tracker = new Tracker(RULE.threshold);

  constructor(
    readonly decider = new Decider(RULE),
    readonly kind: RegionKind = "motion",
  ) {}

  /** So many seconds with a bear, or with nothing. */
  go(seconds: number, bear: number | null, fps = 2): this {
    const until = this.time + seconds;
    while (this.time < until) {
      this.time += 1 / fps;
      const region = { box: LEFT, kind: this.kind };
      const score = bear === null ? [] : [{ region, probabilities: [bear, 1 - bear], bear, label: "bear", ood: 0 }];
      const tracks = this.tracker.update(score, this.time);
      this.note(this.decider.decide(tracks, this.time, { thumbnailOf: () => STUMP }));
    }
    return this;
  }

  note(decisions: readonly Decision[]): void {
    this.told.push(...decisions.map((decision) => ({ decision, time: this.time })));
  }

  get steps(): string[] {
    return this.told.map(({ decision }) => decision.escalated ?? decision.type);
  }
}

test("a bear that stays is published again every ten minutes", () => {
  const stage = new Stage().go(1300, 0.9);
  expect(stage.steps).toEqual(["new", "update", "update"]);
  expect(stage.told[1].time - stage.told[0].time).toBe(600);
  expect(new Set(stage.told.map(({ decision }) => decision.id)).size).toBe(1);
});

test.each([
  [9, ["new", "end", "update", "end", "update"]],
  [11, ["new", "end", "back after 11 s", "end", "update"]],
])("away for %i s after two minutes, and once more", (awayS, steps) => {
  const stage = new Stage().go(5, 0.9).go(115, 0.9).go(awayS, null).go(5, 0.9).go(awayS, null).go(5, 0.9);
  expect(stage.steps).toEqual(steps);
});

test("what comes and goes is heard ever more seldom", () => {
  const stage = new Stage();
  for (let visit = 0; visit < 60; visit++) stage.go(15, 0.9).go(17, null);
  const noises = stage.told.filter(({ decision }) => decision.type === "new" || decision.escalated !== null);
  expect(noises.map(({ time }) => time)).toEqual([1.5, 129.5, 257.5, 513.5, 1025.5]);
});

test("a camera that saw nothing has lost no bear", () => {
  const stage = new Stage().go(130, 0.9).go(7, null);
  stage.note(stage.decider.close());
  stage.time += 20;
  expect(stage.go(5, 0.9).steps).toEqual(["new", "end", "update"]);
});

test("nor has one that was interrupted: its bear goes on without a noise", () => {
  const stage = new Stage().go(5, 0.9);
  stage.note(stage.decider.interrupt());
  expect(stage.decider.openIncidents).toEqual([]);
  stage.go(2, 0.9);
  expect(stage.steps).toEqual(["new", "end", "update"]);
  expect(stage.decider.openIncidents.map(({ surest }) => surest.box)).toEqual([LEFT]);
});

test("a spot is held back for a day at most, since what alarms all the same does not count", () => {
  const repeatAlarms = new RepeatAlarmFilter();
  const stage = new Stage(new Decider(RULE, { repeatAlarms }), "scan");
  const onsets: (number | null)[] = [];
  for (let hour = 0; hour < 27; hour++) {
    stage.go(10, 0.99, 1).go(20, null, 1);
    onsets.push(stage.told.filter(({ decision }) => decision.type === "new").at(-1)?.decision.onsetS ?? null);
    stage.time = (hour + 1) * 3600;
  }
  // Alarms of hours 0, 1 and 2 hold it back from hour 3 on, until the first of them is a day old.
  const usual = onsets[0];
  expect(onsets.map((onset) => onset !== usual)).toEqual(onsets.map((_, hour) => hour >= 3 && hour < 24));
});
