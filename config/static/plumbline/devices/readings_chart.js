"use strict";
// Draws the chart of a device with charts/time_chart.js. Two sources feed it: the latest readings, which
// readings_feed.js follows, and for a period GET /devices/ID/series/ (DeviceSeries in analytics/analyses/api.py).
{
  const GAP = 5; // no line is drawn over a pause of more than this many usual intervals
  const COLUMNS_GAP = 2; // nor over more than this many columns without a reading
  const MOST_COLUMNS = 2000;
  const ZOOM_WAIT_MS = 250;

  const panel = document.querySelector("[data-readings-chart]");
  const box = panel.querySelector("[data-chart]");
  const count = document.querySelector("[data-count]");
  const choice = document.querySelector("[data-chart-period]");
  const followed = document.querySelectorAll("[data-followed]");
  const { channels, zone } = JSON.parse(document.getElementById("chart").textContent);
  const chart = new timeChart.Chart(box, channels, zone);
  let latest = [];
  let period = null; // seconds up to now, 0 for all readings; null while the latest are followed
  let loaded = null; // start and end, in seconds, of the columns that are drawn
  let asked = 0; // the answer to an older request is not drawn
  let timer = 0;

  const counted = (number) => `${chartText.number(number, 0)} ${number === 1 ? "reading" : "readings"}`;

  // The median of `steps`, each [seconds, number of times].
  function usual(steps) {
    const known = steps.filter(([seconds, times]) => seconds > 0 && times > 0).sort(([a], [b]) => a - b);
    let left = known.reduce((sum, [, times]) => sum + times, 0) / 2;
    return known.find(([, times]) => (left -= times) < 0)?.[0] ?? 0;
  }

  // Inserts a row of nulls where the pause before a row exceeds `longest` seconds; the first row has no pause.
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
    const lines = channels.map(({ name }) => latest.map((reading) => reading[name]));
    const seconds = stamps.map((stamp) => Date.parse(stamp) / 1000);
    const pauses = seconds.slice(1).map((second, i) => second - seconds[i]);
    const shown = withGaps(seconds, stamps, lines, pauses, GAP * usual(pauses.map((pause) => [pause, 1])));
    const values = Object.fromEntries(channels.map(({ name }, i) => [name, { value: shown.values[i] }]));
    chart.show({ ...shown, values, isBand: false }, { keepsZoom: true });
    count.textContent = `${counted(latest.length)}. Drag to zoom in, double-click for all.`;
  }

  function drawColumns(series, bounds) {
    const names = channels.map(({ name }) => name);
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
      const response = await fetch(`${panel.dataset.periodUrl}?${query}`, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(`The server answers ${response.status}.`);
      const series = await response.json();
      if (number !== asked || period === null) return;
      // A device without readings has no start.
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

  // The span that is zoomed into is loaded again, with as many columns.
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
  // Browsers keep the choice over a reload.
  choice.value = "";
  choice.hidden = false;

  document.addEventListener("readings", ({ detail: readings }) => {
    latest = readings;
    if (period === null) drawLatest();
  });
  // The first readings of a device may change how many decimals its channels have.
  document.addEventListener("latest-shown", () => {
    for (const channel of channels) {
      const { decimals } = document.querySelector(`[data-value="${channel.name}"]`).dataset;
      channel.decimals = decimals === "" ? null : Number(decimals);
    }
  });
  document.addEventListener("shown-period", ({ detail }) => Object.assign(detail, chart.range));
}
