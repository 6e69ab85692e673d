"use strict";
// Offers only the channels of the chosen device, and chooses it if there is one.
{
  const device = document.querySelector("[data-channels-of]");
  const channel = document.querySelector("[data-channel]");

  function follow(names, all) {
    const chosen = channel.value;
    const offered = all.filter(({ value }) => value === "" || names.includes(value));
    channel.replaceChildren(...offered);
    if (offered.length === 2) channel.value = offered[1].value;
    else channel.value = names.includes(chosen) ? chosen : "";
  }

  if (device && channel) {
    const channels = JSON.parse(device.dataset.channelsOf);
    const all = [...channel.options];
    const update = () => follow(channels[device.value] ?? [], all);
    device.addEventListener("change", update);
    // Browsers restore the choice when a person returns to the page.
    addEventListener("pageshow", update);
    update();
  }
}
