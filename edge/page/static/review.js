// One key a picture: the next pictures are here before the verdict, which is sent behind them.
"use strict";

const AHEAD = 3;
const ZOOM = 3;
const KEYS = { ArrowLeft: "wrong", ArrowRight: "confirmed", " ": "unsure" };
const desk = document.getElementById("desk");
const csrf = document.querySelector("meta[name=csrf]").content;
const part = (id) => document.getElementById(id);

let current = desk ? JSON.parse(desk.dataset.unit) : null;
let ahead = []; // units with the address of their picture, in the order they will be shown
let filling = null;
let sending = Promise.resolve();
const pending = new Set(); // keys that were decided and are not written yet, or have no picture any more

async function ask(address, form) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  const options = form ? { method: "POST", headers, body: new URLSearchParams(form) } : { headers };
  const response = await fetch(address, options);
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

function say(words, failed) {
  part("words").textContent = words;
  part("words").classList.toggle("problem", Boolean(failed));
}

function count({ left, today, undo }) {
  part("left").textContent = left;
  part("today").textContent = today;
  if (undo !== undefined && part("undo-button")) part("undo-button").disabled = !undo;
}

async function withPicture(unit) {
  const response = await fetch(`/review/${unit.id}.jpg`);
  if (response.status === 404) return null; // decided elsewhere, or deleted
  if (!response.ok) throw new Error(`status ${response.status}`);
  const image = new Image();
  image.src = URL.createObjectURL(await response.blob());
  return image.decode().then(() => ({ ...unit, source: image.src }), () => null); // null: it is damaged
}

async function fillUp() {
  while (ahead.length < AHEAD) {
    const have = [...(current ? [current] : []), ...ahead].map(({ id }) => id);
    const found = await ask(`/review/next.json?have=${[...have, ...pending].join()}`);
    if (!found.unit) return;
    const unit = await withPicture(found.unit);
    // Meanwhile it may have been decided, or come back by an undo.
    if (pending.has(found.unit.id) || [current, ...ahead].some((each) => each?.id === found.unit.id)) continue;
    if (unit) ahead.push(unit);
    else pending.add(found.unit.id);
    if (!current) next();
  }
}

function fill() {
  filling ??= fillUp().then(() => true, () => {
    say("The alarm does not answer. Load the page again.", true);
    return false;
  }).finally(() => { filling = null; });
  return filling;
}

function show(unit) {
  current = unit;
  const { elements } = part("verdict");
  elements.unit.value = unit.id;
  elements.alike.value = unit.alike.join(" ");
  part("picture").src = unit.source;
  part("open").href = unit.source;
  part("count").textContent = unit.alike.length;
  part("alike").hidden = unit.alike.length === 0;
  part("alike").open = part("labels").open = false;
  part("same").replaceChildren(...unit.alike.map((key) => {
    const image = new Image();
    image.loading = "lazy";
    image.alt = "Looks the same";
    image.src = `/review/${key}.jpg`;
    return image;
  }));
  part("zoom").hidden = !unit.region;
  zoom(false);
}

function next() {
  if (ahead.length) show(ahead.shift());
}

function zoom(closer) {
  const { style } = part("picture");
  part("zoom").setAttribute("aria-pressed", String(closer));
  style.transform = "";
  if (!closer || !current.region) return;
  // The picture lies in its frame with bars beside or above it (object-fit: contain).
  const { clientWidth: wide, clientHeight: tall, naturalWidth, naturalHeight } = part("picture");
  const scale = Math.min(wide / naturalWidth, tall / naturalHeight);
  const [x, y, w, h] = current.region;
  const across = (wide - naturalWidth * scale) / 2 + (x + w / 2) * naturalWidth * scale;
  const down = (tall - naturalHeight * scale) / 2 + (y + h / 2) * naturalHeight * scale;
  style.transformOrigin = "0 0";
  style.transform = `translate(${wide / 2 - ZOOM * across}px, ${tall / 2 - ZOOM * down}px) scale(${ZOOM})`;
}

function send(form, after = () => {}) {
  sending = sending.then(() => ask("/review", form)).then((found) => {
    say(found.words, found.failed);
    count(found);
    return after(found);
  }).catch((error) => say(`Not saved: ${error.message || "the alarm does not answer"}. Load the page again.`, true));
  const mine = sending;
  // What was asked for before this was written may be out of date: it is asked for again.
  mine.then(() => filling).then(() => !desk || fill()).then((answered) => {
    if (mine !== sending) return; // a later verdict is on its way
    desk?.removeAttribute("aria-busy");
    if (!current && answered) location.replace("/review"); // nothing waits, or something again: the server says so
  });
}

function decide(given) {
  if (!current) return;
  say(""); // it was about a picture before this one
  const { id, alike } = current;
  const before = current;
  for (const key of [id, ...alike]) pending.add(key);
  send({ unit: id, alike: alike.join(" "), ...given }, () => { for (const key of [id, ...alike]) pending.delete(key); });
  ahead = ahead.filter((unit) => !alike.includes(unit.id));
  current = null;
  next();
  if (!current) desk.setAttribute("aria-busy", "true");
  if (before.source) URL.revokeObjectURL(before.source);
}

function undo() {
  send({ what: "undo" }, async ({ unit }) => {
    if (!desk || !unit) return;
    const back = await withPicture(unit).catch(() => null);
    if (!back) { // it was taken back, and only its picture is not here: the server shows it
      location.replace("/review");
      return;
    }
    const kept = current?.source ? current : current && await withPicture(current).catch(() => null);
    ahead = [...(kept ? [kept] : []), ...ahead].filter(({ id }) => id !== back.id && !back.alike.includes(id));
    show(back);
  });
}

if (desk) {
  part("verdict").addEventListener("submit", (event) => {
    const { name, value } = event.submitter ?? {};
    if (name !== "verdict" && name !== "label") return; // one by one: the server shows the first
    event.preventDefault();
    decide({ [name]: value });
  });
  part("open").addEventListener("click", (event) => {
    if (!current?.region) return;
    event.preventDefault();
    part("zoom").click();
  });
  part("zoom").addEventListener("click", () => zoom(part("zoom").getAttribute("aria-pressed") !== "true"));
  part("zoom").hidden = !current.region;
  fill();
}
part("undo").addEventListener("submit", (event) => {
  event.preventDefault();
  undo();
});

// After a click or a tap the space bar means "not sure" again.
document.addEventListener("click", ({ detail }) => {
  if (detail && document.activeElement.matches("a, button, summary")) document.activeElement.blur();
});

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || target.closest("input, select, textarea")) return;
  if (key === " " && target.matches("a, button, summary")) return; // it presses what the keyboard has moved to
  const plain = key.toLowerCase();
  if (KEYS[key] && desk) decide({ verdict: KEYS[key] });
  else if (plain === "u") undo();
  else if (plain === "z" && current?.region) part("zoom").click();
  else if (plain === "l" && desk) {
    part("labels").open = !part("labels").open;
    part("labels").querySelector(part("labels").open ? "button" : "summary").focus();
  } else return;
  event.preventDefault();
});
