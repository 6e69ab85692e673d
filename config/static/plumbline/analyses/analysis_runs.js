"use strict";
// Requests an analysis without leaving the page, and shows progress and result of open ones as they come. All parts
// are fetched from the analysis' own page (templates/analytics/analysis.html).
{
  // A small analysis is done within some tens of milliseconds.
  const FIRST_WAIT_MS = 20;
  const LONGEST_WAIT_MS = 3000;
  const NO_ANSWER = "The server does not answer.";
  const form = document.querySelector("[data-ask]");

  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  // Until the analysis is over, or the run is no longer on the page.
  async function follow(run) {
    let milliseconds = FIRST_WAIT_MS;
    while (run.isConnected && "open" in run.dataset) {
      await pause(milliseconds);
      milliseconds = Math.min(milliseconds * 1.5, LONGEST_WAIT_MS);
      try {
        show(run, (await pageParts.poll(run.dataset.page, "[data-run]")).page);
      } catch (error) {
        const isFinal = error instanceof pageParts.Refused;
        sayError(run, isFinal ? error.message : `${NO_ANSWER} Trying again.`);
        if (isFinal) return;
      }
    }
  }

  function show(run, page) {
    pageParts.replace(run, page);
    if ("open" in page.querySelector("[data-run]").dataset) return;
    delete run.dataset.open;
    document.dispatchEvent(new Event("analysis-over"));
  }

  function sayError(run, text) {
    const error = run.querySelector('[data-part="error"]');
    error.textContent = text;
    error.hidden = false;
  }

  async function ask(event) {
    event.preventDefault();
    const { submitter } = event;
    const fields = new URLSearchParams(new FormData(form));
    if (submitter?.name) fields.set(submitter.name, submitter.value);
    try {
      const answer = await pageParts.load(form.action, "[data-run], [data-ask]", { method: "POST", body: fields });
      const fresh = answer.page.querySelector("[data-ask]");
      // The form comes back with what is wrong in it; else it is the page of the analysis.
      if (fresh) return showForm(fresh);
      forgetErrors();
      const run = newRun(answer);
      show(run, answer.page);
      await follow(run);
    } catch (error) {
      const message = form.querySelector("[data-ask-error]");
      message.textContent = error instanceof pageParts.Refused ? error.message : `${NO_ANSWER} Try again.`;
      message.hidden = false;
    }
  }

  function showForm(fresh) {
    form.replaceChildren(...fresh.childNodes);
    form.querySelector("[aria-invalid]")?.focus();
  }

  function forgetErrors() {
    for (const error of form.querySelectorAll(".error")) error.hidden = true;
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  // Above the others; an analysis that is requested again moves there.
  function newRun({ page, url }) {
    const run = document.querySelector("[data-run-template]").content.firstElementChild.cloneNode(true);
    const { run: id } = page.querySelector("[data-run]").dataset;
    Object.assign(run.dataset, { run: id, analysis: id, page: url, open: "" });
    run.querySelector("[data-permalink]").href = url;
    const runs = document.querySelector("[data-runs]");
    runs.querySelector(`[data-run="${id}"]`)?.remove();
    runs.prepend(run);
    return run;
  }

  form?.addEventListener("submit", ask);
  for (const run of document.querySelectorAll("[data-run][data-open]")) follow(run);
}
