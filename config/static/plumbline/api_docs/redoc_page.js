"use strict";
// ReDoc in the portal's colours, which it takes as numbers and not from a style sheet.
{
  const styles = getComputedStyle(document.documentElement);
  const colour = (name) => styles.getPropertyValue(`--${name}`).trim();

  const theme = {
    colors: {
      primary: { main: colour("accent") },
      success: { main: colour("good") },
      warning: { main: colour("warn") },
      error: { main: colour("bad") },
      text: { primary: colour("ink"), secondary: colour("muted") },
      border: { dark: colour("line"), light: colour("line") },
      responses: {
        success: { color: colour("good"), backgroundColor: colour("good-soft"), tabTextColor: "#7ed3a2" },
        error: { color: colour("bad"), backgroundColor: colour("bad-soft"), tabTextColor: "#ff9d91" },
      },
    },
    schema: {
      nestedBackground: colour("surface"),
      linesColor: colour("muted"),
      typeNameColor: colour("muted"),
      typeTitleColor: colour("muted"),
      requireLabelColor: colour("bad"),
      arrow: { color: colour("muted") },
    },
    sidebar: { backgroundColor: colour("surface"), textColor: colour("ink"), activeTextColor: colour("accent") },
    rightPanel: { backgroundColor: "#171f26", textColor: "#e6eaec" },
    codeBlock: { backgroundColor: "#10161b" },
    typography: {
      fontFamily: styles.getPropertyValue("--sans"),
      headings: { fontFamily: styles.getPropertyValue("--sans"), fontWeight: "650" },
      code: { fontFamily: styles.getPropertyValue("--mono"), color: colour("bad"), backgroundColor: colour("bad-soft") },
    },
  };

  const page = document.querySelector("[data-redoc]");
  Redoc.init(page.dataset.redoc, { theme, nativeScrollbars: true }, page);
  // It takes its colours once: those of the other scheme need a new page.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());
}
