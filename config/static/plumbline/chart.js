"use strict";
// Draws the readings: a panel for each unit, all over the same time, which zoom and show values together.
{
  const GAP = 5; // A pause of more than so many usual intervals: no line is drawn over it.
  const COLORS = 6;
  const LONE_HEIGHT = 300;
  const PANEL_HEIGHT = 140;
  const TIME_AXIS = 44;
  const DAY = 86400;

  const box = document.querySelector("[data-chart]");
  const count = document.querySelector("[data-count]");
  const feed = JSON.parse(document.getElementById("feed").textContent);
  const units = [...new Set(feed.channels.map(({ unit }) => unit))];
  let panels = [];
  let drawn = [];
  let stamps = []; // of each point drawn; null in a gap

  // Label of a tick, and what stands below where a year, a day or a minute begins; 24 hours, as in stamps.
  const ticks = (label, year, day = null, minute = null) => [label, year, null, day, null, minute, null, 1];
  const TIMES = [
    [365 * DAY, ...ticks("{YYYY}", null)],
    [28 * DAY, ...ticks("{YYYY}-{MM}", null)],
    [DAY, ...ticks("{MM}-{DD}", "\n{YYYY}")],
    [60, ...ticks("{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", "\n{MM}-{DD}")],
    [1, ...ticks("{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", "\n{MM}-{DD}")],
    [0.001, ...ticks("{ss}.{fff}", "\n{YYYY}-{MM}-{DD} {HH}:{mm}", "\n{MM}-{DD} {HH}:{mm}", "\n{HH}:{mm}")],
  ];

  function usualInterval(seconds) {
    const steps = seconds.slice(1).map((second, i) => second - seconds[i]).filter((step) => step > 0);
    return steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  }

  // Seconds and, for each channel, values; a row of nulls stands where readings are missing.
  function columns(readings) {
    const seconds = readings.map(({ timestamp }) => Date.parse(timestamp) / 1000);
    const longest = GAP * usualInterval(seconds);
    const times = [];
    const values = feed.channels.map(() => []);
    stamps = [];
    readings.forEach((reading, i) => {
      if (i > 0 && seconds[i] - seconds[i - 1] > longest) {
        times.push((seconds[i] + seconds[i - 1]) / 2);
        stamps.push(null);
        for (const column of values) column.push(null);
      }
      times.push(seconds[i]);
      stamps.push(reading.timestamp);
      feed.channels.forEach(({ name }, channel) => values[channel].push(reading[name]));
    });
    return { times, values };
  }

  const ofUnit = (unit, list) => list.filter((_, i) => feed.channels[i].unit === unit);

  function series(channel) {
    const place = feed.channels.indexOf(channel);
    const color = css(`--series-${(place % COLORS) + 1}`);
    const dash = place < COLORS ? undefined : [6, 3];
    const unit = channel.unit && ` ${channel.unit}`;
    const value = (_plot, number) => (number === null || number === undefined ? "" : figures.exact(number) + unit);
    return { label: channel.name, stroke: color, dash, width: 1.5, value, points: { size: 4, fill: color } };
  }

  // uPlot's first series is the time.
  function time() {
    return { label: "\u00a0", value: (_plot, _seconds, _series, i) => stampText(stamps[i]) };
  }

  function options(unit, place) {
    const isLast = place === units.length - 1;
    const axis = { stroke: css("--muted"), font: css("--chart-font"), grid: { stroke: css("--line"), width: 1 } };
    axis.ticks = { ...axis.grid, size: 5 };
    return {
      width: box.clientWidth,
      padding: [6, 24, 0, 0],
      height: (units.length === 1 ? LONE_HEIGHT : PANEL_HEIGHT) + (isLast ? TIME_AXIS : 0),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), feed.zone),
      cursor: { sync: { key: "readings" }, y: false, drag: { x: true, y: false } },
      axes: [
        { ...axis, space: 70, ...(isLast ? { values: TIMES, size: TIME_AXIS } : { values: [], size: 8 }) },
        { ...axis, values: (_, splits) => splits.map(level), size: (_, labels) => axisWidth(labels ?? []) },
      ],
      series: [time(), ...ofUnit(unit, feed.channels).map(series)],
    };
  }

  const level = (value) => (Math.abs(value) >= 1e7 ? value.toExponential() : figures.exact(value));
  const axisWidth = (labels) => Math.max(56, 14 + 7 * Math.max(0, ...labels.map((label) => label.length)));
  const stampText = (iso) => (iso ? figures.stamp(iso, feed.zone).textContent : "");
  const css = (name) => getComputedStyle(box).getPropertyValue(name).trim();

  function build() {
    for (const { plot } of panels) plot.destroy();
    panels = units.map((unit, place) => ({ unit, plot: new uPlot(options(unit, place), null, box) }));
    draw();
  }

  function draw() {
    const { times, values } = columns(drawn);
    for (const { unit, plot } of panels) {
      const old = plot.data[0] ?? [];
      const isZoomed = old.length > 0 && (plot.scales.x.min > old[0] || plot.scales.x.max < old.at(-1));
      plot.setData([times, ...ofUnit(unit, values)], !isZoomed);
      if (isZoomed) plot.redraw();
    }
    count.textContent = `${drawn.length} readings. Drag to zoom in, double-click for all.`;
  }

  document.addEventListener("readings", ({ detail: readings }) => {
    drawn = readings;
    if (!drawn.length) count.textContent = "Waiting for the first reading.";
    else if (panels.length) draw();
    else build();
  });
  new ResizeObserver(() => {
    for (const { plot } of panels) plot.setSize({ width: box.clientWidth, height: plot.height });
  }).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.length && build());
}
