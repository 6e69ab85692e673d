"use strict";
// Marks stretches of time behind the lines of charts/time_chart.js: hatched where readings are excluded, with the
// reason, and grey where readings are missing.
window.chartMarks = (() => {
  const HATCH = 7; // pixels between two lines
  const LEAST_LABEL = 48; // a narrower stretch has no room for its reason

  // `marks` returns [{start, end, reason}], in seconds; a gap has no reason.
  function plugin(marks) {
    return { hooks: { drawClear: [(plot) => marks().forEach((mark) => draw(plot, mark))] } };
  }

  function draw(plot, { start, end, reason }) {
    const { left, top, width, height } = plot.bbox;
    const from = Math.max(left, plot.valToPos(start, "x", true));
    const to = Math.min(left + width, plot.valToPos(end, "x", true));
    if (!(to > from)) return;
    const css = (name) => getComputedStyle(plot.root).getPropertyValue(name).trim();
    const { ctx } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(from, top, Math.max(to - from, 1), height);
    ctx.clip();
    if (reason === undefined) {
      ctx.fillStyle = `${css("--muted")}1f`;
      ctx.fillRect(from, top, to - from, height);
    } else {
      hatch(ctx, from, to, top, height, css("--warn"));
      label(ctx, reason, from, to, top, css);
    }
    ctx.restore();
  }

  function hatch(ctx, from, to, top, height, color) {
    const step = HATCH * devicePixelRatio;
    ctx.strokeStyle = color;
    ctx.globalAlpha = 0.45;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    // Lines keep their place while the chart moves over the stretch.
    for (let x = from - height - ((from - height) % step); x < to; x += step) {
      ctx.moveTo(x, top + height);
      ctx.lineTo(x + height, top);
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  function label(ctx, reason, from, to, top, css) {
    if (to - from < LEAST_LABEL * devicePixelRatio) return;
    ctx.font = css("--chart-font").replace(/^\d+/, (size) => size * devicePixelRatio);
    ctx.fillStyle = css("--warn");
    ctx.textBaseline = "top";
    ctx.fillText(reason, from + 4 * devicePixelRatio, top + 4 * devicePixelRatio);
  }

  return { plugin };
})();
