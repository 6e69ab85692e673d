"use strict";
// Draws the result of a calculation, or two results over one another: areas and lines on the left axis, further
// lines on the right one, a band between low and high. calculation_chart in analytics/calculations/views.py feeds it.
{
  const HEIGHT = 360;
  const COLORS = 6;
  const FILL = "26"; // opacity of areas, as the last two digits of a colour: about 15 %
  const box = document.querySelector("[data-chart]");
  const note = document.querySelector("[data-chart-note]");
  const css = (name) => getComputedStyle(box).getPropertyValue(name).trim();
  const colour = (place) => css(`--series-${(place % COLORS) + 1}`);
  const DAY = 86400;
  let results = [];
  let plot = null;

  // Label of a tick, and what stands below where a year or a day begins; 24 hours, as in stamps.
  const ticks = (label, year, day = null) => [label, year, null, day, null, null, null, 1];
  const TIMES = [
    [365 * DAY, ...ticks("{YYYY}", null)],
    [28 * DAY, ...ticks("{YYYY}-{MM}", null)],
    [DAY, ...ticks("{MM}-{DD}", "\n{YYYY}")],
    [60, ...ticks("{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", "\n{MM}-{DD}")],
  ];

  async function load(url) {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) throw new Error(`The server answers ${response.status}.`);
    return response.json();
  }

  const seconds = (text) => Date.parse(text.length === 10 ? `${text}T00:00:00Z` : text) / 1000;
  const columns = ({ data: [times, ...values] }) => [times.map(seconds), ...values];

  function series(column, place, { prefix, isSecond }) {
    const { label, unit, draw, decimals } = column;
    const isEdge = draw === "low" || draw === "high";
    const stroke = colour(place);
    const value = (_plot, number) => (number === null || number === undefined ? "" : chartText.number(number, decimals));
    return {
      label: `${prefix}${label}${unit && unit !== "fraction" ? `, ${unit}` : ""}`,
      scale: draw === "line-right" ? "right" : "y",
      stroke,
      width: isEdge ? 1 : 1.5,
      dash: isSecond ? [6, 3] : undefined,
      fill: draw === "area" && !isSecond ? stroke + FILL : undefined,
      spanGaps: true,
      points: { show: false },
      value,
    };
  }

  function time(isDate) {
    const text = (second) => new Date(second * 1000).toISOString().slice(0, isDate ? 10 : 16).replace("T", " ");
    return { label: isDate ? "Date" : "UTC", value: (_plot, second) => (second === null || second === undefined ? "" : text(second)) };
  }

  // Numbers of the series at the edges of each band, high first, as uPlot expects.
  function bands(lists) {
    const all = lists.flatMap((list) => list);
    const places = (draw) => all.flatMap((column, i) => (column.draw === draw ? [i + 1] : []));
    const lows = places("low");
    return places("high").map((high, i) => ({ series: [high, lows[i]], fill: colour(0) + FILL }));
  }

  function options() {
    const lists = results.map(({ columns: [, ...rest] }) => rest);
    const hasTwo = results.length === 2;
    const axis = { stroke: css("--muted"), font: css("--chart-font"), grid: { stroke: css("--line"), width: 1 } };
    const drawn = lists.flatMap((list, n) =>
      list.map((column, place) => series(column, place, { prefix: hasTwo ? `${"AB"[n]} ` : "", isSecond: n === 1 })),
    );
    const values = (_plot, splits, _axis, _space, step) => splits.map((split) => chartText.number(split, chartText.decimalsOf(step)));
    const axes = [{ ...axis, values: TIMES, space: 70 }, { ...axis, values, size: 64 }];
    if (drawn.some(({ scale }) => scale === "right")) {
      axes.push({ ...axis, values, scale: "right", side: 1, size: 56, grid: { show: false } });
    }
    return {
      width: box.clientWidth,
      height: HEIGHT,
      padding: [6, axes.length > 2 ? 0 : 24, 0, 0],
      tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "UTC"),
      cursor: { y: false, drag: { x: true, y: false } },
      // Lines of one column have one colour: B's are dashed, in the legend, too.
      legend: { markers: { width: 2, dash: (drawnPlot, i) => (drawnPlot.series[i].dash ? "dashed" : "solid") } },
      axes,
      bands: bands(lists),
      series: [time(results[0].columns[0].kind === "date"), ...drawn],
    };
  }

  function build() {
    plot?.destroy();
    const tables = results.map(columns);
    plot = new uPlot(options(), tables.length === 2 ? uPlot.join(tables) : tables[0], box);
  }

  function say() {
    const [{ rows, data }] = results;
    const thinned = data[0].length < rows ? ` Drawn from ${chartText.number(data[0].length, 0)} of ${chartText.number(rows, 0)} rows: the extremes of each stretch.` : "";
    note.textContent = `Drag to zoom in, double-click for all.${thinned}`;
  }

  async function start() {
    const urls = [box.dataset.result, box.dataset.otherResult].filter(Boolean);
    try {
      results = await Promise.all(urls.map(load));
    } catch {
      note.textContent = "The server does not answer. Reload the page.";
      return;
    }
    if (!results[0].data[0].length) return;
    build();
    say();
    new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  }

  start();
}
