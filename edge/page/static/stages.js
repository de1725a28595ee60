"use strict";
let leaving = false; // to what a choice leads: to load this page again would end the way there
addEventListener("submit", (event) => { leaving ||= !event.defaultPrevented; });
addEventListener("pageshow", () => { leaving = false; });
// A stage that was changed elsewhere, or by the alarm itself, is shown at once.
document.addEventListener("alarm-status", ({ detail }) => {
  const cards = [...document.querySelectorAll("[data-stage]")];
  const known = Object.fromEntries(cards.map(({ dataset }) => [dataset.camera, dataset.stage]));
  if (!leaving && detail.cameras.some(({ name, stage }) => known[name] !== stage)) location.reload();
});
