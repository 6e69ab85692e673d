"use strict";
// Follows the open calculations of the page: their status, progress and time.
{
  const WAIT_MS = 1000;
  const RETRY_MS = 5000;
  const url = document.querySelector("[data-follow]").dataset.follow;
  const open = () => [...document.querySelectorAll("[data-run][data-open]")];

  async function states(ids) {
    const query = new URLSearchParams(ids.map((id) => ["id", id]));
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) throw new Error(`The server answers ${response.status}.`);
    return response.json();
  }

  function show(row, state) {
    const badge = row.querySelector("[data-status]");
    badge.className = `badge ${state.status}`;
    // Only when it changes, as it is read out.
    if (badge.textContent !== state.label) badge.textContent = state.label;
    const progress = row.querySelector("[data-progress]");
    progress.value = state.progress;
    progress.hidden = state.status !== "running";
    row.querySelector("[data-note]").textContent = state.note;
    if (state.status === "queued" || state.status === "running") return;
    row.removeAttribute("data-open");
    // Its rows and its chart are made by the server.
    if ("reload" in row.dataset) location.reload();
  }

  async function turn() {
    let wait = WAIT_MS;
    const rows = document.hidden ? [] : open();
    try {
      const found = rows.length ? await states(rows.map((row) => row.dataset.run)) : {};
      for (const row of rows) if (found[row.dataset.run]) show(row, found[row.dataset.run]);
    } catch {
      wait = RETRY_MS;
    }
    if (open().length) setTimeout(turn, wait);
  }

  if (open().length) turn();
}
