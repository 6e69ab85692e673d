"use strict";
// Keeps the tiles, the state and the table of the latest readings up to date.
{
  const SHOWN = 20;
  const feed = JSON.parse(document.getElementById("feed").textContent);
  const body = document.querySelector("[data-readings]");
  const state = document.querySelector("[data-state]");
  const excludeUrl = body.dataset.excludeUrl;
  let newest = null;

  // Stamps of one length compare as text, to the microsecond.
  const micro = (iso) => (iso.includes(".") ? iso : iso.replace("Z", ".000000Z"));

  function isExcluded(reading) {
    const time = micro(reading.timestamp);
    return feed.exclusions.some(({ start, end, values }) => {
      if (time < micro(start) || time >= micro(end)) return false;
      return values === null || values.every((value, i) => value === reading[feed.channels[i].name]);
    });
  }

  function mark(line, reading) {
    const cell = line.insertCell();
    if (isExcluded(reading)) {
      line.className = "excluded";
      const badge = document.createElement("span");
      badge.className = "badge inactive";
      badge.textContent = "Excluded";
      cell.append(badge);
    } else if (excludeUrl) {
      const { device_id: _, ...named } = reading;
      const link = document.createElement("a");
      link.href = `${excludeUrl}?reading=${encodeURIComponent(JSON.stringify(named))}`;
      link.textContent = "Exclude";
      cell.append(link);
    }
  }

  function row(reading) {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.append(figures.stamp(reading.timestamp, feed.zone));
    line.append(head);
    for (const { name } of feed.channels) line.insertCell().append(figures.number(reading[name]));
    mark(line, reading);
    return line;
  }

  function show(readings) {
    for (const { name } of feed.channels) {
      document.querySelector(`[data-value="${name}"]`).replaceChildren(figures.number(newest[name]));
    }
    document.querySelector("[data-last]").replaceChildren(figures.stamp(newest.timestamp, feed.zone));
    body.replaceChildren(...readings.slice(-SHOWN).reverse().map(row));
    body.closest("[hidden]")?.removeAttribute("hidden");
    document.querySelector("[data-no-readings]")?.remove();
  }

  function showState() {
    const isOnline = Date.now() - Date.parse(newest.timestamp) < feed.online_seconds * 1000;
    state.textContent = isOnline ? "Online" : "Offline";
    state.className = `badge ${isOnline ? "online" : "offline"}`;
  }

  document.addEventListener("readings", ({ detail: readings }) => {
    if (!readings.length) return;
    newest = readings.at(-1);
    show(readings);
    showState();
  });
  setInterval(() => newest && showState(), 5000);
}
