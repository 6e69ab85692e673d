"use strict";
// Loads a device's latest readings from GET /stats/ID/ (devices/readings_api.py) and polls for new ones. Reports all
// that are loaded, oldest first, by the event "readings"; readings_chart.js and latest_readings.js listen.
{
  const PAGE = 1000;
  const MOST = 5000;
  const FOLLOW_MS = 2000;
  const RETRY_MS = 5000;
  // No person asks for it: it does not keep the session (config/middleware/idle_sessions.py).
  const BY_TIMER = { "Plumbline-Poll": "1" };

  const panel = document.querySelector("[data-readings-chart]");
  const url = panel.dataset.latestUrl;
  const status = panel.querySelector("[data-feed-status]");
  const pause = panel.querySelector("[data-pause]");
  const earlier = panel.querySelector("[data-earlier]");

  let readings = []; // oldest first
  let olderPage = null; // the query of the page before the oldest reading
  let isPaused = false;
  let timer = 0;
  let queue = Promise.resolve();

  class Refused extends Error {}

  async function page(query, headers) {
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json", ...headers } });
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
    const { rows, next } = await page(new URLSearchParams({ limit: PAGE }), BY_TIMER);
    readings = rows;
    olderPage = next;
    report();
  }

  // Readings that come late, with an older stamp, appear when the page is loaded again.
  async function follow() {
    const last = readings.at(-1).timestamp;
    const { rows, next } = await page(new URLSearchParams({ start: last, limit: PAGE }), BY_TIMER);
    // More than a page of new ones: start again from the newest.
    if (next) return load();
    // The answer repeats the readings with the last stamp, and may have more with the same.
    const first = readings.findIndex(({ timestamp }) => timestamp === last);
    if (readings.length - first === rows.length) return;
    readings.splice(first, Infinity, ...rows);
    if (readings.length > MOST) olderPage = null;
    readings = readings.slice(-MOST);
    report();
  }

  async function loadEarlier() {
    const { rows, next } = await page(olderPage, {});
    readings = [...rows, ...readings];
    olderPage = readings.length + PAGE > MOST ? null : next;
    report();
  }

  function report() {
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
