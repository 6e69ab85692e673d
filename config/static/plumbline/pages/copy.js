"use strict";
// [data-copy] copies the text of the element with that id. Without a secure connection browsers give scripts no
// clipboard: then the text is selected, ready for Ctrl+C.
{
  const SHOWN_MS = 2000;

  // Returns what the button says then.
  async function copy(source) {
    try {
      await navigator.clipboard.writeText(source.textContent);
      return "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      return "Press Ctrl+C";
    }
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    const label = [...button.childNodes];
    const source = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.textContent = await copy(source);
      setTimeout(() => button.replaceChildren(...label), SHOWN_MS);
    });
  }
}
