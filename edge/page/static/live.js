// Pictures that move, while the page is looked at and a place is free; else one every five seconds.
"use strict";
{
  const STILL_MS = 5000;
  const LIVE_MS = 30000; // a browser does not say when a live picture ends or stands still: it is asked for again
  const cards = [...document.querySelectorAll("[data-camera]")];
  let free = true;
  let lost = false;

  const code = (words) => Object.assign(document.createElement("code"), { textContent: words });
  const show = (card, live) => {
    const img = card.querySelector("img");
    card.dataset.live = live ? "yes" : "";
    card.querySelector(".mode").textContent = live ? "Live" : `A new picture every ${STILL_MS / 1000} seconds`;
    img.src = `${live ? img.dataset.live : img.dataset.still}?${Date.now()}`;
    if (live) card.since = Date.now();
  };
  const renew = () => {
    if (document.hidden) return;
    for (const card of cards) {
      const img = card.querySelector("img");
      const mine = card.dataset.live;
      if (img.hidden || (mine && Date.now() - card.since < LIVE_MS)) continue;
      // One still between two live pictures: it leaves its place, to have it again.
      if (mine) img.addEventListener("load", () => show(card, !lost && !document.hidden), { once: true });
      show(card, !mine && free && !lost);
    }
  };

  for (const card of cards) {
    card.querySelector("img").addEventListener("error", () => {
      if (card.dataset.live) show(card, false); // no place was free
    });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) for (const card of cards) card.dataset.live && show(card, false);
    else renew();
  });
  document.addEventListener("alarm-lost", () => {
    lost = true;
    document.body.classList.add("lost");
    document.getElementById("lost").hidden = false;
    for (const card of cards) card.dataset.live = "";
  });
  document.addEventListener("alarm-status", ({ detail }) => {
    const back = lost;
    [lost, free] = [false, detail.place];
    document.body.classList.remove("lost");
    document.getElementById("lost").hidden = true;
    document.getElementById("ill").hidden = detail.well;
    const bears = detail.cameras.filter(({ state }) => state === "bear").map(({ name }) => name);
    const banner = document.querySelector("#bear > p");
    document.getElementById("where").textContent = bears.join(", ");
    banner.hidden = !detail.alarm;
    document.title = `${detail.alarm ? "BEAR - " : ""}Live - Bear Alarm`;
    const names = detail.cameras.map(({ name }) => name).join("\n");
    if (names !== cards.map(({ dataset }) => dataset.camera).join("\n")) return location.reload();
    detail.cameras.forEach(({ state, words, age, picture }, i) => {
      const card = cards[i];
      card.classList.remove("bear", "watching", "off");
      card.classList.add(state);
      const said = card.querySelector(".state");
      const parts = words.split("`"); // every second one is code
      if (said.textContent !== parts.join("")) said.replaceChildren(...parts.map((part, n) => n % 2 ? code(part) : part));
      card.querySelector(".age").textContent = age;
      card.querySelector("img").hidden = !picture;
    });
    if (back) renew();
  });
  renew();
  setInterval(renew, STILL_MS);
}
