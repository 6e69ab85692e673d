"use strict";
// Fills in the period to exclude from what the chart shows.
{
  const form = document.querySelector("[data-exclude]");
  const button = form?.querySelector("[data-take-shown]");
  const feed = JSON.parse(document.getElementById("feed").textContent);
  const local = (seconds) => {
    const time = figures.stamp(new Date(seconds * 1000).toISOString(), feed.zone).textContent;
    return time.slice(0, 19).replace(" ", "T");
  };

  button?.addEventListener("click", () => {
    const detail = {};
    document.dispatchEvent(new CustomEvent("shown-period", { detail }));
    if (detail.min === undefined) return;
    // Whole seconds that hold what is shown.
    form.elements.start.value = local(Math.floor(detail.min));
    form.elements.end.value = local(Math.floor(detail.max) + 1);
  });
  if (button) button.hidden = false;
}
