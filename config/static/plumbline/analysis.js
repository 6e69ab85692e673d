"use strict";
// Asks for an analysis without leaving the page, waits for open ones and shows their results.
{
  const FIRST_WAIT_MS = 200;
  const LONGEST_WAIT_MS = 3000;
  const STATUS = {
    PENDING: ["queued", "Queued"],
    STARTED: ["running", "Running"],
    SUCCESS: ["finished", "Finished"],
    FAILURE: ["failed", "Failed"],
    REVOKED: ["cancelled", "Cancelled"],
  };
  const labels = JSON.parse(document.getElementById("labels").textContent);
  const form = document.querySelector("[data-ask]");

  const copy = (name) => document.querySelector(`[data-template="${name}"]`).content.firstElementChild.cloneNode(true);
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  class Refused extends Error {}

  async function json(url, options = {}) {
    const response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
    if (response.ok) return response.json();
    if (response.status >= 500) throw new Error(`The server answers ${response.status}.`);
    throw new Refused(await problem(response));
  }

  async function problem(response) {
    if (response.status === 401 || response.status === 403) return "You are logged out, or this page is too old. Reload it.";
    const { detail, errors } = await response.json();
    return errors ? errors.map(({ field, message }) => `${field}: ${message}`).join(" ") : detail;
  }

  async function wait(run, url) {
    let milliseconds = FIRST_WAIT_MS;
    while (true) {
      try {
        const task = await json(url);
        show(run, task);
        if (task.status !== "PENDING" && task.status !== "STARTED") return;
      } catch (error) {
        fail(run, error instanceof Refused ? error.message : "The server does not answer. Trying again.");
        if (error instanceof Refused) return;
      }
      await pause(milliseconds);
      milliseconds = Math.min(milliseconds * 1.5, LONGEST_WAIT_MS);
    }
  }

  function show(run, task) {
    const [name, text] = STATUS[task.status];
    const status = run.querySelector("[data-status]");
    status.className = `badge ${name}`;
    if (status.textContent !== text) status.textContent = text;
    const progress = run.querySelector("[data-progress]");
    progress.value = task.progress;
    progress.hidden = name !== "queued" && name !== "running";
    fail(run, task.error ?? "");
    if (task.result) showResult(run, task.result);
  }

  function fail(run, text) {
    const error = run.querySelector("[data-error]");
    error.textContent = text;
    error.hidden = !text;
  }

  function showResult(run, result) {
    const { zone } = run.dataset;
    const bounds = [result.start, result.end].map((bound) => (bound ? figures.stamp(bound, zone) : "no reading"));
    run.querySelector("[data-period]").replaceChildren(bounds[0], " → ", bounds[1]);
    const statistics = copy("statistics");
    statistics.querySelector("table").append(...parts(result).map(part));
    run.querySelector("[data-result]").replaceChildren(statistics);
  }

  // As `parts` in analytics/views.py: the aggregate first, then each device.
  function parts(result) {
    const units = Object.assign({}, ...Object.values(labels).map((label) => label.units));
    if (!result.devices) {
      const channels = Object.entries(result).filter(([, value]) => value !== null && typeof value === "object");
      return [{ title: "", channels, units }];
    }
    const each = Object.entries(result.devices).map(([id, channels]) => {
      const label = labels[id] ?? { name: id, units: {} };
      return { title: label.name, channels: Object.entries(channels), units: label.units };
    });
    return [{ title: "All devices together", channels: Object.entries(result.aggregate), units }, ...each];
  }

  function part({ title, channels, units }) {
    const body = copy("part");
    const head = body.querySelector("[data-title]");
    if (title) head.firstElementChild.textContent = title;
    else head.remove();
    body.append(...channels.map(([name, summary]) => row(name, units[name] ?? "", summary)));
    return body;
  }

  function row(channel, unit, summary) {
    const line = copy("row");
    for (const cell of line.querySelectorAll("[data-stat]")) {
      const { stat } = cell.dataset;
      if (stat === "channel" || stat === "unit") cell.textContent = { channel, unit }[stat];
      else cell.replaceChildren(figures.number(summary[stat]));
    }
    return line;
  }

  function asked(button) {
    if (button?.name !== "last") {
      const entries = ["start", "end"].map((name) => [name, form.elements[name].value]);
      // As typed: the server reads it in the device's time zone.
      return Object.fromEntries(entries.filter(([, value]) => value));
    }
    const seconds = Number(button.value);
    return seconds ? { start: `${new Date(Date.now() - seconds * 1000).toISOString().slice(0, 19)}Z` } : {};
  }

  async function ask(event) {
    event.preventDefault();
    const error = form.querySelector("[data-ask-error]");
    error.hidden = true;
    try {
      const headers = { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
      const body = JSON.stringify(asked(event.submitter));
      const task = await json(form.dataset.ask, { method: "POST", headers, body });
      const run = newRun(task.task_id);
      show(run, task);
      await wait(run, run.dataset.task);
    } catch (problem) {
      error.textContent = problem instanceof Refused ? problem.message : "The server does not answer. Try again.";
      error.hidden = false;
    }
  }

  // On top of the others; the same task asked for again moves there.
  function newRun(id) {
    const run = copy("run");
    run.id = `run-${id}`;
    run.dataset.zone = form.dataset.zone;
    run.dataset.task = form.dataset.task.replace(NO_ID, id);
    run.querySelector("[data-permalink]").href = form.dataset.page.replace(NO_ID, id);
    document.getElementById(run.id)?.remove();
    document.querySelector("[data-runs]").prepend(run);
    return run;
  }

  const NO_ID = "00000000-0000-0000-0000-000000000000";

  form?.addEventListener("submit", ask);
  for (const run of document.querySelectorAll("[data-run][data-task]")) wait(run, run.dataset.task);
}
