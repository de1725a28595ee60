/** Draw a zone with a finger on the live picture, or choose a part of it by a button. */

import type { Size } from "./camera";
import { byId, put } from "./dom";
import { drawArea, drawZones, overlay, within } from "./overlay";
import type { Point, Polygon, Zone } from "./schema";
import type { Texts } from "./text";
import type { Watch } from "./watch";

export const LEAST_AREA = 0.005; // of the picture; less was a slip of the finger
const FINE = 0.012; // of the picture: corners nearer to the line are left out
const PARTS: Readonly<Record<string, Polygon>> = {
  "zone-left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]],
  "zone-right": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]],
  "zone-lower": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]],
}; // prettier-ignore

const ASPECTS_APART = 0.02; // less is rounding

/** A zone as it is stored, with the shape of the picture on which it was drawn. */
export interface DrawnZone extends Zone {
  readonly aspect?: number; // width / height
}

/** Return whether a zone was drawn on a picture of another shape, as when the phone stood upright: it lies elsewhere now. */
export function misplaced(zones: readonly DrawnZone[], { width, height }: Size): boolean {
  return zones.some(({ aspect }) => aspect !== undefined && Math.abs((aspect * height) / width - 1) > ASPECTS_APART);
}

/** Return a line with as few points as show it within a distance (Ramer, Douglas, Peucker). */
export function simplified(line: readonly Point[], distance: number): Point[] {
  const [first, last] = [line[0], line.at(-1)];
  if (!first || !last || line.length < 3) return [...line];
  let [worst, farthest] = [0, 0];
  for (let index = 1; index < line.length - 1; index++) {
    const off = away(line[index], first, last);
    if (off > worst) [worst, farthest] = [off, index];
  }
  if (worst <= distance) return [first, last];
  return [...simplified(line.slice(0, farthest + 1), distance).slice(0, -1), ...simplified(line.slice(farthest), distance)];
}

/** Return how far a point lies from the stretch between two others. */
function away([x, y]: Point, [x0, y0]: Point, [x1, y1]: Point): number {
  const length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2;
  const share = length2 === 0 ? 0 : Math.min(1, Math.max(0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length2));
  return Math.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0));
}

/** Return the area of a polygon, as a share of the picture. */
export function areaOf(corners: Polygon): number {
  let twice = 0;
  for (let index = 0; index < corners.length; index++) {
    const [[x0, y0], [x1, y1]] = [corners[index], corners[(index + 1) % corners.length]];
    twice += x0 * y1 - x1 * y0;
  }
  return Math.abs(twice) / 2;
}

/** Return the zone that a finger's way encloses, rounded; null if it is too small. */
export function enclosed(way: readonly Point[]): Polygon | null {
  const corners = simplified(way, FINE).map(([x, y]): Point => [round(x), round(y)]);
  return corners.length >= 3 && areaOf(corners) >= LEAST_AREA ? corners : null;
}

const round = (share: number): number => Math.round(1000 * share) / 1000;

export class ZoneEditor {
  private way: Point[] = []; // of the finger
  private corners: Polygon | null = null;
  private text: Texts | null = null; // null: the editor is closed
  private readonly figure = byId("picture", HTMLElement);
  private readonly name = byId("zone-name", HTMLInputElement);
  private readonly save = byId("zone-save", HTMLButtonElement);

  constructor(
    private readonly watch: Watch,
    private readonly done: (zone: DrawnZone | null) => void,
  ) {
    this.figure.addEventListener("pointerdown", (event) => this.down(event));
    this.figure.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) this.figure.addEventListener(kind, () => this.up());
    for (const [id, corners] of Object.entries(PARTS)) {
      byId(id, HTMLButtonElement).addEventListener("click", () => this.choose(corners));
    }
    this.save.addEventListener("click", () => this.keep());
    byId("zone-cancel", HTMLButtonElement).addEventListener("click", () => this.close(null));
    for (const each of [window, watch.camera.video]) each.addEventListener("resize", () => this.draw());
  }

  open(text: Texts): void {
    this.text = text;
    this.way = [];
    this.corners = null;
    this.save.disabled = true;
    this.name.value = this.newName(text);
    this.say("");
    this.draw();
  }

  private newName(text: Texts): string {
    let number = 1;
    while (this.isTaken(text.zoneDefaultName(number))) number += 1;
    return text.zoneDefaultName(number);
  }

  private isTaken(name: string): boolean {
    return this.watch.settings.zones.some((each) => each.name === name);
  }

  /** Close without a zone, as when an alarm comes. */
  leave(): void {
    this.text = null;
    overlay(this.watch.camera.video, this.figure); // nothing of it stays on the picture
  }

  private close(zone: DrawnZone | null): void {
    this.leave();
    this.done(zone);
  }

  private keep(): void {
    if (!this.text || !this.corners) return;
    const name = this.name.value.trim() || this.newName(this.text);
    if (this.isTaken(name)) this.say(this.text.zoneNameTaken);
    else this.close({ name, corners: this.corners, ...this.aspect() });
  }

  private aspect(): { aspect?: number } {
    const { videoWidth, videoHeight } = this.watch.camera.video;
    return videoHeight > 0 ? { aspect: videoWidth / videoHeight } : {};
  }

  private down(event: PointerEvent): void {
    if (!this.text || !event.isPrimary) return;
    this.figure.setPointerCapture(event.pointerId);
    this.way = [this.at(event)];
    this.corners = null;
    event.preventDefault();
  }

  private move(event: PointerEvent): void {
    if (!this.text || this.way.length === 0 || !event.isPrimary) return;
    this.way.push(this.at(event));
    this.draw();
  }

  private up(): void {
    if (!this.text || this.way.length === 0) return;
    const corners = enclosed(this.way);
    this.way = [];
    this.choose(corners);
  }

  private choose(corners: Polygon | null): void {
    if (!this.text) return;
    this.corners = corners;
    this.save.disabled = corners === null;
    this.say(corners ? this.text.zoneReady : this.text.zoneTooSmall);
    this.draw();
  }

  private at(event: PointerEvent): Point {
    const { left, top } = this.figure.getBoundingClientRect();
    const place = overlay(this.watch.camera.video, this.figure)?.place ?? [0, 0, 1, 1];
    return within([event.clientX - left, event.clientY - top], place);
  }

  private draw(): void {
    const drawing = this.text && overlay(this.watch.camera.video, this.figure);
    if (!drawing) return;
    drawZones(drawing, this.watch.settings.zones);
    drawArea(drawing, this.corners ?? this.way);
  }

  private say(words: string): void {
    put(byId("zone-said", HTMLElement), words);
  }
}
