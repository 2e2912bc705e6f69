"use strict";
// Draws the curves from the JSON in the page, and makes tables sortable. Works without a network.

const data = JSON.parse(document.getElementById("curves-data").textContent);
const figure = document.getElementById("curves");
const controls = document.getElementById("controls");
const shown = data.groups.map(() => true);
const DASHES = ["solid", "dash", "dashdot", "longdash"];  // equal curves lie on top of each other

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function translucent(hex) {
  const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},0.2)`;
}

// Exponential moving average, corrected for its start: the first values count as if nothing was before.
function smoothed(values, weight) {
  let sum = 0, total = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

function choices() {
  const form = new FormData(controls);
  return {
    quantity: form.get("quantity"),
    logSteps: form.has("log-steps"),
    logLoss: form.has("log-loss"),
    smoothing: Number(form.get("smoothing")) / 100,
  };
}

// Whether a long curve jumps so much from step to step that nobody sees where it goes.
function rough(values) {
  if (values.length < 200) return false;
  const steps = values.slice(1).map((value, i) => Math.abs(value - values[i]));
  const range = Math.max(...values) - Math.min(...values);
  return range > 0 && steps.reduce((sum, step) => sum + step, 0) / steps.length > 0.02 * range;
}

function spread(curve, smooth) {
  if (!curve.low) return { hovertemplate: "%{y:.6g}" };
  const [low, high] = [smooth(curve.low), smooth(curve.high)];
  return {
    customdata: low.map((value, i) => [value, high[i]]),
    hovertemplate: "%{y:.6g} (%{customdata[0]:.4g} to %{customdata[1]:.4g})",
  };
}

function curveTraces(group, i, chosen) {
  const curve = group.train[chosen.quantity], valid = group.valid[chosen.quantity];
  const common = { visible: shown[i], legendgroup: group.name };
  const smooth = (values) => smoothed(values, chosen.smoothing);
  const width = 1.5 + 2 * (data.groups.length - 1 - i) / Math.max(1, data.groups.length - 1);
  const traces = [];
  if (curve.low) {
    const edge = { ...common, x: curve.step, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    traces.push({ ...edge, y: smooth(curve.low) });
    traces.push({ ...edge, y: smooth(curve.high), fill: "tonexty", fillcolor: translucent(group.color) });
  }
  if (chosen.smoothing > 0 && !curve.low) {
    traces.push({
      ...common, x: curve.step, y: curve.mean, mode: "lines", hoverinfo: "skip",
      line: { color: translucent(group.color), width: 1 },
    });
  }
  traces.push({
    ...common, x: curve.step, y: smooth(curve.mean), mode: "lines", name: group.name,
    line: { color: group.color, width, dash: DASHES[i % DASHES.length] }, ...spread(curve, smooth),
  });
  if (valid.step.length) {
    traces.push({
      ...common, x: valid.step, y: valid.mean, mode: "lines+markers", name: `${group.name}, validation`,
      line: { color: group.color, width: 1, dash: "dot" }, marker: { size: 6 }, hovertemplate: "%{y:.6g}",
    });
  }
  return traces;
}

function differenceTrace(group, i) {
  return {
    x: group.difference.step, y: group.difference.value, yaxis: "y2", mode: "markers",
    visible: shown[i] && shown[0], name: `difference, ${group.name}`,
    marker: { color: group.color, size: 3 }, hovertemplate: "%{y:.1e}",
  };
}

function baselineTrace(baseline, steps) {
  return {
    x: [steps[0], steps[steps.length - 1]], y: [baseline.loss, baseline.loss], mode: "lines",
    name: `baseline: ${baseline.name}`, line: { color: color("--soft"), width: 1.5, dash: "dash" },
    hovertemplate: "%{y:.6g}",
  };
}

// Ticks of a logarithmic axis: at 1, 2 and 5 of few decades, else at every first, second, … decade.
function ticks(values) {
  const positive = values.filter((value) => value > 0);
  if (!positive.length) return {};
  const [low, high] = [Math.min, Math.max].map((end) => Math.log10(positive.reduce((a, b) => end(a, b))));
  return { exponentformat: "power", dtick: high - low < 2 ? "D2" : Math.ceil((high - low) / 5) };
}

// What all figures have in common, in the page's colours.
function themed() {
  const line = color("--line"), ink = color("--ink");
  return {
    axis: { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true },
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 10, r: 10, t: 10, b: 10 },
      font: { family: "system-ui, sans-serif", color: ink, size: 13 },
      hoverlabel: { bgcolor: color("--panel"), bordercolor: line, font: { color: ink } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: ink },
    },
  };
}

function draw() {
  const chosen = choices();
  const quantity = data.quantities[chosen.quantity === "loss" ? 0 : 1];
  const traces = data.groups.flatMap((group, i) => curveTraces(group, i, chosen));
  if (chosen.quantity === "loss") {
    const steps = data.groups[0].train.loss.step;
    traces.push(...data.baselines.map((baseline) => baselineTrace(baseline, steps)));
  }
  data.groups.slice(1).forEach((group, i) => traces.push(differenceTrace(group, i + 1)));
  const { axis, layout } = themed();
  const differences = data.groups.slice(1).flatMap(({ difference }) => difference.value.filter((value) => value !== null));
  const hidden = shown[0] ? "" : `switch ${data.groups[0].name} on to see the differences to it`;
  const note = differences.length ? hidden : "no difference at any step";
  const drawn = data.groups.flatMap((group, i) => (shown[i] ? group.train[chosen.quantity].mean : []));
  const scale = (logarithmic) => (logarithmic ? "log" : "linear");
  Plotly.react(figure, traces, {
    grid: { rows: 2, columns: 1, subplots: [["xy"], ["xy2"]] },
    xaxis: { ...axis, title: { text: "optimizer step" }, unifiedhovertitle: { text: "step %{x}" }, type: scale(chosen.logSteps), anchor: "y2" },
    yaxis: {
      ...axis, title: { text: `${quantity.name}, ${quantity.unit}`, standoff: 12 }, domain: [0.4, 1],
      type: scale(chosen.logLoss), rangemode: "tozero", hoverformat: ".6g",
      ...(chosen.logLoss ? ticks(drawn) : {}),
    },
    yaxis2: {
      ...axis, title: { text: "relative difference", standoff: 12 }, domain: [0, 0.32], type: "log",
      ...ticks(differences),
    },
    annotations: note && [{ text: note, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.16 }],
    hovermode: "x unified", hoversubplots: "axis", showlegend: false,
    uirevision: [chosen.quantity, chosen.logSteps, chosen.logLoss].join(),
    ...layout,
  }, {
    responsive: true, displaylogo: false,
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  });
}

function showSmoothing() {
  const weight = controls.elements.smoothing.value / 100;
  controls.elements.smoothing.nextElementSibling.textContent = weight ? weight.toFixed(2) : "off";
}

controls.addEventListener("input", (event) => {
  if (event.target.name === "group") shown[Number(event.target.value)] = event.target.checked;
  showSmoothing();
  draw();
});
controls.addEventListener("submit", (event) => event.preventDefault());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
controls.hidden = figure.hidden = false;
if (data.groups.some(({ train }) => rough(train.loss.mean))) controls.elements.smoothing.value = 90;
showSmoothing();
draw();

// Tables ------------------------------------------------------------------------------------------

function key(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

// Numbers before words, which stand where a number is missing.
function compare(a, b) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const order = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", order);
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(key(a, column), key(b, column)) * (order === "ascending" ? 1 : -1));
      table.tBodies[0].append(...rows);
    });
  });
}
