// Draws the predictions from the JSON in the page: forecasts of a series at a step of the horizon, a
// confusion matrix, predicted over true numbers, right answers by length. After report.js.

{
  const told = JSON.parse(document.getElementById("predictions-data").textContent);
  const place = document.getElementById("predictions");
  const form = document.getElementById("prediction-controls");
  const dashes = (i) => DASHES[i % DASHES.length];
  const chosen = (name) => Number(new FormData(form).get(name) ?? 0);

  // Truth and baseline first, so that forecasts lie on top of them.
  function forecastTraces() {
    const series = told.series[chosen("series")], step = chosen("step");
    const hovertemplate = "%{y:.5g}";
    return [
      { ...series.truth, mode: "lines", name: "truth", line: { color: color("--ink"), width: 3 }, hovertemplate },
      {
        ...series.baselines[step], mode: "lines", name: series.baseline, hovertemplate,
        line: { color: color("--soft"), width: 1.2, dash: "dot" },
      },
      ...told.groups.map((group, i) => ({
        ...series.predicted[i][step], mode: "lines", name: group.name, hovertemplate,
        line: { color: group.color, width: 1.8, dash: dashes(i) },
      })),
    ];
  }

  function numberTraces() {
    const target = told.targets[chosen("target")];
    const truths = target.truth.flat();
    const ends = [Math.min, Math.max].map((end) => truths.reduce((a, b) => end(a, b)));
    return [
      ...told.groups.map((group, i) => ({
        x: target.truth[i], y: target.predicted[i], mode: "markers", name: group.name,
        marker: { color: group.color, size: 5, opacity: 0.6 },
        hovertemplate: "true %{x:.5g}, predicted %{y:.5g}",
      })),
      { x: ends, y: ends, mode: "lines", name: "perfect", line: { color: color("--ink"), width: 1 }, hoverinfo: "skip" },
    ];
  }

  function answerTraces() {
    return told.groups.map((group, i) => ({
      ...told.answers[i], mode: "lines+markers", name: group.name,
      line: { color: group.color, width: 1.8, dash: dashes(i) }, hovertemplate: "%{y:.1f} %",
    }));
  }

  // A row is a true class, a column a predicted one; the colour is the share of the row.
  function classTraces() {
    const counts = told.counts[chosen("group")];
    const totals = counts.map((row) => row.reduce((a, b) => a + b, 0));
    const shares = counts.map((row, i) => row.map((count) => count / Math.max(1, totals[i])));
    const text = counts.map((row) => row.map((count) => (count && told.classes.length <= 30 ? String(count) : "")));
    const numbers = told.classes.map((_, i) => i);  // names may repeat one another's beginning, or be numbers
    return [{
      type: "heatmap", z: shares, zmin: 0, zmax: 1, x: numbers, y: numbers, text, texttemplate: "%{text}",
      customdata: counts.map((row, i) => row.map((count, j) => [told.classes[i], told.classes[j], count, totals[i]])),
      hovertemplate: "%{customdata[0]}, read as %{customdata[1]}: %{customdata[2]} of %{customdata[3]} (%{z:.1%})<extra></extra>",
      colorscale: [[0, color("--back")], [1, color("--mark")]], showscale: false, xgap: 1, ygap: 1,
    }];
  }

  function axes() {
    const axis = themed().axis;
    const named = (text) => ({ ...axis, title: { text, standoff: 12 } });
    if (told.kind === "forecast") {
      const ahead = told.steps[chosen("step")];
      const what = told.series[chosen("series")].what;
      return { xaxis: named(`last ${told.step} of the test part, ${ahead} ahead`), yaxis: named(what) };
    }
    if (told.kind === "numbers") {
      const { what } = told.targets[chosen("target")];
      return { xaxis: named(`true ${what}`), yaxis: named(`predicted ${what}`) };
    }
    if (told.kind === "answers") {
      return { xaxis: named("characters of the source"), yaxis: { ...named("answers exactly right, %"), range: [-3, 103] } };
    }
    const every = Math.ceil(told.classes.length / 30);
    const tickvals = told.classes.map((_, i) => i).filter((i) => i % every === 0);
    const classes = { tickvals, ticktext: tickvals.map((i) => told.classes[i]), constrain: "domain", showgrid: false };
    return {
      xaxis: { ...named("predicted"), ...classes },
      yaxis: { ...named("true"), ...classes, autorange: "reversed", scaleanchor: "x" },
    };
  }

  const TRACES = { forecast: forecastTraces, numbers: numberTraces, answers: answerTraces, classes: classTraces };

  function drawPredictions() {
    const over = { forecast: "x unified", answers: "x unified" };
    Plotly.react(place, TRACES[told.kind](), {
      ...themed().layout, ...axes(), hovermode: over[told.kind] ?? "closest",
      showlegend: told.kind !== "classes", legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      uirevision: ["series", "target", "group"].map(chosen).join(),
    }, {
      responsive: true, displaylogo: false,
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    });
  }

  form.addEventListener("input", drawPredictions);
  form.addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPredictions);
  matchMedia("print").addEventListener("change", drawPredictions);
  form.hidden = place.hidden = false;
  drawPredictions();
}
