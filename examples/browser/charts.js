// Small pictures of numbers on canvases, sharp on every screen, in the page's colours.

const pieces = new Map();

function next() {
  const [[key, piece]] = pieces;
  pieces.delete(key);
  if (pieces.size > 0) requestAnimationFrame(next);
  piece();
}

// Draws one piece a frame, so that no task of the page is long. Of pieces with the same key that wait,
// the last is drawn.
export function inTurn(key, piece) {
  if (pieces.size === 0) requestAnimationFrame(next);
  pieces.set(key, piece);
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A context whose unit is a CSS pixel, cleared, with the size of the picture.
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.font = `12px ${colour('sans') || 'sans-serif'}`;
  return { context, width, height };
}

// Points of a line that are drawn at most: about one for every pixel of a chart.
const MOST_POINTS = 400;

// At most `most` of a line's points, the first and the last among them, at equal distances in between.
export function thinned(points, most = MOST_POINTS) {
  if (points.length <= most) return points;
  const at = (i) => Math.round((i * (points.length - 1)) / (most - 1));
  return Array.from({ length: most }, (_, i) => points[at(i)]);
}

// A canvas that is not on the page.
export function blank(width, height) {
  return Object.assign(document.createElement('canvas'), { width, height });
}

// Lines over steps. `lines`: [{colour, points: [[step, value]], dots: [[step, value]]}].
export function lineChart(canvas, lines, { low = 0, high, format, end, ticks }) {
  const { context: c, width, height } = prepare(canvas);
  const [left, right, top, bottom] = [46, 8, 8, 22];
  const x = (step) => left + (step / end) * (width - left - right);
  const y = (value) =>
    height - bottom - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (height - top - bottom);
  c.strokeStyle = colour('line');
  c.fillStyle = colour('soft');
  c.lineWidth = 1;
  c.textBaseline = 'middle';
  c.textAlign = 'right';
  for (const tick of ticks) {
    const at = Math.round(y(tick)) + 0.5;
    c.beginPath();
    c.moveTo(left, at);
    c.lineTo(width - right, at);
    c.stroke();
    c.fillText(format(tick), left - 7, at);
  }
  c.textBaseline = 'alphabetic';
  for (const [share, align] of [[0, 'left'], [0.5, 'center'], [1, 'right']]) {
    c.textAlign = align;
    c.fillText(String(Math.round(share * end)), x(share * end), height - 5);
  }
  for (const { colour: name, points, dots = [] } of lines) {
    c.strokeStyle = colour(name);
    c.lineWidth = 1.8;
    c.lineJoin = 'round';
    c.beginPath();
    thinned(points).forEach(([step, value], i) => (i ? c.lineTo(x(step), y(value)) : c.moveTo(x(step), y(value))));
    c.stroke();
    c.fillStyle = colour('paper');
    c.lineWidth = 2;
    for (const [step, value] of thinned(dots)) {
      c.beginPath();
      c.arc(x(step), y(value), 3.6, 0, 7);
      c.fill();
      c.stroke();
    }
  }
}

// The float weights as a filled curve, the levels they become as bars: a bar's height is the share
// of weights that take it.
export function weightChart(canvas, { report, most, bins }) {
  const { context: c, width, height } = prepare(canvas);
  const base = height - 18;
  const x = (value) => ((value / most + 1) / 2) * width;
  const top = Math.max(...bins);
  c.fillStyle = colour('shape');
  c.beginPath();
  c.moveTo(0, base);
  bins.forEach((share, i) => {
    c.lineTo(((i + 0.5) / bins.length) * width, base - (share / top) * (base - 6) * 0.92);
  });
  c.lineTo(width, base);
  c.fill();
  const bars = [];
  report.histogram.forEach(([negative, positive], i) => {
    const size = 2 ** (report.exponent_min + i);
    if (negative) bars.push([-size, negative / report.weights, 'minus']);
    if (positive) bars.push([size, positive / report.weights, 'plus']);
  });
  if (report.zeros) bars.push([0, report.zeros / report.weights, 'soft']);
  const tallest = Math.max(...bars.map(([, share]) => share));
  for (const [value, share, name] of bars) {
    const tall = Math.max(2, (share / tallest) * (base - 6));
    c.fillStyle = colour(name);
    c.fillRect(x(value) - 1.75, base - tall, 3.5, tall);
  }
  c.fillStyle = colour('soft');
  c.fillRect(0, base, width, 1);
  const largest = power(report.exponent_max);
  for (const [text, value, align] of [[`−${largest}`, -1, 'center'], ['0', 0, 'center'], [`+${largest}`, 1, 'center']]) {
    c.textAlign = align;
    c.fillText(text, x(value * 2 ** report.exponent_max), height - 4);
  }
}

// 2 to the e, in small raised digits.
export function power(exponent) {
  const raised = { '-': '⁻', 0: '⁰', 1: '¹', 2: '²', 3: '³', 4: '⁴', 5: '⁵', 6: '⁶', 7: '⁷', 8: '⁸', 9: '⁹' };
  return `2${[...String(exponent)].map((digit) => raised[digit]).join('')}`;
}

// A level's colour: sign decides the hue, size the strength.
export function levelColour(value, largest) {
  if (value === 0) return colour('wash');
  const strength = Math.max(0.3, 1 + Math.log2(Math.abs(value) / largest) * 0.3);
  return `color-mix(in srgb, ${colour(value < 0 ? 'minus' : 'plus')} ${Math.round(100 * strength)}%, ${colour('card')})`;
}
