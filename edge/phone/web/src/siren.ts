/** The siren, a notice tone and the vibration. Sound works only after a tap called `unlock`. */

const SWEEP_HZ = [900, 2100]; // where a phone's speaker is loudest
const SWEEPS_PER_S = 0.8;
const SECOND_VOICE = 1.26; // a third above the first: two tones are heard in wind and water
const NOTICE_HZ = [660, 440, 660]; // steady and short: not to be mistaken for the siren
const VIBRATION_MS = [600, 200, 600, 200, 600, 200];
const VIBRATE_EVERY_MS = 2400;

export class Siren {
  private context: AudioContext | null = null;
  private stopVoices: (() => void) | null = null;
  private shaking: ReturnType<typeof setInterval> | undefined;

  static readonly canVibrate = typeof navigator !== "undefined" && "vibrate" in navigator;

  /** Allow sound; call it from a tap. Return whether sound can be heard now. */
  async unlock(): Promise<boolean> {
    // Safari's Audio Session API: as media, the sound may pass the silent switch.
    const session = (navigator as { audioSession?: { type: string } }).audioSession;
    if (session) session.type = "playback";
    if (!this.context || this.context.state === "closed") {
      this.context = new AudioContext();
      this.context.onstatechange = () => void this.resume();
    }
    await this.resume();
    return !this.blocked;
  }

  /** Return whether the browser holds the sound back, as iOS does after a call. */
  get blocked(): boolean {
    return this.context?.state !== "running";
  }

  /** Ask for sound again; without a tap the browser may refuse. */
  async resume(): Promise<void> {
    const context = this.context;
    if (!context || context.state === "running" || context.state === "closed") return;
    // A refused resume() may stay pending for ever, until the next tap.
    await Promise.race([context.resume().catch(() => undefined), new Promise((done) => setTimeout(done, 500))]);
  }

  /** Sound the siren until `stop`; without sound it only vibrates. */
  start(loud: boolean): void {
    if (!this.shaking && Siren.canVibrate) {
      navigator.vibrate(VIBRATION_MS);
      this.shaking = setInterval(() => navigator.vibrate(VIBRATION_MS), VIBRATE_EVERY_MS);
    }
    if (loud && this.context && !this.stopVoices) this.stopVoices = wail(this.context);
    if (!loud) this.hush();
  }

  stop(): void {
    this.hush();
    clearInterval(this.shaking);
    if (this.shaking && Siren.canVibrate) navigator.vibrate(0);
    this.shaking = undefined;
  }

  /** Say by three short tones that something needs attention; without sound it only vibrates. Never over the siren. */
  notice(loud: boolean): void {
    if (this.stopVoices || this.shaking) return;
    if (Siren.canVibrate) navigator.vibrate([150, 150, 150]);
    const { context } = this;
    if (!loud || !context) return;
    NOTICE_HZ.forEach((pitch, index) => beep(context, pitch, context.currentTime + index * 0.35, 0.25));
  }

  private hush(): void {
    this.stopVoices?.();
    this.stopVoices = null;
  }
}

/** Start two rising and falling tones that need no timer: they go on while the page is busy. Return what stops them. */
function wail(context: AudioContext): () => void {
  const [low, high] = SWEEP_HZ;
  const loudness = new GainNode(context, { gain: 0.5 });
  loudness.connect(context.destination);
  const sweep = new OscillatorNode(context, { type: "triangle", frequency: SWEEPS_PER_S });
  const voices = [1, SECOND_VOICE].map((factor) => {
    const voice = new OscillatorNode(context, { type: "square", frequency: ((low + high) / 2) * factor });
    sweep.connect(new GainNode(context, { gain: ((high - low) / 2) * factor })).connect(voice.frequency);
    voice.connect(loudness);
    return voice;
  });
  for (const each of [sweep, ...voices]) each.start();
  return () => {
    for (const each of [sweep, ...voices]) each.stop();
    loudness.disconnect();
  };
}

function beep(context: AudioContext, pitch: number, at: number, lastsS: number): void {
  const loudness = new GainNode(context, { gain: 0.6 });
  const voice = new OscillatorNode(context, { type: "triangle", frequency: pitch });
  voice.connect(loudness).connect(context.destination);
  voice.onended = () => loudness.disconnect();
  voice.start(at);
  voice.stop(at + lastsS);
}
