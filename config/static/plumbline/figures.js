"use strict";
// Writes numbers and stamps as the server does (devices/templatetags/figures.py).
window.figures = (() => {
  const READABLE_DIGITS = 6;
  const AGES = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const formats = new Map();

  // The shortest decimal that reads back as the same double.
  function exact(value) {
    if (Object.is(value, -0)) return "-0";
    const size = Math.abs(value);
    return size === 0 || (size >= 1e-4 && size < 1e16) ? String(value) : value.toExponential();
  }

  function readableLength(whole, rest) {
    const digits = whole.replace("-", "");
    if (rest.includes("e")) return rest.length;
    if (digits === "0") return rest.length - rest.replace(/^[.0]+/, "").length + READABLE_DIGITS;
    return Math.max(0, READABLE_DIGITS - digits.length) + 1;
  }

  function number(value) {
    if (value === null || value === undefined) return document.createTextNode("—");
    const text = exact(value);
    const [whole] = text.match(/-?\d+/);
    const cut = whole.length + readableLength(whole, text.slice(whole.length));
    const data = element("data", "number", text.slice(0, cut));
    data.value = text;
    data.dataset.places = whole.replace("-", "").length;
    data.append(element("span", "tail", text.slice(cut)));
    return data;
  }

  // An ISO 8601 stamp in the zone; its microseconds are taken from the text, a Date has none.
  function stamp(iso, zone) {
    const part = inZone(new Date(iso), zone);
    const date = `${part.year.padStart(4, "0")}-${part.month}-${part.day}`;
    const clock = `${part.hour}:${part.minute}:${part.second}${iso.match(/\.\d+/) ?? ""}`;
    const time = element("time", "", `${date} ${clock}`);
    time.dateTime = iso;
    time.title = iso;
    if (zone !== "UTC") time.append(" ", element("span", "offset", part.timeZoneName.replace("GMT", "") || "+00:00"));
    return time;
  }

  function inZone(date, zone) {
    const part = Object.fromEntries(format(zone).formatToParts(date).map(({ type, value }) => [type, value]));
    // The first hours of year 1 lie before it in some zones.
    return part.era === "BC" ? inZone(date, "UTC") : part;
  }

  function format(zone) {
    if (!formats.has(zone)) {
      const two = "2-digit";
      const fields = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two };
      const options = { ...fields, hourCycle: "h23", era: "short", timeZone: zone, timeZoneName: "longOffset" };
      formats.set(zone, new Intl.DateTimeFormat("en-GB", options));
    }
    return formats.get(zone);
  }

  // Coverage and exclusions in words, as `note` in analytics/views.py.
  function note({ coverage, excluded }) {
    const words = [];
    if (typeof coverage?.percent === "number") words.push(`${exact(Math.floor(coverage.percent * 10) / 10)} % covered`);
    if (coverage?.expected_seconds) words.push(`one reading in ${exact(coverage.expected_seconds)} s expected`);
    if (coverage?.gaps) {
      const longest = duration(coverage.longest_gap.seconds);
      words.push(coverage.gaps === 1 ? `a gap of ${longest}` : `${coverage.gaps} gaps, the longest of ${longest}`);
    }
    if (excluded) words.push(`${excluded} excluded`);
    return words.join(", ");
  }

  // In the largest unit that fits, rounded down.
  function duration(seconds) {
    const [size, unit] = AGES.find(([size]) => seconds >= size) ?? AGES.at(-1);
    return `${Math.floor(Math.max(0, seconds) / size)} ${unit}`;
  }

  function element(name, className, text = "") {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.textContent = text;
    return made;
  }

  return { exact, note, number, stamp };
})();
