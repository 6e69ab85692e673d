"use strict";
// Lets relative times tick, "3 min ago", as devices/notation/moments.py writes them. Each <time data-ago> carries the
// server's clock when it was written: the viewer's own clock, which may be wrong, only measures what has passed since.
{
  const TICK_MS = 1000;
  const JUST_NOW_SECONDS = 2;
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const seen = new WeakMap(); // by element: the server's clock less ours, in milliseconds

  function relative(seconds) {
    const size = Math.abs(seconds);
    if (size < JUST_NOW_SECONDS) return "just now";
    const [length, unit] = UNITS.find(([least]) => size >= least);
    const text = `${Math.floor(size / length)} ${unit}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  function tick() {
    for (const element of document.querySelectorAll("time[data-ago]")) {
      if (!seen.has(element)) seen.set(element, Date.parse(element.dataset.ago) - Date.now());
      const text = relative((Date.now() + seen.get(element) - Date.parse(element.dateTime)) / 1000);
      if (element.textContent !== text) element.textContent = text;
    }
  }

  tick();
  setInterval(tick, TICK_MS);
}
