/** Limit the work of the phone: less with a low battery. Heat shows as slowness, to which the worker adapts itself. */

export interface Battery {
  readonly level: number; // 0 to 1
  readonly charging: boolean;
}

/** Return the share of the usual frame rate, 0 to 1. */
export function shareOf(battery: Battery | null): number {
  if (!battery || battery.charging || battery.level >= 0.2) return 1;
  return battery.level < 0.1 ? 0.25 : 0.5;
}

interface BatteryManager extends Battery, EventTarget {}

/** The battery as far as this browser tells; null: it does not. */
export class Power {
  battery: Battery | null = null;

  get share(): number {
    return shareOf(this.battery);
  }

  /** Begin to listen; `changed` is called when the share may be another. */
  async listen(changed: () => void): Promise<void> {
    const { getBattery } = navigator as { getBattery?: () => Promise<BatteryManager> };
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
