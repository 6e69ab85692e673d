"use strict";
// Draws the buckets of an analysis, once analysis.js has its result.
{
  const box = document.querySelector("[data-bucket-chart]");
  const { zone } = box.closest("[data-buckets]").dataset;
  const labels = JSON.parse(document.getElementById("labels").textContent);
  const units = Object.assign({}, ...Object.values(labels).map((label) => label.units));
  const middle = ({ start, end }) => (Date.parse(start) + Date.parse(end)) / 2000;

  document.addEventListener("result", ({ detail: { buckets = [] } }) => {
    const names = Object.keys(buckets[0] ?? {}).filter((name) => buckets[0][name]?.median !== undefined);
    if (!names.length) return;
    const values = Object.fromEntries(
      names.map((name) => {
        const line = (statistic) => buckets.map((bucket) => bucket[name][statistic]);
        return [name, { min: line("min"), mean: line("avg"), max: line("max") }];
      }),
    );
    const channels = names.map((name) => ({ name, unit: units[name] ?? "" }));
    new plots.Chart(box, channels, zone).show({
      seconds: buckets.map(middle),
      stamps: buckets.map(({ start }) => start),
      values,
      bounds: [Date.parse(buckets[0].start) / 1000, Date.parse(buckets.at(-1).end) / 1000],
      isBand: true,
    });
  });
}
