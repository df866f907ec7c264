// Draw: ink on a canvas, read by a packed model while it is drawn.

import { blank, colour, levelColour, power } from './charts.js';
import { call } from './engine.js';

const SIDE = 280;
const PEN = 22;

const element = (id) => document.getElementById(id);
const canvas = element('ink');
const seen = element('seen');
// The ink itself: its alpha is what is read, whatever the colours of the page.
const ink = blank(SIDE, SIDE).getContext('2d', { willReadFrequently: true });
ink.lineCap = 'round';
ink.lineJoin = 'round';
ink.lineWidth = PEN;

let description;
// What reads: the name and the bytes of a packed model.
let used;
let ready = false;
let busy = false;
let changed = false;
let lastImage;
// The pen of the keyboard.
const pen = { x: SIDE / 2, y: SIDE / 4, down: false, shown: false };

const small = (n) => (n < 0.0005 ? '0' : (100 * n).toFixed(1));
const thousands = (n) => n.toLocaleString('en');
const kib = (bytes) => (bytes < 1 << 20 ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / 1048576).toFixed(2)} MiB`);

function paint() {
  const c = canvas.getContext('2d');
  c.clearRect(0, 0, SIDE, SIDE);
  c.drawImage(ink.canvas, 0, 0);
  c.globalCompositeOperation = 'source-in';
  c.fillStyle = colour('ink');
  c.fillRect(0, 0, SIDE, SIDE);
  c.globalCompositeOperation = 'source-over';
  if (pen.shown) {
    c.strokeStyle = colour(pen.down ? 'plus' : 'soft');
    c.lineWidth = 2;
    c.beginPath();
    c.arc(pen.x, pen.y, PEN / 2, 0, 7);
    c.stroke();
  }
  if (lastImage) paintSeen(lastImage);
}

function paintSeen(image) {
  lastImage = image;
  const [r, g, b] = colour('ink').match(/\w\w/g).map((part) => parseInt(part, 16));
  const pixels = new ImageData(28, 28);
  image.forEach((value, i) => pixels.data.set([r, g, b, value], 4 * i));
  seen.getContext('2d').putImageData(pixels, 0, 0);
}

function stroke(points) {
  ink.beginPath();
  points.forEach(([x, y], i) => (i ? ink.lineTo(x, y) : ink.moveTo(x, y)));
  if (points.length === 1) ink.lineTo(points[0][0], points[0][1]);
  ink.stroke();
  touched();
}

function touched() {
  changed = true;
  paint();
  if (!busy) follow();
}

// Reads whatever the ink is now; what changes meanwhile is read next.
async function follow() {
  if (!ready) return;
  busy = true;
  try {
    while (changed) {
      changed = false;
      const { data } = ink.getImageData(0, 0, SIDE, SIDE);
      const alpha = new Uint8Array(SIDE * SIDE);
      for (let i = 0; i < alpha.length; i += 1) alpha[i] = data[4 * i + 3];
      if (alpha.every((value) => value < 24)) {
        show();
        continue;
      }
      show(await call('read', { ink: alpha, width: SIDE }));
    }
  } catch {
    // A lost device is announced elsewhere; the ink is read when there is one again.
    changed = true;
  }
  busy = false;
}

// How sure the network is, unless the drawing is nothing like what it learned from: then its certainty says nothing.
function judged({ best, probabilities, milliseconds, unlike }) {
  if (unlike) return `doubtful: ${unlike}`;
  return `${small(probabilities[best])} % sure, in ${milliseconds.toFixed(0)} ms`;
}

function show(reading) {
  const read = element('read');
  const bars = [...document.querySelectorAll('#bars li')];
  const best = reading?.best;
  read.firstElementChild.textContent = reading ? description.classes[best] : '–';
  read.lastElementChild.textContent = reading ? judged(reading) : 'draw something';
  read.classList.toggle('doubtful', Boolean(reading?.unlike));
  bars.forEach((bar, i) => {
    const probability = reading?.probabilities[i] ?? 0;
    bar.classList.toggle('best', i === best);
    bar.querySelector('.fill').style.width = `${100 * probability}%`;
    bar.lastElementChild.textContent = reading ? `${small(probability)} %` : '';
  });
  paintSeen(reading?.image ?? new Uint8Array(784));
}

// Puts 28 x 28 bytes onto the canvas, as if they had been drawn.
export function put(pixels) {
  const picture = blank(28, 28);
  const data = new ImageData(28, 28);
  pixels.forEach((value, i) => data.data.set([0, 0, 0, value], 4 * i));
  picture.getContext('2d').putImageData(data, 0, 0);
  ink.clearRect(0, 0, SIDE, SIDE);
  ink.drawImage(picture, 0, 0, SIDE, SIDE);
  touched();
}

function clear() {
  ink.clearRect(0, 0, SIDE, SIDE);
  touched();
}

function position(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
}

function listen() {
  // The pointer that draws: a palm or a second finger beside it does not.
  let drawing;
  let last;
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || drawing !== undefined) return;
    drawing = event.pointerId;
    canvas.setPointerCapture(drawing);
    pen.shown = false;
    last = position(event);
    stroke([last]);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (event.pointerId !== drawing) return;
    const events = event.getCoalescedEvents?.() ?? [];
    const points = (events.length ? events : [event]).map(position);
    stroke([last, ...points]);
    last = points[points.length - 1];
  });
  for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId === drawing) drawing = undefined;
    });
  }
  canvas.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (event.key === ' ') pen.down = !pen.down;
    else if (event.key === 'Delete' || event.key === 'Backspace') clear();
    else if (!move) return;
    event.preventDefault();
    pen.shown = true;
    const before = [pen.x, pen.y];
    if (move) {
      const within = (value) => Math.min(Math.max(value, 20), SIDE - 20);
      pen.x = within(pen.x + 8 * move[0]);
      pen.y = within(pen.y + 8 * move[1]);
    }
    if (pen.down) stroke([before, [pen.x, pen.y]]);
    else paint();
  });
  canvas.addEventListener('blur', () => {
    Object.assign(pen, { down: false, shown: false });
    paint();
  });
  element('clear').addEventListener('click', clear);
  element('example').addEventListener('click', async () => {
    try {
      put((await call('digit', Math.floor(Math.random() * 1000))).pixels);
    } catch {
      // A device that is gone is announced elsewhere.
    }
  });
}

function describe() {
  const { operations, bytes, float_bytes: floats, layers, data } = description;
  const facts = [
    ['multiplications an image', thousands(operations.multiplications)],
    ['additions', thousands(operations.additions)],
    ['shifts', thousands(operations.shifts)],
    [`its file; ${kib(floats)} as floats`, kib(bytes)],
    ['bits of a weight, layer by layer', layers.map((layer) => layer.bits).join(', ')],
  ];
  const list = element('facts');
  list.replaceChildren(
    ...facts.map(([term, value]) => {
      const pair = document.createElement('div');
      const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
      dt.textContent = term;
      dd.textContent = value;
      pair.append(dt, dd);
      return pair;
    }),
  );
  list.title = `Counted from the packed model, which learned from ${data}`;
  describeFilters(layers[0]);
}

function describeFilters({ shape: [outputs, height, width, inputs], weights, levels }) {
  const largest = Math.max(...levels.map(Math.abs));
  const colours = new Map(levels.map((level) => [level, levelColour(level, largest)]));
  const pictures = [];
  for (let o = 0; o < outputs; o += 1) {
    const picture = document.createElement('canvas');
    picture.width = width;
    picture.height = height;
    const c = picture.getContext('2d');
    for (let i = 0; i < height * width; i += 1) {
      c.fillStyle = colours.get(weights[(o * height * width + i) * inputs]);
      c.fillRect(i % width, Math.floor(i / width), 1, 1);
    }
    pictures.push(picture);
  }
  element('filters').replaceChildren(...pictures);
  element('filters').setAttribute(
    'aria-label',
    `${outputs} filters of ${height} by ${width} weights; levels ${levels.join(', ')}`,
  );
  element('levels').replaceChildren(
    ...levels.map((level) => {
      const item = document.createElement('span');
      const swatch = document.createElement('i');
      swatch.style.background = colours.get(level);
      const sign = level < 0 ? '−' : '+';
      item.append(swatch, level === 0 ? '0' : `${sign}${power(Math.log2(Math.abs(level)))}`);
      return item;
    }),
  );
}

// Takes a packed model from a file's bytes.
export async function use(name, file) {
  description = await call('usePacked', { name, file });
  used = { name, file };
  ready = true;
  element('example').disabled = false;
  describe();
  touched();
}

// With a device that works: the model that was used before, if there was one.
export function begin(name, file) {
  return used ? use(used.name, used.file) : use(name, file);
}

export function repaint() {
  paint();
  if (description) describeFilters(description.layers[0]);
}

export function setUp() {
  element('bars').replaceChildren(
    ...Array.from({ length: 10 }, (_, i) => {
      const bar = document.createElement('li');
      bar.innerHTML = `<span>${i}</span><span class="track"><span class="fill" style="display:block"></span></span><span></span>`;
      return bar;
    }),
  );
  listen();
  paint();
}
