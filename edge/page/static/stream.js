// The state of the alarm, live, on every page: the event "alarm-status" on document, with the state as its detail, at once,
// whenever it changes and every few seconds; "alarm-lost" while the alarm is not reached, or nobody is logged in.
"use strict";
{
  const AGAIN_MS = 3000;
  const PATIENCE_MS = 5000;
  const SILENT = 3; // looks without a word: the device may have lost its power or its network
  const HIDDEN_MS = 10000; // a page that is not looked at only asks: a browser has six connections to one place
  const part = (id) => document.getElementById(id);
  const title = document.title.replace(/^BEAR - /, "");
  let source;
  let timer;
  let looks = 0;

  const later = (ms) => {
    source?.close();
    source = undefined;
    clearTimeout(timer);
    timer = setTimeout(open, ms);
  };
  const bear = (names, silent) => {
    const banner = document.querySelector("#bear > p");
    if (part("where").textContent !== names) part("where").textContent = names;
    if (part("silent").textContent !== silent) part("silent").textContent = silent;
    banner.classList.toggle("silent", silent !== "");
    banner.hidden = !names;
    document.title = `${names ? "BEAR - " : ""}${title}`;
  };
  // A button that somebody is about to press stays the same element.
  const ask = (questions) => {
    const cards = [...part("questions").children];
    for (const card of cards) if (!questions.some(({ id }) => id === card.dataset.id)) card.remove();
    for (const { id, camera, head, seen, words, answer } of questions) {
      let card = cards.find(({ dataset }) => dataset.id === id);
      if (!card) {
        card = part("question").content.firstElementChild.cloneNode(true);
        card.dataset.id = id;
        card.querySelector(".event").href = `/events/${id}`;
      }
      if (!card.isConnected) part("questions").append(card);
      card.setAttribute("aria-label", `${head} ${camera}`);
      for (const [name, text] of Object.entries({ head, asked: camera, seen, words })) {
        const said = card.querySelector(`.${name}`);
        if (said.textContent !== text) said.textContent = text;
      }
      const form = card.querySelector("form");
      if (!form) continue;
      form.action = answer;
      form.hidden = !answer;
    }
  };
  // The page stays where it is, with what was typed in it.
  part("questions").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const body = new URLSearchParams(new FormData(form));
    body.set("answer", event.submitter.value);
    const sent = { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" };
    const found = await fetch(form.action, sent).catch(() => undefined);
    const taken = found?.ok || found?.type === "opaqueredirect";
    const { error } = taken ? { error: "" } : await (found?.json().catch(() => undefined) ?? {});
    form.querySelector(".problem").textContent = error ?? "The alarm was not reached. Try again.";
  });
  // An EventSource does not say why it was refused.
  const lose = async () => {
    source.close();
    source = undefined;
    const look = new AbortController();
    const enough = setTimeout(() => look.abort(), PATIENCE_MS);
    const { status } = await fetch("/stream", { signal: look.signal }).catch(() => ({}));
    clearTimeout(enough);
    look.abort();
    bear("", "");
    ask([]);
    part("logged-out").hidden = status !== 401;
    part("lost").hidden = status === 401;
    document.dispatchEvent(new Event("alarm-lost"));
    if (status !== 401) later(AGAIN_MS);
  };
  function open() {
    looks = 0;
    source = new EventSource("/stream");
    source.onmessage = ({ data }) => {
      looks = 0;
      const detail = JSON.parse(data);
      part("lost").hidden = true;
      bear(detail.cameras.filter(({ state }) => state === "bear").map(({ name }) => name).join(", "), detail.silent);
      ask(detail.questions);
      if (part("shadowed").textContent !== detail.shadow) part("shadowed").textContent = detail.shadow;
      part("shadow").hidden = !detail.shadow;
      part("asks").hidden = !detail.asks;
      document.dispatchEvent(new CustomEvent("alarm-status", { detail }));
      if (document.hidden) later(HIDDEN_MS);
    };
    source.onerror = lose;
  }
  setInterval(() => {
    looks += 1;
    if (source && looks > SILENT) lose();
  }, PATIENCE_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !source && part("logged-out").hidden) later(0);
  });
  addEventListener("pagehide", () => later(HIDDEN_MS));
  // Back from the browser's memory of pages.
  addEventListener("pageshow", ({ persisted }) => persisted && later(0));
  open();
}
