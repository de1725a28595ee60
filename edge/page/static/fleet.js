// The fleet's page renews what it shows by itself, and stays where it is: the place, and what has the focus.
"use strict";
{
  const EVERY_MS = 15000;
  const main = document.getElementById("main");
  const part = (id) => document.getElementById(id);
  let shown = "";

  const renew = async () => {
    const typing = main.contains(document.activeElement) && document.activeElement.matches("input, select");
    if (document.hidden || typing) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => undefined);
    part("lost").hidden = answer !== undefined;
    part("logged-out").hidden = !answer?.redirected;
    if (!answer || answer.redirected) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (!found || found.innerHTML === shown) return;
    shown = found.innerHTML;
    const place = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    main.replaceChildren(...found.childNodes);
    if (place !== null) main.querySelector(`a[href="${CSS.escape(place)}"]`)?.focus({ preventScroll: true });
  };
  setInterval(renew, EVERY_MS);
  document.addEventListener("visibilitychange", renew);
}
