// Adds to the charts of the page: zoom, values under the pointer or the keyboard's cursor, other x axes, hidden lines.
// All text of the page that comes from outside is in the document already; this adds text with textContent only.
'use strict';
(() => {
const data = JSON.parse(document.getElementById('data').textContent), runs = data.runs;
const names = [...document.querySelectorAll('.runs [data-run]')].map(e => e.textContent);
const margin = {left: 60, right: 14, top: 28, bottom: 42};
const longest = Math.max(0, ...runs.map(r => r.columns.WALL ? last(r.columns.WALL) : 0));
const time = longest >= 7200 ? ['hours', 3600] : longest >= 120 ? ['minutes', 60] : ['seconds', 1];
const axes = {STEP: ['step', 1], TOKENS: ['tokens', 1], WALL: ['wall time (' + time[0] + ')', time[1]], USD: ['US dollars', 1]};
const state = {axis: 'STEP', view: null, log: false, hidden: new Set()};

function last(list) {
  for (let i = list.length - 1; i >= 0; i--) if (list[i] !== null) return list[i];
  return 0;
}

function element(name, attributes, parent, text) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}

function html(name, className, parent, text) {
  const e = document.createElement(name);
  e.className = className;
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

// ---- numbers ----

function words(v) {
  const size = Math.abs(v);
  if (size >= 1000 && size < 1e15) return Math.round(v).toLocaleString('en-US');
  if (size && (size < 1e-4 || size >= 1e15)) return v.toExponential(3);
  return String(Number(v.toPrecision(5)));
}

// 1, 2 or 5 times a power of ten, so that the range is about `count` of it
function niceStep(range, count) {
  const raw = range / count, power = 10 ** Math.floor(Math.log10(raw)), lead = raw / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

function tickText(v, step) {
  const [unit, scale] = step >= 1e9 ? ['G', 1e9] : step >= 1e6 ? ['M', 1e6] : step >= 1e3 ? ['k', 1e3] : ['', 1];
  const digits = Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9));
  if (Math.abs(v) < step / 2) return '0';
  return digits > 6 ? Number((v / scale).toPrecision(3)) + unit : (v / scale).toFixed(digits) + unit;
}

function ticks(low, high, count, log) {
  const list = [];
  if (log) {
    const all = high / low < 1e4 ? [1, 2, 5] : [1];
    for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++)
      for (const m of all) if (m * 10 ** p >= low && m * 10 ** p <= high) list.push(m * 10 ** p);
    if (list.length > 1) return list.map(v => [v, String(Number(v.toPrecision(2)))]);
    list.length = 0;
  }
  const step = niceStep(high - low, count);
  const first = Math.ceil(low / step - 1e-9);
  for (let k = 0; k <= 3 * count; k++) { // not `first++`, which changes nothing above 2^53
    const v = (first + k) * step;
    if (v <= high + step * 1e-9) list.push([v, tickText(v, step)]);
  }
  return list;
}

// ---- what a chart shows now ----

const stepsOf = new Map();
function xOf(run) {
  const key = state.axis;
  if (key === 'STEP') return run.x;
  const column = run.columns[key], cached = stepsOf.get(run) || {};
  if (column && !cached[key]) cached[key] = column.map(v => v === null ? null : v / axes[key][1]);
  stepsOf.set(run, cached);
  return cached[key];
}

// The visible series with their x, y and, for areas, the y of the area below.
function visible(chart) {
  const sums = new Map(), list = [];
  for (const s of chart.series) {
    const run = runs[s.run], x = xOf(run), y = run.columns[s.column];
    if (!x || state.hidden.has('run' + s.run) || state.hidden.has(chart.id + '.' + s.line)) continue;
    if (s.mark !== 'area') {
      list.push({s, run, x, y, top: y});
      continue;
    }
    const below = sums.get(s.run) || y.map(() => 0), top = below.map((v, i) => y[i] === null ? null : v + y[i]);
    sums.set(s.run, top.map((v, i) => v === null ? below[i] : v));
    list.push({s, run, x, y, top, below});
  }
  return list;
}

function wholeRange(list) {
  let low = Infinity, high = -Infinity;
  for (const {x} of list)
    for (const v of x) if (v !== null) low = Math.min(low, v), high = Math.max(high, v);
  const pad = Math.max(1, 1e-9 * Math.abs(low));
  return low < high ? [low, high] : [low - pad, low + pad];
}

function valueRange(list, [x0, x1], zero) {
  let low = Infinity, high = -Infinity;
  for (const {x, top} of list)
    for (let i = 0; i < x.length; i++)
      if (x[i] !== null && x[i] >= x0 && x[i] <= x1 && top[i] !== null) low = Math.min(low, top[i]), high = Math.max(high, top[i]);
  if (low > high) return null;
  if (state.log && low > 0 && !list.some(v => v.below)) return {low, high: high > low ? high : low * 1.1, log: true};
  if (zero) low = Math.min(low, 0), high = Math.max(high, 0);
  if (high - low <= 1e-9 * Math.abs(low)) high = low + (Math.abs(low) * 0.1 || 1);
  const step = niceStep(high - low, 5);
  return {low: Math.floor(low / step + 1e-9) * step, high: Math.ceil(high / step - 1e-9) * step, log: false};
}

// ---- drawing ----

// At most the lowest and the highest value of each pixel column.
function linePath(v, from, to, px, py, join) {
  let d = '', down = false, i = from;
  const point = k => {
    d += (down ? 'L' : 'M') + px(v.x[k]).toFixed(1) + ' ' + py(v.top[k]).toFixed(1) + (down ? '' : 'h0');
    down = true;
  };
  while (i < to) {
    if (v.top[i] === null || v.x[i] === null) {
      down = down && join;
      i++;
      continue;
    }
    const column = Math.floor(px(v.x[i]));
    let low = i, high = i;
    for (; i < to && v.top[i] !== null && v.x[i] !== null && Math.floor(px(v.x[i])) === column; i++) {
      if (v.top[i] < v.top[low]) low = i;
      if (v.top[i] > v.top[high]) high = i;
    }
    point(Math.min(low, high));
    if (low !== high) point(Math.max(low, high));
  }
  return d;
}

function areaPath(v, from, to, px, py) {
  const there = [], back = [];
  let column = null;
  for (let i = from; i < to; i++) {
    if (v.top[i] === null || v.x[i] === null) continue;
    const here = Math.floor(px(v.x[i]));
    if (here === column && i < to - 1) continue;
    column = here;
    there.push(px(v.x[i]).toFixed(1) + ' ' + py(v.top[i]).toFixed(1));
    back.push(px(v.x[i]).toFixed(1) + ' ' + py(v.below[i]).toFixed(1));
  }
  return there.length ? 'M' + there.join('L') + 'L' + back.reverse().join('L') + 'Z' : '';
}

function draw(plot) {
  const {chart, svg, figure} = plot, list = visible(chart);
  const width = Math.max(240, figure.clientWidth), height = plot.first ? 340 : 260;
  const right = width - margin.right, bottom = height - margin.bottom;
  svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
  svg.replaceChildren();
  const range = state.view || wholeRange(list), y = valueRange(list, range, chart.zero);
  plot.list = list, plot.range = range, plot.y = y, plot.width = width;
  element('text', {x: 8, y: 14}, svg, chart.y);
  element('text', {x: (margin.left + right) / 2, y: height - 6, 'text-anchor': 'middle'}, svg, axes[state.axis][0]);
  if (!y) {
    element('text', {x: width / 2, y: height / 2, 'text-anchor': 'middle'}, svg, list.length ? 'nothing was recorded here' : 'nothing to show');
    return;
  }
  const scale = y.log ? v => Math.log(Math.max(v, y.low)) : v => v, y0 = scale(y.low), y1 = scale(y.high);
  const px = plot.px = v => margin.left + (v - range[0]) / (range[1] - range[0]) * (right - margin.left);
  const py = plot.py = v => margin.top + (y1 - scale(v)) / (y1 - y0) * (bottom - margin.top);
  for (const [v, text] of ticks(y.low, y.high, 5, y.log)) {
    element('line', {class: 'grid', x1: margin.left, x2: right, y1: py(v), y2: py(v)}, svg);
    element('text', {x: margin.left - 8, y: py(v) + 4, 'text-anchor': 'end'}, svg, text);
  }
  element('line', {class: 'axis', x1: margin.left, x2: right, y1: bottom, y2: bottom}, svg);
  for (const [v, text] of ticks(range[0], range[1], Math.max(2, width / 110), false)) {
    element('line', {class: 'axis', x1: px(v), x2: px(v), y1: bottom, y2: bottom + 5}, svg);
    element('text', {x: px(v), y: bottom + 19, 'text-anchor': 'middle'}, svg, text);
  }
  const clip = element('clipPath', {id: 'clip' + chart.id}, svg);
  element('rect', {x: margin.left, y: margin.top - 4, width: right - margin.left, height: bottom - margin.top + 6}, clip);
  const inside = element('g', {'clip-path': 'url(#clip' + chart.id + ')'}, svg);
  for (const v of list) {
    let from = 0, to = v.x.length;
    while (from + 1 < to && v.x[from + 1] !== null && v.x[from + 1] < range[0]) from++;
    while (to - 1 > from && v.x[to - 2] !== null && v.x[to - 2] > range[1]) to--;
    const colour = v.s.colour + (v.s.dash ? ' d' + v.s.dash : ''), dots = v.s.mark === 'dots';
    if (v.s.mark === 'area') element('path', {class: 'area ' + colour, d: areaPath(v, from, to, px, py)}, inside);
    else element('path', {class: (dots ? 'join ' : v.s.mark + ' ') + colour, d: linePath(v, from, to, px, py, dots)}, inside);
    if (dots)
      for (let i = from; i < to; i++)
        if (v.top[i] !== null && v.x[i] !== null) element('circle', {class: colour, cx: px(v.x[i]), cy: py(v.top[i]), r: 3.5}, inside);
  }
  if (runs.length === 1 && state.axis === 'STEP')
    for (const step of runs[0].resumed) {
      const mark = element('line', {class: 'resumed', x1: px(step), x2: px(step), y1: margin.top, y2: bottom}, inside);
      element('title', {}, mark, 'resumed after step ' + step);
    }
  plot.over = element('g', {'clip-path': 'url(#clip' + chart.id + ')'}, svg);
}

// ---- values at a place ----

function nearest(v, x, knownOnly, [x0, x1] = [-Infinity, Infinity]) {
  let best = -1;
  for (let i = 0; i < v.x.length; i++)
    if (v.x[i] !== null && v.x[i] >= x0 && v.x[i] <= x1 && (!knownOnly || v.y[i] !== null) &&
      (best < 0 || Math.abs(v.x[i] - x) < Math.abs(v.x[best] - x))) best = i;
  return best;
}

function valueText(v, i) {
  if (!v.run.pairs || v.s.mark === 'dots' || v.s.mark === 'area') return v.y[i] === null ? 'not known' : words(v.y[i]);
  const pair = [v.y[i & ~1], v.y[i | 1]].filter(w => w !== null && w !== undefined);
  return pair.length === 0 ? 'not known' : pair[0] === pair[1] ? words(pair[0]) : pair.map(words).join(' to ');
}

function placeText(v, i) {
  if (state.axis !== 'STEP') return axes[state.axis][0] + ' ' + words(v.x[i]) + ', step ' + words(v.run.x[i]);
  const a = v.run.x[i & ~1], b = v.run.x[i | 1];
  return v.run.pairs && a !== b ? 'steps ' + words(a) + ' to ' + words(b) : 'step ' + words(v.run.x[i]);
}

// The line with the point that is nearest to x, of the points that are shown.
function leader(plot, x) {
  let best = null, distance = Infinity;
  for (const v of plot.list) {
    const i = nearest(v, x, false, plot.range), far = i < 0 ? Infinity : Math.abs(v.x[i] - x);
    if (far < distance) best = v, distance = far;
  }
  return best;
}

const longestOf = plot => plot.list.reduce((a, b) => b.x.length > a.x.length ? b : a);

function show(plot, x, main = leader(plot, x)) {
  hide(plot);
  if (!main || !plot.y) return;
  const at = nearest(main, x, false, plot.range);
  if (at < 0) return;
  plot.at = at, plot.main = main;
  const place = plot.px(main.x[at]);
  element('line', {class: 'cursor', x1: place, x2: place, y1: margin.top, y2: plot.svg.viewBox.baseVal.height - margin.bottom}, plot.over);
  const tip = plot.tip = html('div', 'tip', plot.figure);
  html('div', 'muted', tip, placeText(main, at));
  for (const v of plot.list) {
    const dots = v.s.mark === 'dots', i = nearest(v, main.x[at], dots);
    const known = v.x.filter(w => w !== null);
    if (i < 0 || place < plot.px(known[0]) - 8 || place > plot.px(known.at(-1)) + 8) continue; // the run has no step there
    const row = html('div', '', tip);
    html('i', 'swatch ' + v.s.colour, row);
    html('span', '', row, (names.length ? names[v.s.run] + ': ' : '') + v.s.label + (dots && v.run.x[i] !== main.run.x[at] ? ', step ' + words(v.run.x[i]) : ''));
    html('b', '', row, valueText(v, i));
    if (v.top[i] !== null)
      element('circle', {class: v.s.colour, cx: plot.px(v.x[i]), cy: plot.py(v.top[i]), r: 3.5}, plot.over);
  }
  const shown = place / plot.width * plot.figure.clientWidth, left = shown + 14 + tip.offsetWidth > plot.figure.clientWidth;
  tip.style.left = Math.max(0, left ? shown - 14 - tip.offsetWidth : shown + 14) + 'px';
}

function hide(plot) {
  if (plot.tip) plot.tip.remove();
  if (plot.over) plot.over.replaceChildren();
  plot.tip = plot.at = null;
}

// ---- the page's controls ----

const plots = [];
let reset, spoken;

function redraw() {
  for (const plot of plots) {
    hide(plot);
    draw(plot);
  }
  reset.disabled = !state.view;
}

// A view too narrow to hold points is ignored: keys that are held down must not end in a range that is rounded to nothing.
function zoomTo(view) {
  const whole = wholeRange(plots.flatMap(plot => plot.list));
  if (view && view[1] - view[0] < 1e-6 * (whole[1] - whole[0])) return;
  state.view = view && view[1] > view[0] ? view : null;
  redraw();
}

function zoomBy(plot, factor) {
  const [x0, x1] = plot.range, x = plot.at !== null && plot.main ? plot.main.x[plot.at] : (x0 + x1) / 2, whole = wholeRange(plot.list);
  const view = [Math.max(whole[0], x - (x - x0) * factor), Math.min(whole[1], x + (x1 - x) * factor)];
  zoomTo(view[0] <= whole[0] && view[1] >= whole[1] ? null : view);
  show(plot, x);
}

function listen(plot) {
  const {svg} = plot;
  let from = null, box = null;
  const xAt = event => {
    const r = svg.getBoundingClientRect(), right = plot.width - margin.right;
    const at = Math.min(right, Math.max(margin.left, (event.clientX - r.left) / r.width * plot.width));
    return plot.range[0] + (at - margin.left) / (right - margin.left) * (plot.range[1] - plot.range[0]);
  };
  svg.addEventListener('pointerdown', event => {
    if (event.button !== 0 || !plot.y) return;
    from = xAt(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener('pointermove', event => {
    if (!plot.y) return;
    const x = xAt(event);
    show(plot, x);
    if (from === null) return;
    const a = plot.px(Math.min(x, from)), b = plot.px(Math.max(x, from));
    box = element('rect', {class: 'zoom', x: a, y: margin.top, width: b - a, height: svg.viewBox.baseVal.height - margin.top - margin.bottom}, plot.over);
  });
  svg.addEventListener('pointerup', event => {
    const x = from === null ? null : xAt(event), far = from !== null && Math.abs(plot.px(x) - plot.px(from)) > 8;
    if (far) zoomTo([Math.min(x, from), Math.max(x, from)]);
    from = null;
  });
  svg.addEventListener('pointercancel', () => { from = null; });
  svg.addEventListener('pointerleave', () => { if (from === null) hide(plot); });
  svg.addEventListener('dblclick', () => zoomTo(null));
  svg.addEventListener('blur', () => hide(plot));
  svg.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!plot.y && !['-', '0', 'Escape'].includes(event.key)) return; // nothing is in view
    const main = longestOf(plot), step = (event.shiftKey ? 10 : 1) * (main.run.pairs ? 2 : 1);
    const first = nearest(main, plot.range[0], false), end = nearest(main, plot.range[1], false);
    const at = plot.at === null || plot.main !== main ? (event.key === 'ArrowLeft' ? end + step : first - step) : plot.at;
    const moves = {ArrowLeft: at - step, ArrowRight: at + step, Home: first, End: end};
    if (event.key in moves) show(plot, main.x[Math.min(end, Math.max(first, moves[event.key]))], main);
    else if (event.key === '+' || event.key === '=') zoomBy(plot, 0.5);
    else if (event.key === '-') zoomBy(plot, 2);
    else if (event.key === '0' || event.key === 'Escape') zoomTo(null);
    else return;
    event.preventDefault();
    spoken.textContent = plot.tip ? [...plot.tip.children].map(row => row.textContent).join('; ') : '';
  });
}

function toggles(span, key) {
  const button = document.createElement('button');
  button.type = 'button';
  button.setAttribute('aria-pressed', 'true');
  button.title = 'show or hide';
  button.append(...span.childNodes);
  button.addEventListener('click', () => {
    const hidden = !state.hidden.delete(key);
    if (hidden) state.hidden.add(key);
    button.setAttribute('aria-pressed', String(!hidden));
    redraw();
  });
  span.replaceWith(button);
}

function controls(before) {
  const bar = document.createElement('div');
  bar.className = 'controls';
  before.before(bar);
  const choose = html('select', '', html('label', '', bar, 'x axis '));
  for (const key in axes)
    if (key === 'STEP' || runs.some(r => r.columns[key])) html('option', '', choose, axes[key][0]).value = key;
  choose.addEventListener('change', () => {
    state.axis = choose.value;
    zoomTo(null);
  });
  const label = html('label', '', bar), log = html('input', '', label);
  log.type = 'checkbox';
  label.append(' logarithmic y axis');
  log.addEventListener('change', () => {
    state.log = log.checked;
    redraw();
  });
  reset = html('button', '', bar, 'Whole run');
  reset.type = 'button';
  reset.addEventListener('click', () => zoomTo(null));
  html('span', '', bar, 'Drag over a chart to zoom. Keys: arrows, + and -, 0 for the whole run.');
  spoken = html('div', 'hidden', bar);
  spoken.setAttribute('aria-live', 'polite');
}

const area = document.querySelector('.charts');
controls(area);
for (const chart of data.charts) {
  const figure = document.querySelector('figure[data-chart="' + chart.id + '"]');
  if (!figure || !chart.series.length) continue;
  const svg = figure.querySelector('svg.chart');
  svg.setAttribute('tabindex', '0');
  svg.setAttribute('aria-label', chart.title + ': arrow keys read values');
  for (const span of figure.querySelectorAll('[data-line]')) toggles(span, chart.id + '.' + span.dataset.line);
  const plot = {chart, figure, svg, first: figure.parentNode.classList.contains('first'), list: [], at: null, tip: null};
  plots.push(plot);
  listen(plot);
}
for (const span of document.querySelectorAll('.runs [data-run]')) toggles(span, 'run' + span.dataset.run);
let width = 0;
new ResizeObserver(() => {
  if (area.clientWidth === width) return;
  width = area.clientWidth;
  redraw();
}).observe(area);
redraw();
})();
