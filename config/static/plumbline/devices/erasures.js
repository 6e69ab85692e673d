"use strict";
// Follows the devices that are being erased (bin_list in devices/settings_pages/views.py). Rests in a hidden tab.
{
  const FOLLOW_MS = 2000;
  const part = '[data-part="erasures"]';

  async function turn() {
    try {
      if (!document.hidden) pageParts.replace(document, (await pageParts.poll(location.href, part)).page);
    } catch (error) {
      if (error instanceof pageParts.Refused) return;
    }
    if (!document.querySelector(part).hidden) setTimeout(turn, FOLLOW_MS);
  }

  if (!document.querySelector(part).hidden) setTimeout(turn, FOLLOW_MS);
}
