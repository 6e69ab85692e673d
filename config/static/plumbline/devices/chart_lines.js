"use strict";
// Turns readings, and columns of GET /devices/ID/series/ (DeviceSeries in analytics/analyses/api.py), into the lines
// and gaps that charts/time_chart.js draws.
window.chartLines = (() => {
  const GAP = 5; // no line is drawn over a pause of more than this many usual intervals
  const COLUMNS_GAP = 2; // nor over more than this many columns without a reading

  const seconds = (stamp) => Date.parse(stamp) / 1000;

  // The median of `steps`, each [seconds, number of times].
  function usual(steps) {
    const known = steps.filter(([length, times]) => length > 0 && times > 0).sort(([a], [b]) => a - b);
    let left = known.reduce((sum, [, times]) => sum + times, 0) / 2;
    return known.find(([, times]) => (left -= times) < 0)?.[0] ?? 0;
  }

  // Inserts rows of nulls where the pause before a row exceeds `longest` seconds; the first row has no pause.
  // `gaps` are these pauses: {start, end} in seconds. The rows are at the `others` in them, else one in the middle:
  // there another series is drawn.
  function withGaps(times, stamps, lines, pauses, longest, others = []) {
    const shown = { seconds: [], stamps: [], lines: lines.map(() => []), gaps: [] };
    const within = (start, end) => others.filter((time) => time > start && time < end);
    const leaveEmpty = (moments) => {
      shown.seconds.push(...moments);
      shown.stamps.push(...moments.map(() => null));
      for (const line of shown.lines) line.push(...moments.map(() => null));
    };
    leaveEmpty(within(-Infinity, times[0] ?? Infinity));
    times.forEach((time, i) => {
      if (i > 0 && pauses[i - 1] > longest) {
        shown.gaps.push({ start: times[i - 1], end: time });
        const moments = within(times[i - 1], time);
        leaveEmpty(moments.length ? moments : [(time + times[i - 1]) / 2]);
      }
      shown.seconds.push(time);
      shown.stamps.push(stamps[i]);
      lines.forEach((line, place) => shown.lines[place].push(line[i]));
    });
    if (times.length) leaveEmpty(within(times.at(-1), Infinity));
    return shown;
  }

  function ofReadings(readings, channels) {
    const stamps = readings.map(({ timestamp }) => timestamp);
    const times = stamps.map(seconds);
    const lines = channels.map(({ name }) => readings.map((reading) => reading[name]));
    const pauses = times.slice(1).map((time, i) => time - times[i]);
    const shown = withGaps(times, stamps, lines, pauses, GAP * usual(pauses.map((pause) => [pause, 1])));
    const values = Object.fromEntries(channels.map(({ name }, i) => [name, { value: shown.lines[i] }]));
    return { ...shown, values, isBand: false };
  }

  const middlesOf = (series) => series.starts.map((start, i) => (seconds(start) + seconds(series.ends[i])) / 2);

  // `bounds`: the first and the last second of the period. `other`: {series, shift} of what is drawn beside, or null.
  function ofColumns(series, channels, bounds, other) {
    const names = channels.map(({ name }) => name);
    const lines = names.flatMap((name) => ["min", "mean", "max"].map((line) => series.channels[name][line]));
    const [starts, ends] = [series.starts.map(seconds), series.ends.map(seconds)];
    const pauses = starts.slice(1).map((start, i) => start - ends[i]);
    const inside = starts.map((start, i) => [(ends[i] - start) / (series.count[i] - 1), series.count[i] - 1]);
    const width = bounds ? (bounds[1] - bounds[0]) / series.points : 0;
    const longest = Math.max(COLUMNS_GAP * width, GAP * usual([...inside, ...pauses.map((pause) => [pause, 1])]));
    const others = other ? middlesOf(other.series).map((time) => time + other.shift) : [];
    const shown = withGaps(middlesOf(series), series.starts, lines, pauses, longest, others);
    const line = (i) => shown.lines[i];
    const values = Object.fromEntries(
      names.map((name, i) => [name, { min: line(3 * i), mean: line(3 * i + 1), max: line(3 * i + 2) }]),
    );
    return { ...shown, values, bounds, isBand: true };
  }

  // The means of another series at the moments of the columns shown, moved by `shift` seconds: the nearest column that
  // is no further than the columns are wide, else nothing.
  function beside(series, shown, channels, shift) {
    const times = middlesOf(series).map((time) => time + shift);
    const width = (shown.bounds[1] - shown.bounds[0]) / series.points;
    const nearest = shown.seconds.map((time) => {
      let [low, high] = [0, times.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (times[middle] < time) low = middle + 1;
        else high = middle;
      }
      const place = low > 0 && time - times[low - 1] < (times[low] ?? Infinity) - time ? low - 1 : low;
      return Math.abs((times[place] ?? Infinity) - time) <= COLUMNS_GAP * width ? place : null;
    });
    const of = (name) => nearest.map((place) => (place === null ? null : (series.channels[name]?.mean[place] ?? null)));
    return Object.fromEntries(channels.map(({ name }) => [name, of(name)]));
  }

  return { ofReadings, ofColumns, beside, seconds };
})();
