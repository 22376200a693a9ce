// Keeps a page that is open true: when something is written about a run, the parts that may have changed are read anew.
// Without it, everything can still be read and done.
"use strict";

const ticking = () => {
  for (const clock of document.querySelectorAll("[data-since]")) {
    const seconds = (Date.now() + ahead - Date.parse(clock.dataset.since)) / 1000;
    clock.textContent = seconds < 100 ? `${Math.max(0, seconds).toFixed(1)} s` : `${Math.floor(seconds / 60)} min`;
  }
};

const read = async () => {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!other || other.innerHTML === part.innerHTML) continue;
    const link = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...other.childNodes);
    if (link) part.querySelector(`a[href="${CSS.escape(link)}"]`)?.focus();
  }
  document.title = fresh.title;
  document.querySelector("footer time").replaceWith(fresh.querySelector("footer time"));
  ticking();
};

// One reading at a time, and at most one each second, however much is written.
let wanted = false, reading = false;
const changed = async () => {
  wanted = true;
  if (reading) return;
  reading = true;
  while (wanted) {
    wanted = false;
    await read().catch(() => {});
    await new Promise((done) => setTimeout(done, 1000));
  }
  reading = false;
};

// By how many milliseconds the server's clock is ahead of this one.
const ahead = Date.parse(document.querySelector("footer time").dateTime) - Date.now();

if (document.querySelector("[data-live]")) {
  const live = document.getElementById("live");
  const events = new EventSource("/api/v1/events");
  events.onopen = () => { live.textContent = "Live."; };
  events.onerror = () => { live.textContent = "Not live: the service does not answer."; };
  events.addEventListener("ready", changed);
  events.addEventListener("reset", changed);
  events.addEventListener("run", changed);
  setInterval(ticking, 100);
  ticking();
}
