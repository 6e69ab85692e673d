"use strict";
// ReDoc shows its maker's logo from another host and has no option against it; our pages ask no other host.
{
  const image = HTMLImageElement.prototype;
  const { setAttribute } = image;
  const { get, set } = Object.getOwnPropertyDescriptor(image, "src");
  const isInside = (url) => url.startsWith("data:") || new URL(url, location).origin === location.origin;

  // ReDoc's library sets both.
  image.setAttribute = function (name, value) {
    if (name !== "src" || isInside(String(value))) setAttribute.call(this, name, value);
  };
  Object.defineProperty(image, "src", { get, set(url) { if (isInside(String(url))) set.call(this, url); } });
}
