"use strict";
// Renews the tiles, the state and the table of the latest readings whenever readings_feed.js reports new ones. The
// server renders them (device_latest in analytics/device_pages/views.py).
{
  const RETRY_MS = 5000;
  const { url } = document.currentScript.dataset;
  let asked = 0; // the answer to an older request is not shown
  let timer = 0;

  async function renew() {
    const number = ++asked;
    try {
      const { page } = await pageParts.load(url, "[data-part]");
      if (number !== asked) return;
      pageParts.replace(document, page);
      waitForSilence();
    } catch (error) {
      if (number !== asked || error instanceof pageParts.Refused) return;
      // readings_feed.js tells the person.
      clearTimeout(timer);
      timer = setTimeout(renew, RETRY_MS);
    }
  }

  // Without a further reading the device is offline after so many seconds.
  function waitForSilence() {
    clearTimeout(timer);
    const state = document.querySelector("[data-online-seconds]");
    const seconds = Number(state.dataset.onlineSeconds);
    if (seconds) timer = setTimeout(() => state.replaceChildren(offline()), seconds * 1000);
  }

  const offline = () => document.querySelector("[data-offline-state]").content.cloneNode(true);

  document.addEventListener("readings", ({ detail: readings }) => readings.length && renew());
  waitForSilence();
}
