// Dream: what an auto-encoder draws, with floats and with powers of two.

import { blank, colour } from './charts.js';
import { call, on } from './engine.js';

const SIDE = 28;
const PIXELS = SIDE * SIDE;
// Images along a side of the samples, and of the map.
const GRID = 4;
const MAP = 8;
const FILE = 'vae-mlp.safetensors';

const element = (id) => document.getElementById(id);
const networks = ['hp', 'lp'];

let ready = false;
let shown = {};
let place = { x: 0.5, y: 0.5 };
// The map without its marker.
let background;
let moving = false;
let moved = false;

// Images of bytes side by side on a canvas, in the page's ink.
function paintImages(canvas, bytes, columns) {
  const rows = bytes.length / PIXELS / columns;
  canvas.width = columns * SIDE;
  canvas.height = rows * SIDE;
  const [r, g, b] = colour('ink').match(/\w\w/g).map((part) => parseInt(part, 16));
  const c = canvas.getContext('2d');
  for (let n = 0; n < rows * columns; n += 1) {
    const picture = new ImageData(SIDE, SIDE);
    for (let i = 0; i < PIXELS; i += 1) picture.data.set([r, g, b, bytes[n * PIXELS + i]], 4 * i);
    c.putImageData(picture, (n % columns) * SIDE, Math.floor(n / columns) * SIDE);
  }
}

function paintMap() {
  if (!shown.map) return;
  const canvas = element('map');
  paintImages(canvas, shown.map, MAP);
  background = blank(canvas.width, canvas.height);
  background.getContext('2d').drawImage(canvas, 0, 0);
  paintMarker();
}

function paintMarker() {
  if (!background) return;
  const canvas = element('map');
  const c = canvas.getContext('2d');
  c.clearRect(0, 0, canvas.width, canvas.height);
  c.globalAlpha = 0.55;
  c.drawImage(background, 0, 0);
  c.globalAlpha = 1;
  c.strokeStyle = colour('lp');
  c.lineWidth = 3;
  c.beginPath();
  c.arc(place.x * canvas.width, place.y * canvas.height, 7, 0, 7);
  c.stroke();
}

export function repaint() {
  for (const network of networks) {
    if (shown.samples) paintImages(element(`samples-${network}`), shown.samples[network], GRID);
    if (shown.walk) paintImages(element(`walk-${network}`), shown.walk[network], 1);
  }
  paintMap();
}

// Bytes of both networks, apart.
function apart(bytes) {
  const half = bytes.length / 2;
  return { hp: bytes.subarray(0, half), lp: bytes.subarray(half) };
}

async function sample() {
  const seed = Math.floor(Math.random() * 2 ** 32);
  shown.samples = apart(await call('samples', { seed, count: GRID * GRID }));
  for (const network of networks) paintImages(element(`samples-${network}`), shown.samples[network], GRID);
}

// Four digits of different classes, and the plane between them.
async function spread() {
  const corners = [];
  const labels = new Set();
  while (corners.length < 4) {
    const number = Math.floor(Math.random() * 1000);
    const { label } = await call('digit', number);
    if (labels.has(label)) continue;
    labels.add(label);
    corners.push(number);
  }
  await call('between', corners);
  const places = [];
  for (let i = 0; i < MAP * MAP; i += 1) places.push((i % MAP) / (MAP - 1), Math.floor(i / MAP) / (MAP - 1));
  shown.map = apart(await call('walk', places)).lp;
  paintMap();
  await follow();
}

// Draws where the marker is; where it goes meanwhile is drawn next.
async function follow() {
  moved = true;
  if (moving || !ready) return;
  moving = true;
  try {
    while (moved) {
      moved = false;
      // The map's images are the middles of its cells.
      const inner = (v) => Math.min(Math.max((v * MAP - 0.5) / (MAP - 1), 0), 1);
      shown.walk = apart(await call('walk', [inner(place.x), inner(place.y)]));
      for (const network of networks) paintImages(element(`walk-${network}`), shown.walk[network], 1);
    }
  } catch {
    // A lost device is announced elsewhere.
  }
  moving = false;
}

function go(x, y) {
  const within = (v) => Math.min(Math.max(v, 0), 1);
  place = { x: within(x), y: within(y) };
  paintMarker();
  follow();
}

function listen() {
  const map = element('map');
  const at = (event) => {
    const box = map.getBoundingClientRect();
    go((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  map.addEventListener('pointermove', at);
  map.addEventListener('pointerdown', at);
  map.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    go(place.x + 0.04 * step[0], place.y + 0.04 * step[1]);
  });
  const attempt = (task) => async () => {
    try {
      await task();
    } catch (error) {
      element('dream-message').textContent = error.message;
    }
  };
  element('more').addEventListener('click', attempt(sample));
  element('corners').addEventListener('click', attempt(spread));
}

function describe({ images, latent, bits, bytes, float_bytes: floats }) {
  const kib = (n) => `${Math.round(n / 1024).toLocaleString('en')} KiB`;
  element('dream-message').textContent =
    `784, 400, ${latent}, 400, 784 numbers, learned from ${images.toLocaleString('en')} digits. LP’s layers take ${bits.join(', ')} bits a weight: ` +
    `${kib(bytes)} of weights instead of ${kib(floats)}.`;
}

// With a device that works: last of the parts, because its file is the largest.
export async function begin() {
  ready = false;
  element('dream-message').textContent = 'Loading the model …';
  try {
    const answer = await fetch(new URL(FILE, import.meta.url));
    if (!answer.ok) throw new Error(`${FILE}: the server answers ${answer.status}`);
    const description = await call('useAutoEncoder', { name: FILE, file: await answer.arrayBuffer() });
    ready = true;
    await sample();
    await spread();
    describe(description);
    for (const id of ['more', 'corners']) element(id).disabled = false;
  } catch (error) {
    element('dream-message').textContent = error.message;
  }
}

export function setUp() {
  on('lost', () => {
    ready = false;
    for (const id of ['more', 'corners']) element(id).disabled = true;
  });
  listen();
}
