"use strict";
// Draws a person's log-ins, log-outs and blog actions by day.
{
  const HEIGHT = 260;
  const box = document.querySelector("[data-chart]");
  const { days, series } = JSON.parse(document.getElementById("activity").textContent);
  const css = (name) => getComputedStyle(box).getPropertyValue(name).trim();
  const DAY = 86400;
  const date = (seconds) => (seconds === null || seconds === undefined ? "" : new Date(seconds * 1000).toISOString().slice(0, 10));
  let plot = null;

  // uPlot's rows: smallest step between ticks, label of a tick, second line where a year begins.
  const TIMES = [
    [365 * DAY, "{YYYY}", null, null, null, null, null, null, 1],
    [28 * DAY, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
    [DAY, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  ];

  function line({ label }, place) {
    const color = css(`--series-${place + 1}`);
    const value = (_plot, count) => (typeof count === "number" ? chartText.number(count, 0) : "");
    return { label, value, stroke: color, width: 1.5, points: { size: 4, fill: color, show: days.length < 100 } };
  }

  function options() {
    const axis = { stroke: css("--muted"), font: css("--chart-font"), grid: { stroke: css("--line"), width: 1 } };
    axis.ticks = { ...axis.grid, size: 5 };
    return {
      width: box.clientWidth,
      height: HEIGHT,
      padding: [6, 24, 0, 0],
      // Days are of the portal's zone and given as midnights in UTC, whatever the browser's zone.
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      cursor: { y: false, drag: { x: true, y: false } },
      scales: { y: { range: (_plot, _low, high) => [0, Math.max(1, high) * 1.05] } },
      axes: [
        { ...axis, space: 70, values: TIMES, size: 44, incrs: [1, 2, 7, 14, 28, 91, 182, 365, 730].map((n) => n * DAY) },
        {
          ...axis,
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000, 100000],
          values: (_plot, splits) => splits.map((split) => chartText.number(split, 0)),
        },
      ],
      series: [{ label: "Day", value: (_plot, seconds) => date(seconds) }, ...series.map(line)],
    };
  }

  function build() {
    plot?.destroy();
    plot = new uPlot(options(), [days, ...series.map(({ values }) => values)], box);
  }

  build();
  document.querySelector("[data-hint]").hidden = false;
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
}
