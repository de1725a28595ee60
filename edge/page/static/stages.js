"use strict";
// A stage that was changed elsewhere, or by the alarm itself, is shown at once.
document.addEventListener("alarm-status", ({ detail }) => {
  const cards = [...document.querySelectorAll("[data-stage]")];
  const known = Object.fromEntries(cards.map(({ dataset }) => [dataset.camera, dataset.stage]));
  if (detail.cameras.some(({ name, stage }) => known[name] !== stage)) location.reload();
});
