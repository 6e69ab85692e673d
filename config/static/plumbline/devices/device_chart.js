"use strict";
// Runs the chart of a device's page, and the statistics beside it. The address says what is shown: a time range, or
// nothing for the latest readings, which readings_feed.js follows. Zooming changes the address; back undoes it.
{
  const MOST_COLUMNS = 2000;
  const WEEK = 604800;
  const LEAST_RANGE = 0.001; // seconds
  const REFRESH_PART = 200; // a moving range is loaded again when it has moved by this part of its length,
  const [LEAST_REFRESH_MS, MOST_REFRESH_MS] = [2000, 60_000]; // within these limits
  const FIRST = Date.UTC(1970, 0, 1) / 1000;

  const panel = document.querySelector("[data-readings-chart]");
  const instrument = panel.parentElement;
  const box = panel.querySelector("[data-chart]");
  const count = panel.querySelector("[data-count]");
  const readOut = panel.querySelector("[data-read-out]");
  const followed = panel.querySelectorAll("[data-followed]");
  const page = JSON.parse(document.getElementById("chart").textContent);
  const { channels, zone } = page;
  const opened = Date.now();
  let range = page.range; // {start, end: stamps, starts, ends: as in the address}; null while live
  let latest = [];
  let marks = [];
  let asked = 0; // the answer to an older request is not shown
  let timer = 0;

  const plugins = [chartMarks.plugin(() => marks)];
  const chart = new timeChart.Chart(box, channels, zone, { zooms: false, plugins });
  new chartGestures.Gestures(chart, { onRange: zoomTo, readOut: tell });

  const counted = (number) => `${chartText.number(number, 0)} ${number === 1 ? "reading" : "readings"}`;
  const stamp = (seconds) => new Date(seconds * 1000).toISOString();
  const moves = (text) => text === "" || text.startsWith("now");

  // The bounds of the range now, in seconds; the first is null if it is the first reading.
  function bounds() {
    const passed = (Date.now() - opened) / 1000;
    const at = (iso, text) => iso && chartLines.seconds(iso) + (moves(text) && range.page ? passed : 0);
    return [range.start && at(range.start, range.starts || "first"), at(range.end, range.ends)];
  }

  // --- What is shown

  function start() {
    clearTimeout(timer);
    asked += 1;
    for (const control of followed) control.classList.toggle("idle", range !== null);
    if (range) load({ isNew: true });
    else drawLatest();
  }

  async function load({ isNew = false } = {}) {
    const number = ++asked;
    clearTimeout(timer);
    const [first, last] = bounds();
    const headers = isNew ? {} : pageParts.BY_TIMER;
    try {
      const [series, other, stretch] = await Promise.all([
        columns(panel.dataset.periodUrl, first, last, headers),
        otherColumns(first, last, headers),
        pageParts.load(panel.dataset.stretchUrl + location.search, '[data-part="stretch"]', { headers }),
      ]);
      if (number !== asked) return;
      // The time bar is a form too: it is renewed when the range is another, not when it moves.
      showStretch(stretch, isNew ? document : instrument);
      drawColumns(series, other);
    } catch (error) {
      if (number === asked) {
        const isFinal = error instanceof pageParts.Refused;
        count.textContent = isFinal ? error.message : "The server does not answer. Trying again.";
        if (isFinal) return;
      }
    }
    if (number === asked) follow();
  }

  async function columns(url, first, last, headers) {
    const query = new URLSearchParams({ end: stamp(last), points: Math.min(MOST_COLUMNS, Math.max(100, box.clientWidth)) });
    if (first !== null) query.set("start", stamp(first));
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json", ...headers } });
    if (response.status >= 400 && response.status < 500) throw new pageParts.Refused(`The server refuses (${response.status}).`);
    if (!response.ok) throw new Error(`The server answers ${response.status}.`);
    return response.json();
  }

  // The columns of what the range is compared with, and how far they are moved; null without a comparison.
  async function otherColumns(first, last, headers) {
    const kind = new URLSearchParams(location.search).get("compare");
    const url = panel.dataset.otherUrl;
    if (!kind || !url || first === null) return null;
    const shift = { before: last - first, week: WEEK, device: 0 }[kind];
    return { series: await columns(url, first - shift, last - shift, headers), shift };
  }

  function showStretch({ page: fresh }, root) {
    pageParts.replace(root, fresh);
    document.querySelector('[data-part="stretch"]').setAttribute("aria-busy", "false");
    document.dispatchEvent(new Event("parts-replaced"));
  }

  const excluded = () =>
    [...document.querySelectorAll("[data-exclusion]")].map((item) => ({
      start: chartLines.seconds(item.dataset.start),
      end: chartLines.seconds(item.dataset.end),
      reason: item.querySelector("[data-reason]").textContent,
    }));

  function drawColumns(series, other) {
    const span = series.start && [series.start, series.end].map(chartLines.seconds);
    const shown = chartLines.ofColumns(series, channels, span, span && other);
    if (other && span) shown.other = chartLines.beside(other.series, shown, channels, other.shift);
    shown.otherLabel = panel.dataset.otherLabel;
    marks = [...shown.gaps, ...excluded()];
    chart.show(shown);
    const total = series.count.reduce((sum, each) => sum + each, 0);
    count.textContent = total ? `${counted(total)}: minimum, mean and maximum.` : "No reading in this range.";
  }

  function drawLatest() {
    if (!latest.length) {
      count.textContent = "Waiting for the first reading.";
      return;
    }
    const shown = chartLines.ofReadings(latest, channels);
    marks = [...shown.gaps, ...excluded()];
    chart.show(shown);
    count.textContent = `${counted(latest.length)}, the latest.`;
  }

  // Statistics of the latest readings, once the last request for them is answered.
  let isAsking = false;
  async function askLatest() {
    if (isAsking || !latest.length) return;
    isAsking = true;
    const query = new URLSearchParams(location.search);
    query.set("from", latest[0].timestamp);
    query.set("to", "now");
    try {
      const stretch = await pageParts.poll(`${panel.dataset.stretchUrl}?${query}`, '[data-part="stretch"]');
      if (range === null) showStretch(stretch, instrument);
      if (range === null) drawLatest();
    } catch {
      // readings_feed.js tells the person, and its next readings ask again.
    }
    isAsking = false;
  }

  // --- Moving ranges move

  function follow() {
    clearTimeout(timer);
    if (!range || !range.page || !moves(range.ends) || document.hidden) return;
    const { min = 0, max = 0 } = chart.range ?? {};
    const wait = ((max - min) * 1000) / REFRESH_PART;
    timer = setTimeout(load, Math.min(MOST_REFRESH_MS, Math.max(LEAST_REFRESH_MS, wait)));
  }

  document.addEventListener("visibilitychange", () => range && (document.hidden ? clearTimeout(timer) : load()));

  // --- Zoom

  function zoomTo({ min, max }) {
    if (!(max - min > LEAST_RANGE)) return;
    const [starts, ends] = [stamp(Math.max(min, FIRST)), stamp(max)];
    range = { start: starts, end: ends, starts, ends };
    const query = new URLSearchParams(location.search);
    query.set("from", starts);
    query.set("to", ends);
    history.pushState({ range }, "", `?${query}`);
    start();
  }

  addEventListener("popstate", ({ state }) => {
    if (!state) return;
    range = state.range;
    start();
  });

  // --- Read out

  function tell(place) {
    const { stamps, values, isBand } = chart.shown;
    const parts = channels.map(({ name, unit, decimals }) => {
      const value = values[name][isBand ? "mean" : "value"][place];
      const text = isBand ? chartText.derived : chartText.number;
      return `${name} ${value === null ? "nothing" : text(value, decimals)}${unit && ` ${unit}`}`;
    });
    readOut.textContent = `${chartText.stamp(stamps[place], zone)}: ${parts.join(", ")}`;
  }

  // Bounds that move do so from the moment when the server computed them, which is when this page was opened.
  if (range) range.page = true;
  history.replaceState({ range }, "");
  for (const element of document.querySelectorAll("[data-script-only]")) element.hidden = false;
  document.addEventListener("readings", ({ detail: readings }) => {
    latest = readings;
    if (range === null) {
      drawLatest();
      askLatest();
    }
  });
  // The first readings of a device may change how many decimals its channels have.
  document.addEventListener("latest-shown", () => {
    for (const channel of channels) {
      const { decimals } = document.querySelector(`[data-value="${channel.name}"]`).dataset;
      channel.decimals = decimals === "" ? null : Number(decimals);
    }
  });
  start();
}
