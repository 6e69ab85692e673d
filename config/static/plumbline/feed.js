"use strict";
// Loads a device's latest readings and follows new ones; tells whoever listens by the event "readings".
{
  const PAGE = 1000;
  const MOST = 5000;
  const FOLLOW_MS = 2000;
  const RETRY_MS = 5000;

  const box = document.querySelector("[data-feed]");
  const url = box.dataset.feed;
  const status = box.querySelector("[data-feed-status]");
  const pause = box.querySelector("[data-pause]");
  const earlier = box.querySelector("[data-earlier]");

  let readings = []; // oldest first
  let olderPage = null; // the query of the page before the oldest reading
  let isPaused = false;
  let timer = 0;
  let queue = Promise.resolve();

  class Refused extends Error {}

  async function page(query) {
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json" } });
    if (response.status >= 400 && response.status < 500) throw new Refused(refusal(response.status));
    if (!response.ok) throw new Error(`The server answers ${response.status}.`);
    const next = /<([^>]+)>; rel="next"/.exec(response.headers.get("Link") ?? "");
    return { rows: (await response.json()).reverse(), next: next && new URL(next[1]).searchParams };
  }

  function refusal(code) {
    if (code === 401 || code === 403) return "You are logged out: log in again to follow this device.";
    return code === 404 ? "This device is gone." : `The server refuses (${code}).`;
  }

  async function load() {
    const { rows, next } = await page(new URLSearchParams({ limit: PAGE }));
    readings = rows;
    olderPage = next;
    tell();
  }

  // What comes late, with an older stamp, is seen when the page is loaded again.
  async function follow() {
    const last = readings.at(-1).timestamp;
    const { rows, next } = await page(new URLSearchParams({ start: last, limit: PAGE }));
    // More than a page since the last time: start afresh from the newest.
    if (next) return load();
    // The answer has again what was there with the last stamp, and perhaps one more with the same.
    const kept = readings.findIndex(({ timestamp }) => timestamp === last);
    if (readings.length - kept === rows.length) return;
    readings.splice(kept, Infinity, ...rows);
    if (readings.length > MOST) olderPage = null;
    readings = readings.slice(-MOST);
    tell();
  }

  async function loadEarlier() {
    const { rows, next } = await page(olderPage);
    readings = [...rows, ...readings];
    olderPage = readings.length + PAGE > MOST ? null : next;
    tell();
  }

  function tell() {
    earlier.hidden = !olderPage;
    document.dispatchEvent(new CustomEvent("readings", { detail: readings }));
  }

  // Runs one job after another; resolves to the time to wait until the next, null for never.
  function attempt(job) {
    queue = queue.then(job).then(
      () => say("", FOLLOW_MS),
      (error) => {
        if (error instanceof Refused) return say(error.message, null);
        return say("The server does not answer. Trying again.", RETRY_MS);
      },
    );
    return queue;
  }

  function say(text, wait) {
    // Only when it changes, as it is read out.
    if (status.textContent !== text) status.textContent = text;
    return wait;
  }

  async function turn() {
    const wait = await attempt(() => (readings.length ? follow() : load()));
    clearTimeout(timer);
    if (wait !== null && !isPaused && !document.hidden) timer = setTimeout(turn, wait);
  }

  function resume() {
    clearTimeout(timer);
    if (!isPaused && !document.hidden) turn();
  }

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    resume();
  });
  earlier.addEventListener("click", async () => {
    earlier.disabled = true;
    await attempt(loadEarlier);
    earlier.disabled = false;
  });
  document.addEventListener("visibilitychange", resume);
  pause.hidden = false;
  turn();
}
