/** Keep the screen on while the app watches. The browser ends the lock whenever the page is hidden. */

export type WakeState = "off" | "held" | "missing" | "refused";

export class WakeLock {
  state: WakeState = "off";
  private sentinel: WakeLockSentinel | null = null;
  private wanted = false;
  private asking = false;

  /** Keep the screen on from now on; return whether that worked. Call it again whenever the page is visible again. */
  async hold(): Promise<WakeState> {
    this.wanted = true;
    // Typed as always there; iOS home-screen apps before 18.4 lack it.
    const wakeLock = navigator.wakeLock as Navigator["wakeLock"] | undefined;
    if (!wakeLock) return (this.state = "missing");
    if (this.sentinel || this.asking) return this.state;
    this.asking = true;
    try {
      const sentinel = await wakeLock.request("screen");
      this.sentinel = sentinel;
      sentinel.addEventListener("release", () => {
        this.sentinel = null;
        this.state = "off"; // until it is asked for again, once a second
      });
      this.state = "held";
    } catch {
      this.state = "refused"; // battery saver, or the page is hidden
    } finally {
      this.asking = false;
    }
    if (!this.wanted) await this.release();
    return this.state;
  }

  async release(): Promise<void> {
    this.wanted = false;
    await this.sentinel?.release();
    this.sentinel = null;
    this.state = "off";
  }
}
