"use strict";
// Asks for an analysis without leaving the page, waits for open ones, shows their results and when these are stale.
{
  // A small analysis is done within some tens of milliseconds.
  const FIRST_WAIT_MS = 20;
  const LONGEST_WAIT_MS = 3000;
  const STALE_WAIT_MS = 5000;
  const BUCKETS_A_PAGE = 100;
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

  // Until it is over; then only whether its result still holds.
  async function follow(run) {
    const { task: url } = run.dataset;
    let shown = run.querySelector("[data-result]").childElementCount > 0;
    const showOnce = (task) => {
      show(run, task, shown);
      shown ||= Boolean(task.result);
    };
    if (!(await wait(run, url, showOnce))) return;
    while (run.isConnected) {
      await pause(STALE_WAIT_MS);
      if (document.hidden) continue;
      try {
        showStale(run, (await json(url)).stale);
      } catch (error) {
        if (error instanceof Refused) return;
      }
    }
  }

  // Whether it has a result.
  async function wait(run, url, show) {
    let milliseconds = FIRST_WAIT_MS;
    while (true) {
      try {
        const task = await json(url);
        show(task);
        if (task.status !== "PENDING" && task.status !== "STARTED") return task.result !== null;
      } catch (error) {
        fail(run, error instanceof Refused ? error.message : "The server does not answer. Trying again.");
        if (error instanceof Refused) return false;
      }
      await pause(milliseconds);
      milliseconds = Math.min(milliseconds * 1.5, LONGEST_WAIT_MS);
    }
  }

  function show(run, task, isThere = false) {
    const [name, text] = STATUS[task.status];
    const status = run.querySelector("[data-status]");
    status.className = `badge ${name}`;
    if (status.textContent !== text) status.textContent = text;
    const progress = run.querySelector("[data-progress]");
    progress.value = task.progress;
    progress.hidden = name !== "queued" && name !== "running";
    const cancel = run.querySelector("[data-cancel]");
    if (cancel) cancel.hidden = progress.hidden;
    fail(run, task.error ?? "");
    showStale(run, task.stale);
    if (!task.result) return;
    if (!isThere) showResult(run, task.result);
    document.dispatchEvent(new CustomEvent("result", { detail: task.result }));
  }

  function showStale(run, isStale) {
    run.querySelector("[data-stale]").hidden = !isStale;
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
    run.querySelector("[data-result]").replaceChildren(facts(result, zone), table(parts(result)));
    const buckets = document.querySelector("[data-buckets]");
    if (!buckets || !result.buckets) return;
    buckets.querySelector("[data-bucket-actions]").hidden = false;
    const rows = result.buckets.slice(0, BUCKETS_A_PAGE).map((bucket) => bucketPart(bucket, buckets.dataset.zone));
    buckets.querySelector("[data-more-buckets]").hidden = result.buckets.length <= BUCKETS_A_PAGE;
    buckets.querySelector("[data-bucket-table]").replaceChildren(table(rows));
  }

  function facts(result, zone) {
    const list = copy("facts");
    const put = (name, ...content) => list.querySelector(name).replaceChildren(...content);
    put("[data-first]", result.first ? figures.stamp(result.first, zone) : "—");
    put("[data-final]", result.last ? figures.stamp(result.last, zone) : "—");
    put("[data-note]", figures.note(result) || "—");
    for (const [name, word] of [["rows_read", "row"], ["segments_used", "segment"]]) {
      put(`[data-how=${name}]`, figures.number(result[name]));
      put(`[data-word=${name}]`, result[name] === 1 ? word : `${word}s`);
    }
    return list;
  }

  function table(parts) {
    const statistics = copy("statistics");
    const [, summary] = parts.flatMap(({ channels }) => channels)[0] ?? [null, {}];
    for (const text of Object.keys(summary.percentiles ?? {}).sort((a, b) => a - b)) {
      const head = document.createElement("th");
      head.scope = "col";
      head.className = "figure";
      head.textContent = `${text} %`;
      statistics.querySelector("thead tr").append(head);
    }
    statistics.querySelector("table").append(...parts.map(part));
    const columns = statistics.querySelector("thead tr").cells.length;
    for (const title of statistics.querySelectorAll("[data-title] th")) title.colSpan = columns;
    return statistics;
  }

  const channelsOf = (result) => Object.entries(result).filter(([, value]) => value?.median !== undefined);
  const allUnits = () => Object.assign({}, ...Object.values(labels).map((label) => label.units));

  function bucketPart(bucket, zone) {
    const note = `${figures.exact(Math.floor(bucket.seconds / 360 + 0.5) / 10)} h`;
    return { title: figures.stamp(bucket.start, zone), note, channels: channelsOf(bucket), units: allUnits() };
  }

  // As `parts` in analytics/views.py: the aggregate first, then each device.
  function parts(result) {
    const units = allUnits();
    if (!result.devices) return [{ title: "", channels: channelsOf(result), units }];
    const each = Object.entries(result.devices).map(([id, channels]) => {
      const label = labels[id] ?? { name: id, units: {} };
      const note = figures.note(result.details?.[id] ?? {});
      return { title: label.name, note, channels: Object.entries(channels), units: label.units };
    });
    return [{ title: "All devices together", channels: Object.entries(result.aggregate), units }, ...each];
  }

  function part({ title, note = "", channels, units }) {
    const body = copy("part");
    const head = body.querySelector("[data-title]");
    const [name, beside] = head.querySelectorAll("span");
    name.append(title);
    beside.textContent = note;
    if (!title) head.remove();
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
    for (const text of Object.keys(summary.percentiles ?? {}).sort((a, b) => a - b)) {
      const cell = line.insertCell();
      cell.dataset.label = `${text} %`;
      cell.dataset.percentile = text;
      cell.append(figures.number(summary.percentiles[text]));
    }
    return line;
  }

  function asked(button) {
    const isQuick = button?.name === "last";
    const names = isQuick ? ["percentiles", "bucket"] : ["start", "end", "percentiles", "bucket"];
    // As typed: the server reads bounds in the device's time zone.
    const entries = names.map((name) => [name, form.elements[name].value]).filter(([, value]) => value);
    const seconds = isQuick ? Number(button.value) : 0;
    if (seconds) entries.push(["start", `${new Date(Date.now() - seconds * 1000).toISOString().slice(0, 19)}Z`]);
    return Object.fromEntries(entries);
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
      await follow(run);
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
  for (const run of document.querySelectorAll("[data-run][data-task]")) follow(run);
}
