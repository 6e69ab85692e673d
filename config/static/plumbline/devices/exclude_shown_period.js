"use strict";
// Fills the period that the chart shows into the form of an exclusion.
{
  const form = document.querySelector("[data-exclude]");
  const button = form?.querySelector("[data-take-shown]");
  const { zone } = JSON.parse(document.getElementById("chart").textContent);
  const local = (seconds) => chartText.stamp(new Date(seconds * 1000).toISOString(), zone).slice(0, 19).replace(" ", "T");

  button?.addEventListener("click", () => {
    const detail = {};
    document.dispatchEvent(new CustomEvent("shown-period", { detail }));
    if (detail.min === undefined) return;
    // Whole seconds around what is shown.
    form.elements.start.value = local(Math.floor(detail.min));
    form.elements.end.value = local(Math.floor(detail.max) + 1);
  });
  if (button) button.hidden = false;
}
