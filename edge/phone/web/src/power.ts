/** How much work the phone may have: less with a low battery or heat. */

export interface Battery {
  readonly level: number; // 0 to 1
  readonly charging: boolean;
}

export type Pressure = "nominal" | "fair" | "serious" | "critical";

/** Return the share of the usual frame rate, 0 to 1. */
export function shareOf(battery: Battery | null, pressure: Pressure | null): number {
  let share = 1;
  if (battery && !battery.charging && battery.level < 0.2) share = battery.level < 0.1 ? 0.25 : 0.5;
  if (pressure === "serious") share = Math.min(share, 0.5);
  if (pressure === "critical") share = Math.min(share, 0.25);
  return share;
}

interface BatteryManager extends Battery, EventTarget {}
type Records = readonly { readonly state: Pressure }[];
interface Observer {
  observe(source: "cpu", options: { sampleInterval: number }): Promise<void>;
}

/** Battery and heat as far as this browser tells; what it does not tell is null. */
export class Power {
  battery: Battery | null = null;
  pressure: Pressure | null = null;

  get share(): number {
    return shareOf(this.battery, this.pressure);
  }

  /** Begin to listen; `changed` is called when the share may be another. */
  async listen(changed: () => void): Promise<void> {
    const { getBattery } = navigator as { getBattery?: () => Promise<BatteryManager> };
    const { PressureObserver } = globalThis as { PressureObserver?: new (heard: (records: Records) => void) => Observer };
    if (PressureObserver) {
      const observer = new PressureObserver((records) => {
        this.pressure = records.at(-1)?.state ?? null;
        changed();
      });
      // Not there for this kind of device, or forbidden: the worker still adapts itself to slowness.
      observer.observe("cpu", { sampleInterval: 5000 }).catch(() => (this.pressure = null));
    }
    if (!getBattery) return;
    try {
      const battery = await getBattery.call(navigator);
      this.battery = battery;
      for (const kind of ["levelchange", "chargingchange"]) battery.addEventListener(kind, changed);
    } catch {
      this.battery = null; // forbidden by a policy
    }
    changed();
  }
}
