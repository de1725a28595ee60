// The list of events grows at its top while it is looked at.
"use strict";

const list = document.querySelector("#events[data-live]");
let known; // the number of events at the last look
let busy = false;
let again = false;

function take(fresh) {
  let added = 0;
  let place = list.firstElementChild;
  for (const item of [...fresh.children]) {
    const old = list.querySelector(`[data-id="${CSS.escape(item.dataset.id)}"]`);
    if (!old) {
      list.insertBefore(document.adoptNode(item), place);
      added += 1;
      continue;
    }
    // The link stays the same element, so that it keeps the focus.
    for (const part of [".event-picture", ".event-facts", "h2 a"]) {
      const [before, now] = [old.querySelector(part), item.querySelector(part)];
      if (before.innerHTML !== now.innerHTML) before.replaceChildren(...now.childNodes);
    }
    place = old.nextElementSibling;
  }
  document.getElementById("events-none").hidden = list.children.length > 0;
  if (added) document.getElementById("events-new").textContent = added === 1 ? "One new event." : `${added} new events.`;
}

async function renew() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  do {
    again = false;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.querySelector("#events[data-live]");
      if (fresh) take(fresh); // none on the page of an error, or of the log-in
    } catch (error) {
      console.warn("the list of events was not renewed:", error);
    }
  } while (again);
  busy = false;
}

if (list) {
  document.addEventListener("alarm-status", ({ detail }) => {
    if (detail.events === known) return;
    known = detail.events;
    renew();
  });
  document.addEventListener("alarm-lost", () => { known = undefined; }); // another run counts from the beginning
}
