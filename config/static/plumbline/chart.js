"use strict";
// The chart of a device: its latest readings as they come in, or a period of any length by minimum, mean and maximum.
{
  const GAP = 5; // A pause of more than so many usual intervals: no line is drawn over it.
  const COLUMNS_GAP = 2; // Nor over more than so many columns without a reading.
  const MOST_COLUMNS = 2000;
  const ZOOM_WAIT_MS = 250;

  const box = document.querySelector("[data-chart]");
  const count = document.querySelector("[data-count]");
  const choice = document.querySelector("[data-chart-period]");
  const followed = document.querySelectorAll("[data-followed]");
  const feed = JSON.parse(document.getElementById("feed").textContent);
  const chart = new plots.Chart(box, feed.channels, feed.zone);
  let latest = [];
  let period = null; // seconds up to now, 0 for all readings; null while the latest are followed
  let loaded = null; // of the columns that are drawn, start and end in seconds
  let asked = 0; // how often; the answer to an older question is not drawn
  let timer = 0;

  const counted = (number) => `${number} ${number === 1 ? "reading" : "readings"}`;

  // The usual one of `steps`, each [seconds, how often].
  function usual(steps) {
    const known = steps.filter(([seconds, times]) => seconds > 0 && times > 0).sort(([a], [b]) => a - b);
    let left = known.reduce((sum, [, times]) => sum + times, 0) / 2;
    return known.find(([, times]) => (left -= times) < 0)?.[0] ?? 0;
  }

  // A row of nulls where more than `longest` seconds, `pauses` before each row but the first, have no reading.
  function withGaps(seconds, stamps, lines, pauses, longest) {
    const times = [];
    const shown = [];
    const values = lines.map(() => []);
    seconds.forEach((second, i) => {
      if (i > 0 && pauses[i - 1] > longest) {
        times.push((second + seconds[i - 1]) / 2);
        shown.push(null);
        for (const column of values) column.push(null);
      }
      times.push(second);
      shown.push(stamps[i]);
      lines.forEach((line, place) => values[place].push(line[i]));
    });
    return { seconds: times, stamps: shown, values };
  }

  function drawLatest() {
    if (!latest.length) {
      count.textContent = "Waiting for the first reading.";
      return;
    }
    const stamps = latest.map(({ timestamp }) => timestamp);
    const lines = feed.channels.map(({ name }) => latest.map((reading) => reading[name]));
    const seconds = stamps.map((stamp) => Date.parse(stamp) / 1000);
    const pauses = seconds.slice(1).map((second, i) => second - seconds[i]);
    const shown = withGaps(seconds, stamps, lines, pauses, GAP * usual(pauses.map((pause) => [pause, 1])));
    const values = Object.fromEntries(feed.channels.map(({ name }, i) => [name, { value: shown.values[i] }]));
    chart.show({ ...shown, values, isBand: false }, { keepsZoom: true });
    count.textContent = `${counted(latest.length)}. Drag to zoom in, double-click for all.`;
  }

  function drawColumns(series, bounds) {
    const names = feed.channels.map(({ name }) => name);
    const lines = names.flatMap((name) => ["min", "mean", "max"].map((line) => series.channels[name][line]));
    const [starts, ends] = [series.starts, series.ends].map((stamps) => stamps.map((stamp) => Date.parse(stamp) / 1000));
    const pauses = starts.slice(1).map((start, i) => start - ends[i]);
    const inside = starts.map((start, i) => [(ends[i] - start) / (series.count[i] - 1), series.count[i] - 1]);
    const width = bounds ? (bounds[1] - bounds[0]) / series.points : 0;
    const longest = Math.max(COLUMNS_GAP * width, GAP * usual([...inside, ...pauses.map((pause) => [pause, 1])]));
    const middles = starts.map((start, i) => (start + ends[i]) / 2);
    const shown = withGaps(middles, series.starts, lines, pauses, longest);
    const values = Object.fromEntries(
      names.map((name, i) => [name, { min: shown.values[3 * i], mean: shown.values[3 * i + 1], max: shown.values[3 * i + 2] }]),
    );
    chart.show({ ...shown, values, bounds, isBand: true });
    const total = series.count.reduce((sum, each) => sum + each, 0);
    count.textContent = total
      ? `${counted(total)}: minimum, mean and maximum. Drag for more detail, double-click for all.`
      : "No reading in this period.";
  }

  async function load(bounds) {
    const number = ++asked;
    const query = new URLSearchParams({ ...bounds, points: Math.min(MOST_COLUMNS, Math.max(100, box.clientWidth)) });
    try {
      const response = await fetch(`${choice.dataset.series}?${query}`, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(`The server answers ${response.status}.`);
      const series = await response.json();
      if (number !== asked || period === null) return;
      // Of all readings, where there is none, no start.
      loaded = series.start && [series.start, series.end].map((bound) => Date.parse(bound) / 1000);
      drawColumns(series, loaded);
    } catch {
      if (number === asked) count.textContent = "The server does not answer. Choose the period again.";
    }
  }

  const whole = () => (period ? { start: iso(Date.now() / 1000 - period) } : {});
  const iso = (seconds) => new Date(seconds * 1000).toISOString();

  function choose() {
    period = choice.value === "" ? null : Number(choice.value);
    for (const control of followed) control.classList.toggle("idle", period !== null);
    asked += 1;
    if (period === null) drawLatest();
    else load(whole());
  }

  // What was zoomed into is loaded anew with as many columns.
  function refine() {
    const range = chart.range;
    if (period === null || !loaded || !range) return;
    if (range.max - range.min < 0.9 * (loaded[1] - loaded[0]) && range.max - range.min > 0.01) {
      load({ start: iso(range.min), end: iso(range.max) });
    }
  }

  box.addEventListener("mouseup", () => {
    clearTimeout(timer);
    timer = setTimeout(refine, ZOOM_WAIT_MS);
  });
  box.addEventListener("dblclick", () => {
    clearTimeout(timer);
    if (period !== null) load(whole());
  });
  choice.addEventListener("change", choose);
  // Browsers keep it over a reload.
  choice.value = "";
  choice.hidden = false;

  document.addEventListener("readings", ({ detail: readings }) => {
    latest = readings;
    if (period === null) drawLatest();
  });
  document.addEventListener("shown-period", ({ detail }) => Object.assign(detail, chart.range));
}
