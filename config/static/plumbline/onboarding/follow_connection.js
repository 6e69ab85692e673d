"use strict";
// Asks what has come of a device's posts (connection in devices/onboarding/views.py) until the page is left, and
// sends the test reading without leaving the page, which alone has the key. Rests in a hidden tab.
{
  const FOLLOW_MS = 2000;
  const RETRY_MS = 5000;

  const panel = document.querySelector("[data-connection]");
  const trial = document.querySelector("[data-trial]");
  const failure = panel.querySelector("[data-failure]");
  let timer = 0;
  let asked = 0; // the answer to an older request is not shown

  async function show(url, options) {
    const number = ++asked;
    try {
      const load = options ? pageParts.load : pageParts.poll;
      const { page } = await load(url, '[data-part="connection"]', options);
      if (number !== asked) return null;
      pageParts.replace(panel, page);
      return say("", FOLLOW_MS);
    } catch (error) {
      if (number !== asked) return null;
      if (error instanceof pageParts.Refused) return say(error.message, null);
      return say("The server does not answer. Trying again.", RETRY_MS);
    }
  }

  function say(text, wait) {
    // Only when it changes, as it is read out.
    if (failure.textContent !== text) failure.textContent = text;
    return wait;
  }

  async function turn(url = panel.dataset.connection, options = null) {
    clearTimeout(timer);
    const wait = await show(url, options);
    if (wait === null) return;
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(turn, wait);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : turn()));
  trial.addEventListener("submit", (event) => {
    event.preventDefault();
    turn(trial.action, { method: "POST", body: new FormData(trial) });
  });
  timer = setTimeout(turn, FOLLOW_MS);
}
