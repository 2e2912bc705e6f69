"use strict";
// Draws a study from the JSON in the page: parallel axes, and the curves in validation.
//
// The axes are lines of an ordinary figure: Plotly's own parallel coordinates compile code in the
// page, which the page's policy forbids.

const data = JSON.parse(document.getElementById("study-data").textContent);
const [axesFigure, curvesFigure] = ["axes", "curves"].map((id) => document.getElementById(id));

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// What both figures have in common, in the page's colours.
function layout(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", color: color("--ink"), size: 13 },
    hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--ink") },
    ...more,
  };
}

const OPTIONS = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]] };

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function drawAxes() {
  const last = data.axes.length - 1;
  const traces = data.lines.map((line) => {
    const score = line.score === null ? "failed" : `${data.by} ${line.score.toPrecision(5)}`;
    const failed = line.score === null;
    return {
      x: data.axes.map((_, i) => i), y: line.at, mode: "lines+markers",
      opacity: line.best ? 1 : 0.6,
      line: { color: line.color ?? color("--soft"), width: line.best ? 5 : 1.5, dash: failed ? "dot" : "solid" },
      marker: { size: line.best ? 9 : 5 },
      hovertemplate: [`combination ${line.number}`, ...line.values, score].map(escaped).join("<br>") + "<extra></extra>",
    };
  });
  const upright = { type: "line", y0: 0, y1: 1, line: { color: color("--soft"), width: 1 }, layer: "below" };
  const ticks = data.axes.flatMap(({ ticks }, i) => ticks.map(({ at, text }) => ({
    x: i, y: at, text: escaped(text), showarrow: false, xshift: i === last ? 8 : -8, font: { size: 11, color: color("--soft") },
    xanchor: i === last ? "left" : "right", bgcolor: color("--back"),
  })));
  Plotly.react(axesFigure, traces, layout({
    margin: { l: 10, r: 10, t: 40, b: 20 },
    xaxis: {
      side: "top", range: [-0.25, last + 0.25], fixedrange: true, showgrid: false, zeroline: false,
      tickvals: data.axes.map((_, i) => i), ticktext: data.axes.map(({ name }) => escaped(name)),
    },
    yaxis: { visible: false, range: [-0.05, 1.05], fixedrange: true },
    shapes: data.axes.map((_, i) => ({ ...upright, x0: i, x1: i })),
    annotations: ticks,
  }), OPTIONS);
}

function drawCurves() {
  const traces = data.curves.map((curve) => ({
    x: curve.epoch, y: curve.value, mode: curve.epoch.length > 1 ? "lines" : "markers",
    opacity: curve.best ? 1 : 0.35, line: { color: curve.color, width: curve.best ? 3.5 : 1.5 },
    marker: { color: curve.color },
    hovertemplate: `combination ${curve.number}<br>${escaped(curve.name)}<br>epoch %{x}: %{y:.6g}<extra></extra>`,
  }));
  const values = data.curves.flatMap(({ value }) => value);
  const [low, high] = [Math.min, Math.max].map((end) => values.reduce((a, b) => end(a, b)));
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line"), automargin: true };
  Plotly.react(curvesFigure, traces, layout({
    margin: { l: 10, r: 10, t: 10, b: 10 },
    xaxis: { ...axis, title: { text: "epoch" } },
    yaxis: {
      ...axis, title: { text: `validation ${data.by}`, standoff: 12 }, type: low > 0 && high > 10 * low ? "log" : "linear",
    },
  }), OPTIONS);
}

function draw() {
  drawAxes();
  drawCurves();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
axesFigure.hidden = curvesFigure.hidden = false;
draw();
