"use strict";
// Buttons with data-copy copy that text; with data-copy-is-link it is an address relative to the page. They are hidden
// without scripts, and where the browser keeps its clipboard shut (over plain HTTP).
{
  const TOLD_MS = 2000;

  function offer() {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  }

  async function copy(button) {
    const { copy: text, copyIsLink } = button.dataset;
    await navigator.clipboard.writeText(copyIsLink === undefined ? text : new URL(text, location.href).href);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), TOLD_MS);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("parts-replaced", offer);
  offer();
}
