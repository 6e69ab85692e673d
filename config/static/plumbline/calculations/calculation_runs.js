"use strict";
// Follows the open calculations or imports on the page: status, progress and time, from the URL in data-follow
// (calculation_states in analytics/calculations/views.py, import_states in devices/imports/views.py).
{
  const WAIT_MS = 1000;
  const RETRY_MS = 5000;
  const url = document.querySelector("[data-follow]").dataset.follow;
  const open = () => [...document.querySelectorAll("[data-run][data-open]")];

  async function loadStates(ids) {
    const query = new URLSearchParams(ids.map((id) => ["id", id]));
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json", "Plumbline-Poll": "1" } });
    if (!response.ok || response.redirected) throw new Error(`The server answers ${response.status}.`);
    return response.json();
  }

  function show(row, state) {
    const badge = row.querySelector("[data-status]");
    badge.className = `badge ${state.status}`;
    // Only when it changes: it is read out.
    if (badge.textContent !== state.label) badge.textContent = state.label;
    const progress = row.querySelector("[data-progress]");
    progress.value = state.progress;
    progress.hidden = state.status !== "running";
    row.querySelector("[data-note]").textContent = state.note;
    if (state.status === "queued" || state.status === "running") return;
    row.removeAttribute("data-open");
    // The server renders its rows and its chart.
    if ("reload" in row.dataset) location.reload();
  }

  async function turn() {
    let wait = WAIT_MS;
    const rows = document.hidden ? [] : open();
    try {
      const states = rows.length ? await loadStates(rows.map((row) => row.dataset.run)) : {};
      for (const row of rows) if (states[row.dataset.run]) show(row, states[row.dataset.run]);
    } catch {
      wait = RETRY_MS;
    }
    if (open().length) setTimeout(turn, wait);
  }

  if (open().length) turn();
}
