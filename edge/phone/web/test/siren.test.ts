import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

let sounds: number; // voices that were started
const vibrate = vi.fn();

/** Return a siren in a browser that has sound and vibrates. */
async function sirenOf(): Promise<import("../src/siren").Siren> {
  class Node {
    frequency = {};
    connect(next: unknown): unknown {
      return next;
    }
    disconnect(): void {}
    start(): void {
      sounds += 1;
    }
    stop(): void {}
  }
  vi.stubGlobal("navigator", { vibrate });
  vi.stubGlobal("AudioContext", class { state = "running"; currentTime = 0; }); // prettier-ignore
  vi.stubGlobal("OscillatorNode", Node);
  vi.stubGlobal("GainNode", Node);
  vi.resetModules();
  const { Siren } = await import("../src/siren");
  const siren = new Siren();
  expect(await siren.unlock()).toBe(true);
  return siren;
}

beforeEach(() => {
  sounds = 0;
  vibrate.mockClear();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("without sound", () => {
  test("nothing is heard: neither siren nor tones, but both vibrate", async () => {
    const siren = await sirenOf();
    siren.notice(false);
    expect([sounds, vibrate.mock.calls.length]).toEqual([0, 1]);
    siren.start(false);
    expect([sounds, vibrate.mock.calls.length]).toEqual([0, 2]);
    siren.stop();
  });
});

describe("with sound", () => {
  test("a notice is three tones", async () => {
    const siren = await sirenOf();
    siren.notice(true);
    expect(sounds).toBe(3);
  });

  test("a notice never disturbs the siren", async () => {
    const siren = await sirenOf();
    siren.start(true);
    const before = [sounds, vibrate.mock.calls.length];
    siren.notice(true);
    expect([sounds, vibrate.mock.calls.length]).toEqual(before);
    siren.stop();
  });
});
