"use strict";
// [data-copy] copies the text of the element with that id. Without a secure connection browsers give scripts no
// clipboard: then the text is selected, ready for Ctrl+C.
{
  const SHOWN_MS = 2000;

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      say(button, "Copied");
    } catch {
      getSelection().selectAllChildren(source);
      say(button, "Press Ctrl+C");
    }
  }

  function say(button, text) {
    button.textContent = text;
    setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}
