"use strict";
// [data-copy] copies the text of the element with that id, [data-copy-link] an address. Without a secure connection
// browsers give scripts no clipboard: then the text is selected, ready for Ctrl+C, and the address goes to the bar.
{
  const SHOWN_MS = 2000;
  const BUTTONS = "[data-copy], [data-copy-link]";

  // Return what the button says then.
  async function copy({ dataset }) {
    const source = document.getElementById(dataset.copy);
    const text = source ? source.textContent : new URL(dataset.copyLink, location.href).href;
    try {
      await navigator.clipboard.writeText(text);
      return "Copied";
    } catch {
      if (source) getSelection().selectAllChildren(source);
      else history.replaceState(history.state, "", dataset.copyLink);
      return source ? "Press Ctrl+C" : "In the address bar";
    }
  }

  function offer() {
    for (const button of document.querySelectorAll(BUTTONS)) button.hidden = false;
  }

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.(BUTTONS);
    if (!button) return;
    const label = [...button.childNodes];
    button.textContent = await copy(button);
    setTimeout(() => button.replaceChildren(...label), SHOWN_MS);
  });
  document.addEventListener("parts-replaced", offer);
  offer();
}
