"use strict";
// Copies take the exact doubles: pages show numbers rounded, and a spreadsheet wants neither that nor their spaces.
{
  const TABLE_PARTS = new Set(["TABLE", "THEAD", "TBODY", "TR"]);

  function copied(range) {
    let content = range.cloneContents();
    // Rows and cells keep their places only within what surrounds them.
    let around = range.commonAncestorContainer;
    for (; around && TABLE_PARTS.has(around.nodeName); around = around.parentNode) {
      const shell = around.cloneNode(false);
      shell.append(content);
      content = shell;
    }
    const box = document.createElement("div");
    box.append(content);
    return box;
  }

  // The number that the selection lies in, if it is selected whole.
  function wholeNumber(selection) {
    const node = selection.getRangeAt(0).commonAncestorContainer;
    const number = (node.nodeType === Node.ELEMENT_NODE ? node : node.parentNode).closest("data.number");
    return number?.textContent === selection.toString() ? number : null;
  }

  // As the browser itself would write it: only what is laid out has lines and tabs between cells.
  function plainText(box) {
    box.className = "copied";
    document.body.append(box);
    const text = box.innerText;
    box.remove();
    return text;
  }

  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return;
    const alone = wholeNumber(selection);
    const box = copied(selection.getRangeAt(0));
    const numbers = box.querySelectorAll("data.number");
    if (!alone && !numbers.length) return;
    for (const number of numbers) number.textContent = number.value;
    event.clipboardData.setData("text/plain", alone ? alone.value : plainText(box));
    if (!alone) event.clipboardData.setData("text/html", box.innerHTML);
    event.preventDefault();
  });
}
