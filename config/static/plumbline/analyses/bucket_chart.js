"use strict";
// Draws the buckets of an analysis once it is over; analysis_chart in analytics/analyses/views.py feeds it.
{
  const middle = (start, i, ends) => (Date.parse(start) + Date.parse(ends[i])) / 2000;

  async function draw() {
    const box = document.querySelector("[data-bucket-chart]");
    if (!box) return;
    const response = await fetch(box.dataset.bucketChart, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) return;
    const { starts, ends, channels } = await response.json();
    if (!channels.length) return;
    new timeChart.Chart(box, channels, box.dataset.zone).show({
      seconds: starts.map((start, i) => middle(start, i, ends)),
      stamps: starts,
      values: Object.fromEntries(channels.map((channel) => [channel.name, channel])),
      bounds: [Date.parse(starts[0]) / 1000, Date.parse(ends.at(-1)) / 1000],
      isBand: true,
    });
  }

  draw();
  document.addEventListener("analysis-over", draw);
}
