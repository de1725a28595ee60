// How the alarm is, live: the event "alarm-status" on document, with the state as its detail, at once and whenever it
// changes; "alarm-lost" while the alarm is not reached.
"use strict";
{
  const AGAIN_MS = 5000;
  // An EventSource does not say why it was refused.
  const ask = async () => {
    const look = new AbortController();
    const { status } = await fetch("/stream", { signal: look.signal }).catch(() => ({}));
    look.abort();
    if (status === 401) location.assign("/login"); // the session is over
    else setTimeout(open, AGAIN_MS);
  };
  const open = () => {
    const source = new EventSource("/stream");
    source.onmessage = ({ data }) =>
      document.dispatchEvent(new CustomEvent("alarm-status", { detail: JSON.parse(data) }));
    source.onerror = () => {
      document.dispatchEvent(new Event("alarm-lost"));
      if (source.readyState === EventSource.CLOSED) ask(); // refused: it would not try again
    };
    addEventListener("pagehide", () => source.close(), { once: true });
  };
  // Back from the browser's memory of pages.
  addEventListener("pageshow", ({ persisted }) => persisted && open());
  open();
}
