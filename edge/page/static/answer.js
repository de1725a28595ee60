// Counts down to the noise, then shows what became of it.
"use strict";
const left = document.getElementById("left");
const end = Date.now() + 1000 * Number(left.textContent);
const timer = setInterval(() => {
  left.textContent = Math.max(0, Math.ceil((end - Date.now()) / 1000));
  if (Date.now() > end + 1000) {
    clearInterval(timer);
    location.reload();
  }
}, 250);
