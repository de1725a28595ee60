// The fleet's page renews what it shows, and takes nothing away from the person who uses it.
"use strict";
{
  const EVERY_MS = 15000;
  const LIMIT_MS = 5000; // for one answer
  const main = document.getElementById("main");
  const part = (id) => document.getElementById(id);
  let shown = main.innerHTML;
  let asking = false;

  const inUse = () =>
    (main.contains(document.activeElement) && document.activeElement.closest("form, button")) ||
    (!getSelection().isCollapsed && getSelection().containsNode(main, true));

  const swap = (found) => {
    if (found.innerHTML === shown || inUse()) return;
    shown = found.innerHTML;
    const focus = main.contains(document.activeElement) ? document.activeElement : null;
    const place = focus?.id ? `#${CSS.escape(focus.id)}` : `a[href="${CSS.escape(focus?.getAttribute("href") ?? "")}"]`;
    const seen = () => [...main.querySelectorAll(place)].filter((each) => each.getClientRects().length);
    const index = seen().indexOf(focus);
    main.replaceChildren(...found.childNodes);
    (seen()[index] ?? seen()[0])?.focus({ preventScroll: true });
  };

  const renew = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(location.href, {
        headers: { Accept: "text/html" },
        signal: AbortSignal.timeout(LIMIT_MS),
      });
      if (answer.status >= 500) throw new Error(answer.statusText);
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      part("lost").hidden = found !== null;
      part("logged-out").hidden = !answer.redirected;
      if (found && !answer.redirected) swap(found);
    } catch {
      part("lost").hidden = false;
    }
    asking = false;
  };
  setInterval(renew, EVERY_MS);
  document.addEventListener("visibilitychange", renew);
}
