/** Draw over the live picture: boxes and zones. */

import type { Size } from "./camera";
import type { Mark } from "./protocol";
import type { BoxXYWH, Point, Polygon, Zone } from "./schema";
import type { Texts } from "./text";

const SURE = 0.5; // a box from here on is drawn thick, with its number
const BEAR = "#ffd400";
const FONT = "bold 18px system-ui, sans-serif";

/** A canvas over the video, in CSS pixels, and where the picture lies on it. */
export interface Drawing {
  readonly context: CanvasRenderingContext2D;
  readonly place: BoxXYWH;
}

/** Return where a picture lies in a box that shows it whole (`object-fit: contain`): left, top, width, height. */
export function fitted(box: Size, picture: Size): BoxXYWH {
  if (picture.width === 0 || picture.height === 0) return [0, 0, box.width, box.height];
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return [(box.width - width) / 2, (box.height - height) / 2, width, height];
}

/** Return a point of the canvas as fractions of the picture, at most at its edge. */
export function within(point: Point, place: BoxXYWH): Point {
  const share = (at: number, start: number, length: number): number => Math.min(1, Math.max(0, (at - start) / length));
  return [share(point[0], place[0], place[2]), share(point[1], place[1], place[3])];
}

/** Return the empty canvas over the video. */
export function overlay(video: HTMLVideoElement, figure: HTMLElement): Drawing | null {
  const canvas = figure.querySelector("canvas");
  const context = canvas?.getContext("2d");
  if (!canvas || !context) return null;
  const box = { width: figure.clientWidth, height: figure.clientHeight };
  const [width, height] = [Math.round(box.width * devicePixelRatio), Math.round(box.height * devicePixelRatio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, place: fitted(box, { width: video.videoWidth, height: video.videoHeight }) };
}

export function drawMarks(drawing: Drawing, marks: readonly Mark[], text: Texts): void {
  const { context, place } = drawing;
  for (const { box, kind, bear } of marks) {
    const sure = bear >= SURE;
    if (kind === "scan" && !sure) continue; // where it looked, not what moved
    const outline = new Path2D();
    const [x, y] = [place[0] + box[0] * place[2], place[1] + box[1] * place[3]];
    outline.rect(x, y, box[2] * place[2], box[3] * place[3]);
    stroke(context, outline, sure ? BEAR : "#fff", sure ? 5 : 2, sure ? [] : [6, 5]);
    if (sure) label(context, text.markBear(Math.round(100 * bear)), x, y - 28, BEAR);
  }
}

export function drawZones(drawing: Drawing, zones: readonly Zone[]): void {
  for (const { name, corners } of zones) {
    stroke(drawing.context, outlineOf(corners, drawing.place), "#8fd3ff", 3, [14, 6]);
    const [x, y] = corners[0] ?? [0, 0];
    label(drawing.context, name, drawing.place[0] + x * drawing.place[2], drawing.place[1] + y * drawing.place[3], "#8fd3ff");
  }
}

/** Draw the area that a finger marks. */
export function drawArea(drawing: Drawing, corners: Polygon): void {
  const outline = outlineOf(corners, drawing.place);
  drawing.context.fillStyle = "rgb(255 212 0 / 35%)";
  drawing.context.fill(outline);
  stroke(drawing.context, outline, BEAR, 4, []);
}

function outlineOf(corners: Polygon, place: BoxXYWH): Path2D {
  const outline = new Path2D();
  for (const [x, y] of corners) outline.lineTo(place[0] + x * place[2], place[1] + y * place[3]);
  outline.closePath();
  return outline;
}

/** Stroke twice, dark below bright: seen on snow and at night. */
function stroke(context: CanvasRenderingContext2D, outline: Path2D, colour: string, width: number, dashes: number[]): void {
  for (const [each, line] of [["#000", width + 3], [colour, width]] as const) {
    context.setLineDash(line === width ? dashes : []);
    context.strokeStyle = each;
    context.lineWidth = line;
    context.stroke(outline);
  }
}

function label(context: CanvasRenderingContext2D, words: string, left: number, top: number, colour: string): void {
  context.font = FONT;
  const width = context.measureText(words).width + 12;
  const x = Math.max(0, Math.min(left, context.canvas.width / devicePixelRatio - width));
  const y = Math.max(0, Math.min(top, context.canvas.height / devicePixelRatio - 26));
  context.fillStyle = colour;
  context.fillRect(x, y, width, 26);
  context.fillStyle = "#000";
  context.fillText(words, x + 6, y + 19);
}
