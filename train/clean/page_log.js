"use strict";
// The log of decisions only grows; undo is a row too. What holds is worked out from it, as train/decisions.py does.
const data = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = ["time", "file", "sha256", "bytes", "decision", "before", "after", "by"];
const STORE = "bear-alarm clean " + data.key;
const idOf = (row) => COLUMNS.map((name) => row[name]).join("\n");
const keyOf = (row) => row.file + "\n" + row.sha256;
const shownKeys = new Set(data.rows.map(keyOf));
let log = [];
let handedOut = 0; // rows that the last download held
let waiting = []; // rows the server has not confirmed
let sending = false;
let away = false; // whether the server was last found gone
let keeps = true; // whether this browser keeps what it is told

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) || {};
  } catch {
    return {};
  }
}

// Another window on the same page may have added rows: they are taken over before anything is written.
function merge() {
  const held = stored();
  const known = new Set(log.map(idOf));
  for (const row of held.log || []) if (!known.has(idOf(row))) log.push(row);
  log.sort((one, other) => (one.time < other.time ? -1 : one.time > other.time ? 1 : 0));
  handedOut = Math.max(handedOut, held.handedOut || 0);
}

function store() {
  try {
    localStorage.setItem(STORE, JSON.stringify(data.served ? { log: waiting } : { log, handedOut }));
    keeps = true;
  } catch {
    keeps = false;
  }
}

// The last decision about each picture, after what was taken back.
function holding() {
  const stacks = new Map();
  log.forEach((row, order) => {
    const stack = stacks.get(keyOf(row)) || [];
    stacks.set(keyOf(row), stack);
    if (row.decision === "undo") stack.pop();
    else stack.push({ ...row, order });
  });
  const held = new Map();
  for (const [key, stack] of stacks) if (stack.length) held.set(key, stack[stack.length - 1]);
  return held;
}

let lastTime = 0;
function now() {
  lastTime = Math.max(Date.now(), lastTime + 1); // two decisions in one millisecond stay two
  return new Date(lastTime).toISOString().replace("Z", "000+00:00");
}

function add(row) {
  merge();
  log.push(row);
  if (data.served) waiting.push(row);
  store();
  if (data.served) send();
  show();
}

async function send() {
  if (sending) return;
  sending = true;
  try {
    while (waiting.length) {
      const row = waiting[0];
      const answer = await fetch("decide", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(row),
      });
      if (!answer.ok && answer.status !== 400) throw new Error(); // another command's server: the row waits
      away = false;
      waiting = waiting.filter((other) => idOf(other) !== idOf(row));
      if (!answer.ok) {
        log = log.filter((other) => idOf(other) !== idOf(row));
        data.refused = await answer.text();
      }
      store();
    }
  } catch {
    away = true;
    setTimeout(send, 1500); // the command may be started again
  } finally {
    sending = false;
    status();
  }
}
