"use strict";
// Moves, adds and removes the rows of a new profile's channels, by button and by drag. The server takes the rows in
// the order of the page, so a row has no number to be kept.
{
  const rows = document.querySelector("[data-channel-rows]");
  const empty = document.querySelector("[data-empty-row]");
  const MOVES = {
    up: (row) => row.previousElementSibling?.before(row),
    down: (row) => row.nextElementSibling?.after(row),
    away: (row) => (rows.children.length > 1 ? row.remove() : row.replaceWith(prepared(newRow()))),
  };
  let dragged = null;

  const newRow = () => empty.content.firstElementChild.cloneNode(true);

  function prepared(row) {
    const grip = row.querySelector("[data-grip]");
    grip.hidden = false;
    // Only by the grip: in the fields a drag selects text.
    grip.addEventListener("pointerdown", () => (row.draggable = true));
    grip.addEventListener("pointerup", () => (row.draggable = false));
    return row;
  }

  rows.addEventListener("click", (event) => {
    const button = event.target.closest("[data-move]");
    if (!button) return;
    event.preventDefault();
    const row = button.closest("li");
    const next = row.nextElementSibling ?? row.previousElementSibling;
    MOVES[button.dataset.move](row);
    // A moved button loses the focus.
    if (row.isConnected) button.focus();
    else (next ?? rows.firstElementChild).querySelector("input").focus();
  });

  document.querySelector("[data-add-row]").addEventListener("click", (event) => {
    event.preventDefault();
    rows.append(prepared(newRow()));
    rows.lastElementChild.querySelector("input").focus();
  });

  rows.addEventListener("dragstart", (event) => {
    dragged = event.target.closest?.("li");
    dragged?.classList.add("dragged");
    event.dataTransfer.effectAllowed = "move";
  });
  rows.addEventListener("dragover", (event) => {
    const over = event.target.closest?.("li");
    if (!dragged || !over) return;
    event.preventDefault();
    if (over === dragged) return;
    const { top, height } = over.getBoundingClientRect();
    if (event.clientY < top + height / 2) over.before(dragged);
    else over.after(dragged);
  });
  rows.addEventListener("drop", (event) => event.preventDefault());
  rows.addEventListener("dragend", () => {
    dragged?.classList.remove("dragged");
    if (dragged) dragged.draggable = false;
    dragged = null;
  });

  for (const row of rows.children) prepared(row);
}
