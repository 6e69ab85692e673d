"use strict";
// Renews the tiles, the state and the table of the latest readings whenever readings_feed.js reports new ones. The
// server renders them (device_latest in analytics/device_pages/views.py).
{
  const RETRY_MS = 5000;
  const AFTER_MS = 200; // the change is over by then
  const LONGEST_WAIT_MS = 2 ** 31 - 1; // what a timer takes
  const { url } = document.currentScript.dataset;
  let asked = 0; // the answer to an older request is not shown
  let timer = 0;

  async function renew() {
    const number = ++asked;
    try {
      const { page } = await pageParts.poll(url, "[data-part]");
      if (number !== asked) return;
      pageParts.replace(document, page);
      document.dispatchEvent(new Event("latest-shown"));
      waitForChange();
    } catch (error) {
      if (number !== asked || error instanceof pageParts.Refused) return;
      // readings_feed.js tells the person.
      clearTimeout(timer);
      timer = setTimeout(renew, RETRY_MS);
    }
  }

  // Without a further reading the device changes its state, such as to late, after so many seconds.
  function waitForChange() {
    clearTimeout(timer);
    const { stateSeconds } = document.querySelector("[data-state-seconds]").dataset;
    if (stateSeconds) timer = setTimeout(renew, Math.min(Number(stateSeconds) * 1000 + AFTER_MS, LONGEST_WAIT_MS));
  }

  document.addEventListener("readings", ({ detail: readings }) => readings.length && renew());
  waitForChange();
}
