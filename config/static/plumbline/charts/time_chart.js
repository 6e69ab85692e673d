"use strict";
// Draws channels over time for devices/device_chart.js and analyses/bucket_chart.js, which feed it. Each unit has a
// panel; panels zoom and show values together. A channel is a line, or a band from minimum to maximum with its mean,
// and beside it a dashed line of what it is compared with.
window.timeChart = (() => {
  const COLORS = 6;
  const LONE_HEIGHT = 300;
  const PANEL_HEIGHT = 170;
  const TIME_AXIS = 44;
  const DAY = 86400;
  const LONE_SECONDS = 60; // span of the axis around a single moment
  const POINT = 4;
  const LINE = ["value"];
  const BAND = ["min", "mean", "max"];

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
  const levels = (values, step) => values.map((value) => chartText.number(value, chartText.decimalsOf(step)));
  const axisWidth = (labels) => Math.max(56, 14 + 7 * Math.max(0, ...labels.map((label) => label.length)));

  class Chart {
    // `channels`: {name, unit, decimals}. With `zooms` a drag zooms into what is drawn; without, charts/chart_gestures.js acts.
    constructor(box, channels, zone, { zooms = true, plugins = [] } = {}) {
      Object.assign(this, { box, channels, zone, zooms, plugins, panels: [], shown: null });
      this.units = [...new Set(channels.map(({ unit }) => unit))];
      new ResizeObserver(() => {
        for (const { plot } of this.panels) plot.setSize({ width: box.clientWidth, height: plot.height });
      }).observe(box);
      const dark = matchMedia("(prefers-color-scheme: dark)");
      dark.addEventListener("change", () => this.shown && this.build());
    }

    // `seconds`: times of the points; `stamps`: the same as ISO 8601; `values`: by channel and line (value, or min,
    // mean and max) a number for each point, null for a gap. `other`: by channel the numbers of what it is compared
    // with, or nothing. `bounds`: the span of the axis when all is shown, in seconds; without bounds it is the span of
    // the points.
    show(shown, { keepsZoom = false } = {}) {
      const isSame = this.shown?.isBand === shown.isBand && !this.shown.other === !shown.other;
      this.shown = shown;
      if (this.panels.length && isSame) this.draw(keepsZoom);
      else this.build();
    }

    // The span that is shown, in seconds; null if nothing is.
    get range() {
      const { min, max } = this.panels[0]?.plot.scales.x ?? {};
      return typeof min === "number" && typeof max === "number" ? { min, max } : null;
    }

    build() {
      for (const { plot } of this.panels) plot.destroy();
      this.panels = this.units.map((unit, place) => ({ unit, plot: new uPlot(this.options(unit, place), null, this.box) }));
      this.draw(false);
    }

    draw(keepsZoom) {
      const { seconds, values, other } = this.shown;
      for (const { unit, plot } of this.panels) {
        const old = plot.data[0] ?? [];
        const isZoomed = keepsZoom && old.length > 0 && (plot.scales.x.min > old[0] || plot.scales.x.max < old.at(-1));
        const lines = this.ofUnit(unit).flatMap(({ name }) => this.lines.map((line) => values[name][line]));
        const others = other ? this.ofUnit(unit).map(({ name }) => other[name]) : [];
        plot.setData([seconds, ...lines, ...others], !isZoomed);
        if (isZoomed) plot.redraw();
      }
    }

    get lines() {
      return this.shown.isBand ? BAND : LINE;
    }

    // The first panel's plot, for what maps pixels to moments; nothing before the first data.
    get plot() {
      return this.panels[0]?.plot;
    }

    redraw() {
      for (const { plot } of this.panels) plot.redraw();
    }

    // Highlights a stretch of the range, given as parts of it from 0 to 1.
    highlight(from, to) {
      for (const { plot } of this.panels) {
        const { clientWidth: width, clientHeight: height } = plot.over;
        plot.setSelect({ left: from * width, width: (to - from) * width, top: 0, height }, false);
      }
    }

    ofUnit(unit) {
      return this.channels.filter((channel) => channel.unit === unit);
    }

    options(unit, place) {
      const isLast = place === this.units.length - 1;
      const axis = { stroke: this.css("--muted"), font: this.css("--chart-font"), grid: { stroke: this.css("--line"), width: 1 } };
      axis.ticks = { ...axis.grid, size: 5 };
      return {
        width: this.box.clientWidth,
        padding: [6, 24, 0, 0],
        scales: { x: { range: (_plot, min, max) => this.span(min, max) } },
        height: (this.units.length === 1 ? LONE_HEIGHT : PANEL_HEIGHT) + (isLast ? TIME_AXIS : 0),
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), this.zone),
        cursor: this.cursor(),
        plugins: this.plugins,
        axes: [
          { ...axis, space: 70, ...(isLast ? { values: TIMES, size: TIME_AXIS } : { values: [], size: 8 }) },
          { ...axis, values: (_plot, splits, _axis, _space, step) => levels(splits, step), size: (_, labels) => axisWidth(labels ?? []) },
        ],
        series: [this.time(), ...this.series(unit)],
        bands: this.shown.isBand ? this.ofUnit(unit).map((channel, i) => this.band(channel, 3 * i + 1)) : [],
      };
    }

    cursor() {
      const cursor = { sync: { key: this.box.id || "time-chart" }, y: false, drag: { x: true, y: false } };
      return this.zooms ? cursor : { ...cursor, drag: { x: false, y: false }, bind: { dblclick: () => null } };
    }

    series(unit) {
      const channels = this.ofUnit(unit);
      const lines = channels.flatMap((channel) => this.lines.map((line) => this.line(channel, line)));
      return this.shown.other ? [...lines, ...channels.map((channel) => this.otherLine(channel))] : lines;
    }

    // uPlot passes the first and the last moment when all is to be shown, else the span that is zoomed into.
    span(min, max) {
      const { seconds, bounds } = this.shown;
      const [first, last] = [seconds[0] ?? null, seconds.at(-1) ?? null];
      if (min !== first || (max !== last && first !== last)) return [min, max];
      if (bounds) return bounds;
      return first !== null && first === last ? [first - LONE_SECONDS / 2, last + LONE_SECONDS / 2] : [min, max];
    }

    // Points stand too close to show each: show those of stretches that are too short to be seen as a line.
    lonePoints(plot, place, isShown) {
      if (isShown) return null;
      const [seconds, values] = [plot.data[0], plot.data[place]];
      const lone = [];
      let start = -1;
      for (let i = 0; i <= values.length; i += 1) {
        const isThere = i < values.length && values[i] !== null;
        if (isThere && start < 0) start = i;
        if (isThere || start < 0) continue;
        if (plot.valToPos(seconds[i - 1], "x") - plot.valToPos(seconds[start], "x") < POINT) lone.push(start);
        start = -1;
      }
      return lone;
    }

    // uPlot's first series is the time.
    time() {
      // A zoom into less than a minute shows the fraction, too.
      const isExact = () => this.range !== null && this.range.max - this.range.min < 60;
      const text = (iso) => (iso ? chartText.stamp(iso, this.zone, { isExact: isExact() }) : "");
      return { label: "Time", value: (_plot, _seconds, _series, i) => text(this.shown.stamps[i]) };
    }

    otherLine(channel) {
      const line = this.line(channel, "mean");
      const look = { stroke: this.css("--muted"), width: 1.5, dash: [4, 3], points: { show: false } };
      return { ...line, ...look, label: `${channel.name}, other` };
    }

    line(channel, line) {
      const place = this.channels.indexOf(channel);
      const color = this.color(channel);
      const isEdge = line === "min" || line === "max";
      const unit = channel.unit && ` ${channel.unit}`;
      const write = line === "mean" ? chartText.derived : chartText.number;
      const value = (_plot, number) => (number === null || number === undefined ? "" : write(number, channel.decimals) + unit);
      return {
        label: isEdge ? line : channel.name,
        stroke: isEdge ? `${color}66` : color,
        dash: place < COLORS ? undefined : [6, 3],
        width: isEdge ? 0.5 : 1.5,
        value,
        points: isEdge ? { show: false } : { size: POINT, fill: color, filter: this.lonePoints },
      };
    }

    band(channel, first) {
      return { series: [first + 2, first], fill: `${this.color(channel)}2b` };
    }

    color(channel) {
      return this.css(`--series-${(this.channels.indexOf(channel) % COLORS) + 1}`);
    }

    css(name) {
      return getComputedStyle(this.box).getPropertyValue(name).trim();
    }
  }

  return { Chart };
})();
