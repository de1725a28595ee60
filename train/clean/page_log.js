"use strict";
// The log of decisions only grows; undo is a row too. What holds is worked out from it, as train/decisions.py does.
const data = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = ["time", "file", "sha256", "bytes", "decision", "before", "after", "by"];
const STORE = "bear-alarm clean " + data.key;
const idOf = (row) => COLUMNS.map((name) => row[name]).join("\n");
const keyOf = (row) => row.file + "\n" + row.sha256;
const shownKeys = new Set(data.rows.map(keyOf));
const ROW = STORE + "\n"; // a row has a key of its own, so that no window overwrites what another one keeps
const idsOf = (rows) => new Set(rows.map(idOf));
let log = [];
let handedOut = 0; // rows that the last download held
let waiting = []; // rows the server has not confirmed
const answered = new Set(); // ids of rows that the server has written or refused
let sending = false;
let retry = 0; // the timer of the next try to send
let away = ""; // why the server last wrote nothing
let refused = ""; // why it took the last row for nonsense
let keeps = true; // whether this browser keeps decisions

function parsed(text) {
  try {
    return JSON.parse(text) || {};
  } catch {
    return {};
  }
}

// What this browser keeps, of this window and of others on the same page.
function stored() {
  try {
    const rows = Object.keys(localStorage).filter((key) => key.startsWith(ROW));
    const held = parsed(localStorage.getItem(STORE)); // "log": as pages of older versions kept their rows
    const kept = rows.map((key) => parsed(localStorage.getItem(key)));
    return { ...held, log: [...(held.log || []), ...kept].filter((row) => row.time) };
  } catch {
    return { log: [] }; // it keeps nothing, and store() says so
  }
}

// Another window on the same page may have added rows: they are taken over, and written if that one cannot any more.
function merge() {
  const held = stored();
  const known = idsOf(log);
  const queued = idsOf(waiting);
  for (const row of held.log) {
    if (answered.has(idOf(row))) continue;
    if (!known.has(idOf(row))) log.push(row);
    if (data.served && !queued.has(idOf(row))) waiting.push(row);
  }
  log.sort((one, other) => (one.time < other.time ? -1 : one.time > other.time ? 1 : 0));
  handedOut = Math.max(handedOut, held.handedOut || 0);
}

function store() {
  try {
    for (const id of answered) localStorage.removeItem(ROW + id);
    for (const row of data.served ? waiting : log) localStorage.setItem(ROW + idOf(row), JSON.stringify(row));
    localStorage.setItem(STORE, JSON.stringify({ handedOut }));
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

// Status and words of the server's answer; 0 where there is none.
async function post(row) {
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("decide", { method: "POST", headers, body: JSON.stringify(row) });
    return [answer.status, await answer.text()];
  } catch {
    return [0, ""];
  }
}

async function send() {
  if (sending) return;
  sending = true;
  clearTimeout(retry);
  try {
    while (waiting.length) {
      const row = waiting[0];
      const [status, words] = await post(row);
      if (status !== 200 && status !== 400) {
        // Nobody is there, another command's server is (404), or it could not write (507): the row waits.
        away = status === 507 ? words + "." : "is bear-alarm still running?";
        retry = setTimeout(send, 1500);
        break;
      }
      away = "";
      refused = status === 400 ? words || "no reason given" : "";
      answered.add(idOf(row));
      waiting = waiting.filter((other) => idOf(other) !== idOf(row));
      if (refused) log = log.filter((other) => idOf(other) !== idOf(row));
      store();
    }
  } finally {
    sending = false;
    show();
  }
}
