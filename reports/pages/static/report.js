// Lets curves be read by pointer and keyboard. Without it they are complete, with their numbers in a table beside them.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

// Digits with a half rounded away from zero, as in reports/numerals.py.
function rounded(value, digits) {
  const whole = Math.round(Number((Math.abs(value) * 10 ** digits).toPrecision(12)));
  return (value < 0 ? "-" : "") + (whole / 10 ** digits).toFixed(digits);
}

function written(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const text = rounded(value, digits).replace(/\B(?=(\d{3})+(?!\d))/g, digits ? "" : ",");
  return text.replace("-", /[1-9]/.test(text) ? "−" : "");
}

function percent(value) {
  if (value === null) return "–";
  const whole = Number(rounded(100 * value, 0));
  return (whole > 0 ? "+" : "") + String(whole).replace("-", "−") + "\u00a0%";
}

function position(value, isFrames) {
  if (!isFrames) return value.toPrecision(3);
  for (const [suffix, size] of [["M", 1e6], ["k", 1e3]]) {
    if (value >= size) return Number((value / size).toPrecision(4)) + suffix;
  }
  return String(Math.round(value));
}

function nearest(xs, wanted) {
  let best = 0;
  for (let i = 1; i < xs.length; i += 1) {
    if (Math.abs(xs[i] - wanted) < Math.abs(xs[best] - wanted)) best = i;
  }
  return best;
}

// Beyond its last point by more than their distance a curve says nothing: the run had ended.
function lastTold(xs) {
  const last = xs.length - 1;
  return last > 0 ? 2 * xs[last] - xs[last - 1] : xs[0];
}

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function enhance(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  if (!data.series.length) return;
  // The slider runs over the points of the curve that goes the farthest.
  const main = data.series.reduce((a, b) => (b.x[b.x.length - 1] > a.x[a.x.length - 1] ? b : a), data.series.find((series) => series.style === "main") || data.series[0]);
  const isFrames = data.x === "frames";
  const write = data.unit === "%" ? percent : written;
  const plots = [...figure.querySelectorAll(".plot svg")].map((svg) => {
    const cursor = element("line", { class: "cursor", y1: svg.dataset.top, y2: svg.dataset.bottom, visibility: "hidden" }, svg);
    return { svg, cursor, left: Number(svg.dataset.left), right: Number(svg.dataset.right), max: Number(svg.dataset.max) };
  });

  const reader = document.createElement("div");
  reader.className = "reader";
  const label = document.createElement("label");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = "0";
  slider.max = String(main.x.length - 1);
  slider.value = slider.max;
  slider.id = figure.id + "-reader";
  label.htmlFor = slider.id;
  const values = document.createElement("ul");
  const rows = data.series.map((series) => {
    const row = document.createElement("li");
    const key = document.createElement("span");
    key.className = "key " + series.css;
    const text = document.createElement("span");
    row.append(key, text);
    values.append(row);
    return text;
  });
  reader.append(slider, label, values);
  figure.querySelector(".plot").after(reader);
  figure.querySelector(".keys")?.remove(); // the reader names every curve

  // The slider runs under the plot of the figure that is shown, its knob's middle under the cursor.
  const knob = 16;
  function align() {
    const plot = plots.find(({ svg }) => svg.getBoundingClientRect().width > 0);
    if (!plot) return;
    const scale = plot.svg.getBoundingClientRect().width / plot.svg.viewBox.baseVal.width;
    const first = plot.left + (main.x[0] / plot.max) * (plot.right - plot.left);
    slider.style.marginLeft = scale * first - knob / 2 + "px";
    slider.style.width = scale * (plot.right - first) + knob + "px";
  }
  new ResizeObserver(align).observe(figure);

  function show(index, withCursor) {
    const x = main.x[index];
    const parts = [];
    data.series.forEach((series, number) => {
      const at = nearest(series.x, x);
      const isThere = Math.abs(series.x[at] - x) <= main.x[main.x.length - 1] / 40 && x <= lastTold(series.x);
      let text = isThere ? write(series.y[at]) : "–";
      if (isThere && series.low && series.low[at] !== null && series.high[at] !== null) {
        text += " [" + write(series.low[at]) + " to " + write(series.high[at]) + "]";
      }
      rows[number].textContent = series.label + ": " + text;
      parts.push(series.label + " " + text);
    });
    const where = position(x, isFrames) + " " + data.x;
    slider.setAttribute("aria-valuetext", where + ": " + parts.join("; "));
    label.textContent = "At " + where + ". Read elsewhere with the slider, its arrow keys, or the pointer over the figure.";
    for (const plot of plots) {
      const at = plot.left + (x / plot.max) * (plot.right - plot.left);
      plot.cursor.setAttribute("x1", at);
      plot.cursor.setAttribute("x2", at);
      plot.cursor.setAttribute("visibility", withCursor ? "visible" : "hidden");
    }
  }

  show(main.x.length - 1, false);
  slider.addEventListener("input", () => show(Number(slider.value), true));
  slider.addEventListener("focus", () => show(Number(slider.value), true));
  for (const plot of plots) {
    plot.svg.addEventListener("pointermove", (event) => {
      const box = plot.svg.getBoundingClientRect();
      const inside = ((event.clientX - box.left) / box.width) * plot.svg.viewBox.baseVal.width;
      const x = ((inside - plot.left) / (plot.right - plot.left)) * plot.max;
      if (x < 0 || x > plot.max) return;
      slider.value = String(nearest(main.x, x));
      show(Number(slider.value), true);
    });
  }
}

for (const figure of document.querySelectorAll("figure[data-curves]")) enhance(figure);
