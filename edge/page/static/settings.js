"use strict";
// Asks once a second whether the alarm uses what was saved, until it does; and before what was typed is lost.
{
  const notice = document.querySelector(".notice");

  async function follow(triesLeft) {
    let state = notice.dataset.state;
    try {
      const answer = await fetch("/settings/state", { headers: { Accept: "application/json" } });
      if (answer.ok) {
        const found = await answer.json();
        state = found.state;
        if (notice.textContent !== found.words) notice.textContent = found.words;
        notice.dataset.state = state;
      }
    } catch {
      // The device is busy, or out of reach for a moment: asked again.
    }
    if (state !== "used" && triesLeft > 0) setTimeout(follow, 1000, triesLeft - 1);
  }

  if (notice && notice.dataset.state !== "used") setTimeout(follow, 1000, 120);

  const typedIn = document.querySelector('form[action^="/settings"]');
  let unsaved = false;
  typedIn?.addEventListener("input", () => { unsaved = true; });
  typedIn?.addEventListener("submit", () => { unsaved = false; });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
}
