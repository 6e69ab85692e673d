"use strict";
// Marks analyses whose data have changed since: results on the page every 5 s, rows of lists every 30 s. Asks the URL
// that its script element names (stale_analyses in analytics/analyses/views.py).
{
  const { url } = document.currentScript.dataset;
  const marked = [["[data-run][data-analysis]", 5000], ["tr[data-analysis]", 30_000]];

  async function stale(ids) {
    const query = new URLSearchParams(ids.map((id) => ["id", id]));
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json", "Plumbline-Poll": "1" } });
    if (!response.ok || response.redirected) throw new Error(`The server answers ${response.status}.`);
    return (await response.json()).stale;
  }

  async function mark(selector, milliseconds) {
    const elements = document.hidden ? [] : [...document.querySelectorAll(selector)];
    try {
      const ids = elements.length ? await stale(elements.map(({ dataset }) => dataset.analysis)) : [];
      for (const element of elements) {
        element.querySelector('[data-shown="stale"]').hidden = !ids.includes(element.dataset.analysis);
      }
    } catch {
      // The marks stay as they are until the server answers again.
    }
    setTimeout(mark, milliseconds, selector, milliseconds);
  }

  for (const [selector, milliseconds] of marked) mark(selector, milliseconds);
}
