// What is seen and pressed; the decisions themselves are page_log.js, which stands before this in the page.
const at = (id) => document.getElementById(id);
let list = [];
let here = 0;

function decide(kind, label) {
  const picture = list[here];
  if (!picture) return;
  const after = kind === "keep" ? picture.label : kind === "relabel" ? label : "";
  if (kind === "relabel" && label === picture.label) kind = "keep";
  const { file, sha256, bytes } = picture;
  add({ time: now(), file, sha256, bytes: String(bytes), decision: kind, before: picture.label, after, by: data.by });
  const held = holding();
  const open = (picture) => !held.has(keyOf(picture));
  const next = list.findIndex((picture, place) => place > here && open(picture));
  go(next >= 0 ? next : Math.min(here + 1, list.length - 1));
}

function undo() {
  merge();
  let last = null;
  for (const row of holding().values()) {
    if (shownKeys.has(keyOf(row)) && (!last || row.order > last.order)) last = row;
  }
  if (!last) return;
  const { order, ...row } = last;
  add({ ...row, time: now(), decision: "undo", by: data.by });
  if (!list.some((picture) => keyOf(picture) === keyOf(row))) choose("");
  go(list.findIndex((picture) => keyOf(picture) === keyOf(row)));
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function image(thumb, words) {
  const made = element("img");
  made.src = thumb;
  made.alt = words;
  return made;
}

const per = (share) => (100 * share).toFixed(share > 0.995 || share < 0.005 ? 1 : 0) + " %";

function said(held, picture) {
  const row = held.get(keyOf(picture));
  if (!row) return "";
  return row.decision === "relabel" ? "→ " + row.after : row.decision === "keep" ? "kept" : "deleted";
}

function show() {
  const held = holding();
  [...at("grid").children].forEach((card, place) => {
    const words = said(held, list[place]);
    card.classList.toggle("done", words !== "");
    card.querySelector(".was").textContent = words;
  });
  const done = list.filter((picture) => held.has(keyOf(picture))).length;
  at("count").textContent = `${done} of ${list.length} decided`;
  status();
}

function status() {
  const kept = at("kept");
  let bad = "";
  if (data.served && away && waiting.length)
    bad = `${waiting.length} not written yet: ${away} Else save them here, for --apply.`;
  else if (refused) bad = "refused: " + refused;
  else if (!data.served && !keeps && log.length > handedOut) bad = "This browser keeps nothing: save before you leave.";
  kept.classList.toggle("bad", bad !== "");
  const open = log.length - handedOut;
  const write = waiting.length ? "writing" : "written";
  const fine = data.served ? write : open > 0 ? `${open} not saved to a file yet; kept in this browser` : "saved";
  kept.textContent = bad || (log.length ? fine : "");
  at("save").hidden = data.served && !(away && waiting.length);
}

function choose(category) {
  at("category").value = category;
  list = data.rows.filter((picture) => !category || picture.why.includes(category));
  at("grid").replaceChildren(
    ...list.map((picture, place) => {
      const card = element("div", "card");
      card.append(image(picture.thumb, picture.file), element("div", "say", `${picture.label} (${per(picture.own)})`));
      if (picture.suggested !== picture.label) card.append(element("div", "say", "looks like " + picture.suggested));
      card.append(element("div", "say was"));
      card.addEventListener("click", () => go(place));
      return card;
    }),
  );
  show();
  go(0);
}

function framed(picture) {
  const made = [image(picture.thumb, picture.file)];
  if (picture.box) {
    const box = element("div", "box");
    ["left", "top", "width", "height"].forEach((side, n) => (box.style[side] = 100 * picture.box[n] + "%"));
    made.push(box);
  }
  return made;
}

function go(place) {
  at("chooser").hidden = true;
  here = Math.max(0, Math.min(place, list.length - 1));
  [...at("grid").children].forEach((card, n) => card.classList.toggle("here", n === here));
  const picture = list[here];
  if (!picture) return;
  at("grid").children[here].scrollIntoView({ block: "nearest" });
  at("frame").replaceChildren(...framed(picture));
  at("words").textContent =
    `${picture.file}: labelled ${picture.label} (${per(picture.own)}), looks like ${picture.suggested}, ` +
    `bear ${per(picture.bear)}; ${picture.why.join(", ")}; source ${picture.source}`;
  at("twin").replaceChildren();
  if (picture.twin) {
    at("twin").append(element("p", "", `nearly the same, labelled ${picture.twin.label}: ${picture.twin.file}`));
    at("twin").append(image(picture.twin.thumb, picture.twin.file));
  }
}

function ask() {
  if (!list[here]) return;
  const buttons = data.labels.map((label, n) => {
    const button = element("button", label === list[here].suggested ? "likely" : "", `${n + 1} ${label}`);
    button.type = "button";
    button.addEventListener("click", () => decide("relabel", label));
    return button;
  });
  at("chooser").replaceChildren(element("div", "", "the right label (Esc: none, Enter: the bold one):"), ...buttons);
  at("chooser").hidden = false;
}

function columns() {
  const cards = [...at("grid").children];
  return Math.max(1, cards.filter((card) => card.offsetTop === cards[0].offsetTop).length);
}

function save() {
  merge();
  const quoted = (value) => (/[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value);
  const lines = [COLUMNS, ...log.map((row) => COLUMNS.map((name) => String(row[name])))];
  const text = lines.map((fields) => fields.map(quoted).join(",") + "\n").join("");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  handedOut = log.length;
  store();
  status();
}

function press(key) {
  if (!at("chooser").hidden) {
    const label = key === "Enter" ? list[here].suggested : data.labels[Number(key) - 1];
    if (label) decide("relabel", label);
    else if (key === "Escape") at("chooser").hidden = true;
    return label || key === "Escape";
  }
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
  if (key in moves) go(here + moves[key]);
  else if (key === "k") decide("keep");
  else if (key === "r") ask();
  else if (key === "d") decide("delete");
  else if (key === "u") undo();
  else if (key === "s") save();
  else return false;
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  if (event.target.tagName === "BUTTON" && event.key === "Enter") return;
  if (press(event.key.length === 1 ? event.key.toLowerCase() : event.key)) event.preventDefault();
});
for (const button of at("buttons").children) button.addEventListener("click", () => press(button.dataset.key));
at("save").addEventListener("click", save);
at("category").addEventListener("change", (event) => {
  choose(event.target.value);
  event.target.blur();
});
window.addEventListener("storage", () => {
  merge();
  show();
  if (data.served && waiting.length && !away) send();
});
window.addEventListener("beforeunload", (event) => {
  if (!keeps && (waiting.length || (!data.served && log.length > handedOut))) event.preventDefault();
});

at("category").append(new Option(`all (${data.rows.length})`, ""));
for (const why of data.reasons) {
  const count = data.rows.filter((picture) => picture.why.includes(why)).length;
  if (count) at("category").append(new Option(`${why} (${count})`, why));
}
log = data.decisions || [];
if (data.served) for (const row of log) answered.add(idOf(row));
merge();
store();
choose("");
const firstOpen = list.findIndex((picture) => !holding().has(keyOf(picture)));
go(Math.max(firstOpen, 0));
if (data.served) send();
