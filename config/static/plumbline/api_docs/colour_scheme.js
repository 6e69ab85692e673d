"use strict";
// Swagger UI is dark on a page whose root has this class. The account's theme goes before that of the system.
{
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const follow = () => root.classList.toggle("dark-mode", isDark());
  dark.addEventListener("change", follow);
  follow();
}
