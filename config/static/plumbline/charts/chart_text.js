"use strict";
// Writes numbers and stamps as the templates write them (devices/notation, devices/templatetags/figures.py): a legend
// follows the pointer, so the server cannot render it. One table of cases tests both.
window.chartText = (() => {
  const GROUP = "\u202f";
  const SHORTEST_GROUPED = 5;
  const SIGNIFICANT_DIGITS = 6;
  const LEAST_DERIVED_DECIMALS = 2;
  const MOST_DECIMALS = 15;
  const [SMALLEST_PLAIN, SMALLEST_SCIENTIFIC] = [1e-6, 1e15];
  const formats = new Map();

  // A number with the decimals of its channel; with null, with six significant digits.
  function number(value, decimals = null) {
    if (decimals === null || Math.abs(value) >= SMALLEST_SCIENTIFIC) return significant(value);
    return grouped(fixed(value, decimals));
  }

  // A figure computed of readings: at least two decimals, as far as they are not zero.
  function derived(value, decimals = null) {
    const isPlain = decimals !== null && decimals < LEAST_DERIVED_DECIMALS && Math.abs(value) < SMALLEST_SCIENTIFIC;
    if (!isPlain) return number(value, decimals);
    let text = fixed(value, LEAST_DERIVED_DECIMALS);
    while (text.endsWith("0") && text.split(".")[1].length > decimals) text = text.slice(0, -1);
    return grouped(text.replace(/\.$/, ""));
  }

  function fixed(value, decimals) {
    const text = value.toFixed(decimals);
    // Zero has no sign: -0.001 is 0.00.
    return Number(text) === 0 ? text.replace("-", "") : text;
  }

  function significant(value) {
    const rounded = Number(value.toPrecision(SIGNIFICANT_DIGITS));
    if (rounded === 0) return "0";
    const size = Math.abs(rounded);
    if (size >= SMALLEST_PLAIN && size < SMALLEST_SCIENTIFIC) return grouped(String(rounded));
    // Of the text, as the smallest doubles have fewer digits than were asked for.
    const [mantissa, exponent] = value.toExponential(SIGNIFICANT_DIGITS - 1).split("e");
    return `${mantissa.replace(/\.?0+$/, "")}e${exponent}`;
  }

  function grouped(text) {
    const [whole, rest] = text.split(".");
    const isLong = whole.replace("-", "").length >= SHORTEST_GROUPED;
    const shown = isLong ? whole.replace(/(?<=\d)(?=(\d{3})+$)/g, GROUP) : whole;
    return rest === undefined ? shown : `${shown}.${rest}`;
  }

  // The decimals of the ticks of an axis, by the step between them.
  function decimalsOf(step) {
    const [digits, exponent] = step.toExponential().split("e");
    return Math.min(MOST_DECIMALS, Math.max(0, (digits.split(".")[1] ?? "").length - Number(exponent)));
  }

  // An ISO 8601 stamp in the zone, to the second, or with all its digits, of which a Date has only three.
  function stamp(iso, zone, { isExact = false } = {}) {
    const part = inZone(new Date(iso), zone);
    const date = `${part.year.padStart(4, "0")}-${part.month}-${part.day}`;
    const fraction = isExact ? iso.match(/\.\d+/) ?? "" : "";
    const offset = zone === "UTC" ? "" : ` ${part.timeZoneName.replace("GMT", "") || "+00:00"}`;
    return `${date} ${part.hour}:${part.minute}:${part.second}${fraction}${offset}`;
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

  return { number, derived, decimalsOf, stamp };
})();
