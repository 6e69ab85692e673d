"use strict";
// Offers the people that match what is typed in the field of the owner; the server sends ten at most.
{
  const WAIT_MS = 200;
  const field = document.querySelector("[data-owner-search]");
  const note = document.querySelector("[data-owner-note]");
  let timer = 0;
  let asked = 0; // the answer to an older request is not shown

  async function search() {
    const number = ++asked;
    const query = new URLSearchParams({ search: field.value });
    const response = await fetch(`${field.dataset.ownerSearch}?${query}`);
    if (!response.ok || number !== asked) return;
    const { owners, more } = await response.json();
    field.list.replaceChildren(...owners.map(({ login, name }) => new Option(name, login)));
    note.textContent = owners.length ? (more ? "Type more to see fewer." : "") : "Nobody matches.";
  }

  // A field with a choice would otherwise offer only what contains it.
  field?.addEventListener("focus", () => field.select());
  field?.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => search().catch(() => (note.textContent = "The server does not answer.")), WAIT_MS);
  });
}
