"use strict";
// Proposes the browser's time zone in a new form, if the server knows it.
{
  const field = document.querySelector("[data-browser-zone]");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (field && [...field.list.options].some(({ value }) => value === zone)) field.value = zone;
}
