// Pictures that move, while the page is looked at and a place is free; else one every five seconds.
"use strict";
{
  const STILL_MS = 5000;
  const LIVE_MS = 30000; // a browser does not say when a live picture ends or stands still: it is asked for again
  const cards = [...document.querySelectorAll("[data-camera]")];
  let free = true;
  let lost = false;

  const code = (words) => Object.assign(document.createElement("code"), { textContent: words });
  const caption = (card) => {
    const words = card.dataset.live ? "Live" : `A new picture every ${STILL_MS / 1000} seconds`;
    const said = lost ? "No picture" : card.dataset.old ? "Old picture: the camera sends no new one" : words;
    const mode = card.querySelector(".mode");
    if (mode.textContent !== said) mode.textContent = said;
  };
  const show = (card, live) => {
    const img = card.querySelector("img");
    card.dataset.live = live ? "yes" : "";
    caption(card);
    img.src = `${live ? img.dataset.live : img.dataset.still}?${Date.now()}`;
    if (live) card.since = Date.now();
  };
  const renew = () => {
    if (document.hidden || lost) return;
    for (const card of cards) {
      const img = card.querySelector("img");
      const mine = card.dataset.live;
      if (img.hidden || (mine && Date.now() - card.since < LIVE_MS)) continue;
      // One still between two live pictures: it leaves its place, to have it again.
      if (mine) img.addEventListener("load", () => lost || show(card, !document.hidden), { once: true });
      show(card, !mine && free);
    }
  };

  for (const card of cards) {
    const img = card.querySelector("img");
    img.addEventListener("error", () => {
      if (card.dataset.live) show(card, false); // no place was free
      else img.classList.add("broken");
    });
    img.addEventListener("load", () => lost || img.classList.remove("broken"));
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) for (const card of cards) card.dataset.live && show(card, false);
    else renew();
  });
  document.addEventListener("alarm-lost", () => {
    lost = true;
    for (const card of cards) {
      card.dataset.live = "";
      card.querySelector("img").classList.add("broken"); // a browser shows one that has ended as a blank
      card.className = "plate camera unknown";
      card.querySelector(".state").textContent = "Unknown: the alarm is not reached";
      card.querySelector(".age").textContent = "unknown";
      caption(card);
    }
  });
  document.addEventListener("alarm-status", ({ detail }) => {
    const back = lost;
    [lost, free] = [false, detail.place];
    document.getElementById("ill").hidden = detail.well;
    const names = detail.cameras.map(({ name }) => name).join("\n");
    if (names !== cards.map(({ dataset }) => dataset.camera).join("\n")) return location.reload();
    detail.cameras.forEach(({ state, words, age, picture, old, stage }, i) => {
      const card = cards[i];
      card.className = `plate camera ${state}`;
      card.dataset.old = old ? "yes" : "";
      caption(card);
      const said = card.querySelector(".state");
      const parts = words.split("`"); // every second one is code
      if (said.textContent !== parts.join("")) said.replaceChildren(...parts.map((part, n) => n % 2 ? code(part) : part));
      card.querySelector(".age").textContent = age;
      card.querySelector(".stage").textContent = stage;
      card.querySelector(".stage").hidden = !stage;
      card.querySelector("img").hidden = !picture;
      if (back) card.querySelector("img").classList.remove("broken");
    });
    if (back) renew();
  });
  renew();
  setInterval(renew, STILL_MS);
}
