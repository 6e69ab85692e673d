"use strict";
// Marks the analyses of a list whose results are no longer about the data as they are now.
{
  const WAIT_MS = 30_000;
  const list = document.querySelector("[data-stale-url]");
  const rows = () => [...list.querySelectorAll("[data-analysis]")];

  async function turn() {
    try {
      const ids = document.hidden ? [] : rows().map((row) => row.dataset.analysis);
      if (ids.length) {
        const query = new URLSearchParams(ids.map((id) => ["id", id]));
        const response = await fetch(`${list.dataset.staleUrl}?${query}`, { headers: { Accept: "application/json" } });
        if (!response.ok || response.redirected) throw new Error(`The server answers ${response.status}.`);
        const { stale } = await response.json();
        for (const row of rows()) row.querySelector("[data-stale-mark]").hidden = !stale.includes(row.dataset.analysis);
      }
    } catch {
      // The marks stay as they are until the server answers again.
    }
    setTimeout(turn, WAIT_MS);
  }

  if (list) turn();
}
