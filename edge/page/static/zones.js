"use strict";
// Draws zones and masks on the picture. The form beside it holds them: each area's fields follow what is drawn.

const stage = document.querySelector(".stage");
const svg = stage.querySelector("svg");
const picture = stage.querySelector("img");
const list = document.getElementById("areas");
const form = list.closest("form");
const how = document.getElementById("how");
const locked = "locked" in stage.dataset;
const STILL_MS = 3000;
const STEP = 0.01; // of an arrow key
const SHAKE_PX = 8; // less is a tap, more a drag
const FIRST = [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]; // corners of an area that is made without a pointer

let areas = [];
let chosen = null;
let adding = false;
let changed = false;
let made = 1000; // numbers of the fields of new areas

const clamp = (at) => Math.min(1, Math.max(0, at));
const percent = (at) => `${Math.round(100 * at)} %`;
const parse = (words) => {
  const numbers = words.trim().split(/[\s,]+/).filter(Boolean).map(Number);
  if (numbers.length % 2 || numbers.some((at) => !(at >= 0 && at <= 1))) return [];
  return numbers.flatMap((at, n) => (n % 2 ? [] : [[at, numbers[n + 1]]]));
};

function place(event) {
  const box = stage.getBoundingClientRect();
  return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
}

function nameOf(area) {
  return area.kind === "mask" ? "mask" : area.row.querySelector("[name^=name-]").value || "zone";
}

function surface(corners) {
  return Math.abs(corners.reduce((sum, [x, y], n) => {
    const [nextX, nextY] = corners[(n + 1) % corners.length];
    return sum + x * nextY - nextX * y;
  }, 0)) / 2;
}

function wordsOf({ corners }) {
  if (!corners.length) return "not on the picture yet";
  if (corners.length < 3) return corners.length === 1 ? "tap two more corners" : "tap one more corner";
  if (surface(corners) < 1e-6) return "its corners enclose nothing; move one";
  const [xs, ys] = [corners.map((corner) => corner[0]), corners.map((corner) => corner[1])];
  return `${corners.length} corners; ${percent(Math.min(...xs))} to ${percent(Math.max(...xs))} from the left, ` +
    `${percent(Math.min(...ys))} to ${percent(Math.max(...ys))} from the top`;
}

// What is seen follows what the areas hold.

function draw(area) {
  const { corners } = area;
  area.polygon.setAttribute("points", corners.map((corner) => corner.join(",")).join(" "));
  const chosenNow = area === chosen;
  for (const each of [area.polygon, area.row]) each.classList.toggle("chosen", chosenNow);
  area.row.querySelector(".pick")?.setAttribute("aria-pressed", String(chosenNow));
  area.row.querySelector(".words").textContent = wordsOf(area);
  area.tag.hidden = !corners.length;
  area.tag.textContent = nameOf(area);
  if (corners.length) {
    area.tag.style.left = `${(100 * corners.reduce((sum, corner) => sum + corner[0], 0)) / corners.length}%`;
    area.tag.style.top = `${(100 * corners.reduce((sum, corner) => sum + corner[1], 0)) / corners.length}%`;
  }
  if (chosenNow) drawCorners();
}

function drawCorners() {
  const handles = [...stage.querySelectorAll(".corner")];
  const corners = chosen && !locked ? chosen.corners : [];
  handles.slice(corners.length).forEach((handle) => handle.remove());
  corners.forEach(([x, y], n) => {
    const handle = handles[n] ?? newHandle(n);
    handle.style.left = `${100 * x}%`;
    handle.style.top = `${100 * y}%`;
    handle.setAttribute(
      "aria-label",
      `Corner ${n + 1} of ${nameOf(chosen)}: ${percent(x)} from the left, ${percent(y)} from the top`,
    );
  });
}

function drawAll() {
  stage.classList.toggle("adding", adding);
  if (!chosen) stage.querySelectorAll(".corner").forEach((handle) => handle.remove());
  areas.forEach(draw);
  document.getElementById("none").hidden = areas.length > 0;
  if (locked) return;
  document.getElementById("add-corner").disabled = !chosen;
  document.getElementById("done").disabled = !chosen;
}

/** Take over what was drawn into the fields. */
function keep(area) {
  changed = true;
  area.row.querySelector("[name^=corners-]").value =
    area.corners.map((corner) => corner.map((at) => Number(at.toFixed(3))).join(",")).join(" ");
  draw(area);
}

function say(words) {
  how.textContent = words;
}

function choose(area, startAdding = false) {
  chosen = area;
  adding = startAdding;
  drawAll();
  if (adding) say("Drag over the picture to draw a box, or tap each corner in turn; then Done.");
  else if (area) say("Drag a corner, or move it with the arrow keys; Tab goes to the next one, Delete takes it away.");
}

// Areas.

function watchRow(row) {
  const area = {
    row,
    kind: row.dataset.kind,
    corners: [],
    polygon: document.createElementNS("http://www.w3.org/2000/svg", "polygon"),
    tag: Object.assign(document.createElement("span"), { className: "tag", ariaHidden: "true" }),
  };
  const field = row.querySelector("[name^=corners-]");
  area.corners = parse(field.value);
  area.polygon.classList.add(area.kind);
  area.polygon.setAttribute("fill", area.kind === "mask" ? "url(#stripes)" : "#3cb4ff");
  svg.append(area.polygon);
  stage.append(area.tag);
  areas.push(area);
  row.querySelectorAll(".scripted").forEach((each) => { each.hidden = false; });
  field.addEventListener("input", () => {
    changed = true;
    area.corners = parse(field.value);
    draw(area);
  });
  row.querySelector("[name^=name-]")?.addEventListener("input", () => {
    changed = true;
    draw(area);
  });
  if (locked) return area;
  row.querySelector(".pick").addEventListener("click", () => {
    choose(area);
    (stage.querySelector(".corner") ?? document.getElementById("add-corner")).focus();
  });
  row.querySelector(".remove").addEventListener("click", () => remove(area));
  area.polygon.addEventListener("pointerdown", (event) => moveWhole(event, area));
  return area;
}

function newArea(kind) {
  made += 1;
  const row = document.getElementById(`new-${kind}-row`).content.firstElementChild.cloneNode(true);
  for (const each of row.querySelectorAll("*")) {
    for (const name of ["id", "for", "name"]) {
      if (each.hasAttribute(name)) each.setAttribute(name, each.getAttribute(name).replace(/-N$/, `-${made}`));
    }
  }
  if (kind === "zone") {
    const taken = new Set(areas.filter((each) => each.kind === "zone").map(nameOf));
    let name = "zone";
    for (let n = 2; taken.has(name); n += 1) name = `zone-${n}`;
    row.querySelector("[name^=name-]").value = name;
  }
  list.append(row);
  choose(watchRow(row), true);
  stage.scrollIntoView({ block: "nearest" });
}

function remove(area) {
  changed = true;
  areas = areas.filter((each) => each !== area);
  for (const each of [area.row, area.polygon, area.tag]) each.remove();
  choose(areas.includes(chosen) ? chosen : null);
  say(`The ${area.kind} is removed when you save.`);
  document.getElementById("new-zone").focus();
}

// Corners.

function newHandle(n) {
  const handle = Object.assign(document.createElement("button"), { type: "button", className: "corner" });
  handle.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    if (adding && n === 0 && chosen.corners.length > 2) choose(chosen);
    follow(event, handle, (at) => {
      chosen.corners[n] = at;
      keep(chosen);
    });
  });
  handle.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (by) chosen.corners[n] = chosen.corners[n].map((at, side) => clamp(at + by[side]));
    else if (event.key === "Delete" || event.key === "Backspace") chosen.corners.splice(n, 1);
    else return;
    event.preventDefault();
    keep(chosen);
    if (!by) (stage.querySelectorAll(".corner")[Math.max(0, n - 1)] ?? document.getElementById("add-corner")).focus();
  });
  stage.append(handle);
  return handle;
}

/** Call `move` with each place of the pointer until it is lifted, then `end` with whether it went anywhere. */
function follow(event, target, move, end = () => {}) {
  if (event.button !== 0) return;
  const [fromX, fromY] = [event.clientX, event.clientY];
  let dragged = false;
  target.setPointerCapture(event.pointerId);
  const moved = (next) => {
    dragged ||= Math.hypot(next.clientX - fromX, next.clientY - fromY) > SHAKE_PX;
    if (dragged) move(place(next));
  };
  const over = (next) => {
    for (const name of ["pointermove", "pointerup", "pointercancel"]) target.removeEventListener(name, handlers[name]);
    end(dragged, place(next), next.type === "pointerup");
  };
  const handlers = { pointermove: moved, pointerup: over, pointercancel: over };
  for (const [name, handler] of Object.entries(handlers)) target.addEventListener(name, handler);
}

function moveWhole(event, area) {
  if (adding) return;
  event.stopPropagation();
  choose(area);
  const from = place(event);
  const corners = area.corners.map((corner) => [...corner]);
  follow(event, area.polygon, (at) => {
    const by = [0, 1].map((side) => {
      const sides = corners.map((corner) => corner[side]);
      return Math.min(1 - Math.max(...sides), Math.max(-Math.min(...sides), at[side] - from[side]));
    });
    area.corners = corners.map(([x, y]) => [x + by[0], y + by[1]]);
    keep(area);
  });
}

function drawNew(event) {
  if (!adding) return;
  event.preventDefault();
  const area = chosen;
  const from = place(event);
  const empty = !area.corners.length;
  const box = (at) => {
    if (!empty) return;
    area.corners = [from, [at[0], from[1]], at, [from[0], at[1]]];
    keep(area);
  };
  follow(event, stage, box, (dragged, at, lifted) => {
    if (dragged && empty) choose(area);
    else if (lifted) {
      area.corners.push(at);
      keep(area);
    }
  });
}

function addCorner() {
  const { corners } = chosen;
  let at = corners.length;
  if (at < 3) corners.push(FIRST.find((each) => !corners.some((corner) => Math.hypot(corner[0] - each[0], corner[1] - each[1]) < STEP)));
  else {
    const length = (n) => Math.hypot(...[0, 1].map((side) => corners[n][side] - corners[(n + 1) % corners.length][side]));
    const longest = corners.map((_, n) => n).reduce((best, n) => (length(n) > length(best) ? n : best));
    const next = corners[(longest + 1) % corners.length];
    at = longest + 1;
    corners.splice(at, 0, [0, 1].map((side) => (corners[longest][side] + next[side]) / 2));
  }
  keep(chosen);
  stage.querySelectorAll(".corner")[at].focus();
}

// The start.

svg.querySelectorAll("polygon").forEach((each) => each.remove());
list.querySelectorAll(":scope > .area").forEach(watchRow);
document.querySelectorAll(".look .scripted").forEach((each) => { each.hidden = false; });
drawAll();
if (!locked) {
  document.getElementById("new-zone").addEventListener("click", () => newArea("zone"));
  document.getElementById("new-mask").addEventListener("click", () => newArea("mask"));
  document.getElementById("add-corner").addEventListener("click", addCorner);
  document.getElementById("done").addEventListener("click", () => choose(adding ? chosen : null));
  stage.addEventListener("pointerdown", drawNew);
  form.addEventListener("submit", () => { changed = false; });
  addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
}
picture.addEventListener("load", () => {
  // The first picture since the alarm began again: with it comes how long 45 pixels are.
  if (picture.hidden && !changed) location.reload();
  picture.hidden = false;
});
setInterval(() => {
  if (!document.hidden) picture.src = `${picture.src.split("?")[0]}?${Date.now()}`;
}, STILL_MS);
