"use strict";
// Puts parts of a page that the server has rendered into the open page: templates alone write tables and numbers.
window.pageParts = (() => {
  const TOO_OLD = "You are logged out, or this page is too old. Reload it.";
  const GONE = "It no longer exists.";

  // A refusal that trying again does not change; its message is shown.
  class Refused extends Error {}

  // Resolves to {page, url}: the document behind redirects, which must have an element that matches `expected`.
  async function load(url, expected, options = {}) {
    const response = await fetch(url, options);
    if (response.status >= 500) throw new Error(`The server answers ${response.status}.`);
    if (response.status === 404) throw new Refused(GONE);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    // The log-in page has no such element either.
    if (!response.ok || !page.querySelector(expected)) throw new Refused(TOO_OLD);
    return { page, url: response.url };
  }

  // [data-part] takes content and visibility from the page, [data-shown] visibility only: it may hold a form.
  function replace(root, page) {
    for (const part of root.querySelectorAll("[data-part]")) {
      const fresh = page.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!fresh) continue;
      part.hidden = fresh.hidden;
      // Only when it changes: live regions read changes out, and focus is lost with the element that has it.
      if (part.innerHTML !== fresh.innerHTML) part.replaceChildren(...fresh.childNodes);
    }
    for (const part of root.querySelectorAll("[data-shown]")) {
      const fresh = page.querySelector(`[data-shown="${part.dataset.shown}"]`);
      if (fresh) part.hidden = fresh.hidden;
    }
  }

  // Of what no person asks for: it does not keep the session (config/middleware/idle_sessions.py).
  const BY_TIMER = { "Plumbline-Poll": "1" };
  const poll = (url, expected) => load(url, expected, { headers: BY_TIMER });

  return { BY_TIMER, Refused, load, poll, replace };
})();
