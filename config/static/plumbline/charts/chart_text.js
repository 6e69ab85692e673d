"use strict";
// Writes numbers and stamps in charts as the templates write them (devices/templatetags/figures.py): a legend follows
// the pointer, so the server cannot render it.
window.chartText = (() => {
  const formats = new Map();

  // The shortest decimal that reads back as the same double.
  function number(value) {
    if (Object.is(value, -0)) return "-0";
    const size = Math.abs(value);
    return size === 0 || (size >= 1e-4 && size < 1e16) ? String(value) : value.toExponential();
  }

  // An ISO 8601 stamp in the zone; its microseconds are taken from the text, a Date has none.
  function stamp(iso, zone) {
    const part = inZone(new Date(iso), zone);
    const date = `${part.year.padStart(4, "0")}-${part.month}-${part.day}`;
    const clock = `${part.hour}:${part.minute}:${part.second}${iso.match(/\.\d+/) ?? ""}`;
    const offset = zone === "UTC" ? "" : ` ${part.timeZoneName.replace("GMT", "") || "+00:00"}`;
    return `${date} ${clock}${offset}`;
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

  return { number, stamp };
})();
