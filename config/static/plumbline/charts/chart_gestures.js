"use strict";
// Zooms and moves a chart of charts/time_chart.js by mouse, touch and keyboard, and reads out values.
window.chartGestures = (() => {
  const ZOOM = 2;
  const WHEEL = 1.2;
  const STEP = 0.25; // part of the range by which Shift and an arrow move it
  const LEAST_PIXELS = 6; // of a drag, to be more than a click

  // The parts that a drag covers, within the chart.
  const ordered = ({ from, to }) => [from, to].map((part) => Math.min(1, Math.max(0, part))).sort((a, b) => a - b);

  class Gestures {
    // `onRange` takes the new range in seconds; `readOut` the index of the point whose values are to be told.
    constructor(chart, { onRange, readOut }) {
      Object.assign(this, { chart, onRange, readOut, touches: new Map(), place: null });
      const { box } = chart;
      box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      box.addEventListener("dblclick", () => this.zoom(ZOOM));
      box.addEventListener("keydown", (event) => this.key(event));
      for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
        box.addEventListener(name, (event) => this[name](event));
      }
    }

    // The range becomes `factor` times as long around the moment at `part` of it.
    zoom(factor, part = 0.5) {
      const { range } = this.chart;
      if (!range) return;
      const length = range.max - range.min;
      const min = range.min + length * part * (1 - factor);
      this.onRange({ min, max: min + length * factor });
    }

    move(part) {
      const { range } = this.chart;
      if (!range) return;
      const step = (range.max - range.min) * part;
      this.onRange({ min: range.min + step, max: range.max + step });
    }

    wheel(event) {
      if (!event.ctrlKey || !this.chart.plot) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? WHEEL : 1 / WHEEL, this.part(event.clientX));
    }

    // Where a place on the screen lies in the plot, from 0 to 1.
    part(clientX) {
      const { left, width } = this.chart.plot.over.getBoundingClientRect();
      return (clientX - left) / width;
    }

    key(event) {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (way && event.shiftKey) this.move(way * STEP);
      else if (way) this.step(way);
      else if (event.key === "+" || event.key === "=") this.zoom(1 / ZOOM);
      else if (event.key === "-") this.zoom(ZOOM);
      else return;
      event.preventDefault();
    }

    // To the next point that has a value.
    step(way) {
      const { plot } = this.chart;
      if (!plot) return;
      const stamps = this.chart.shown.stamps;
      const last = stamps.length - 1;
      let place = this.place === null ? (way > 0 ? 0 : last) : this.place + way;
      while (stamps[place] === null) place += way;
      if (stamps[place] === undefined) return;
      this.place = place;
      plot.setCursor({ left: plot.valToPos(this.chart.shown.seconds[place], "x"), top: 0 });
      this.readOut(place);
    }

    // A mouse selects what it is dragged over. One finger moves the range, two zoom it. The chart captures a pointer, so
    // that a drag may end outside.

    pointerdown(event) {
      if (!event.target.closest(".u-over") || event.button !== 0) return;
      const part = this.part(event.clientX);
      this.touches.set(event.pointerId, { from: part, to: part });
      this.chart.box.setPointerCapture(event.pointerId);
    }

    pointermove(event) {
      const touch = this.touches.get(event.pointerId);
      if (!touch) return;
      touch.to = this.part(event.clientX);
      if (event.pointerType === "mouse") this.chart.highlight(...ordered(touch));
    }

    pointerup(event) {
      const touches = [...this.touches.values()];
      if (!this.touches.has(event.pointerId)) return;
      this.pointercancel();
      if (touches.length > 1) this.pinch(touches[0], touches[1]);
      else if (!this.isDrag(touches[0])) return;
      else if (event.pointerType === "mouse") this.select(...ordered(touches[0]));
      else this.move(touches[0].from - touches[0].to);
    }

    pointercancel() {
      this.touches.clear();
      this.chart.highlight(0, 0);
    }

    isDrag({ from, to }) {
      return Math.abs(to - from) * this.chart.plot.over.clientWidth >= LEAST_PIXELS;
    }

    select(from, to) {
      const { min, max } = this.chart.range;
      this.onRange({ min: min + from * (max - min), max: min + to * (max - min) });
    }

    // What was under each finger is under it again.
    pinch(one, two) {
      const [before, after] = [two.from - one.from, two.to - one.to];
      const { range } = this.chart;
      if (!range || Math.abs(before) < 0.02 || before * after <= 0) return;
      const length = ((range.max - range.min) * before) / after;
      const under = range.min + one.from * (range.max - range.min);
      this.onRange({ min: under - one.to * length, max: under + (1 - one.to) * length });
    }
  }

  return { Gestures };
})();
