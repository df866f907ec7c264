// Bench: every kernel of LeNet-5, checked, then timed.

import { call, on } from './engine.js';

const element = (id) => document.getElementById(id);
const BATCH = 16;

let adapter = '';
let rows = [];
let running = false;
// Whether there is a device that works.
let alive = false;

function add(row) {
  rows.push(row);
  element('bench-message').textContent = `${rows.length} of ${row.count}`;
  const cells = [
    [row.layer],
    [row.kernel],
    [row.shape],
    [row.milliseconds.toFixed(3), 'number'],
    [row.gmacs.toFixed(2), 'number'],
    row.verified ? ['verified'] : [`wrong: ${row.failure}`, 'wrong'],
  ];
  const line = document.createElement('tr');
  for (const [text, kind] of cells) {
    const cell = document.createElement('td');
    cell.textContent = text;
    if (kind) cell.className = kind;
    line.append(cell);
  }
  element('table').tBodies[0].append(line);
}

// The table as Markdown, with the adapter's name above.
function markdown() {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const head = ['layer', 'kernel', 'shape', 'ms', 'GMAC/s', 'right?'];
  return [
    `LeNet-5, ${BATCH} images, ${adapter}, in the browser`,
    '',
    line(head),
    line(['---', '---', '---', '--:', '--:', '---']),
    ...rows.map((row) =>
      line([row.layer, row.kernel, row.shape, row.milliseconds.toFixed(3), row.gmacs.toFixed(2), row.verified ? 'verified' : `wrong: ${row.failure}`]),
    ),
    '',
  ].join('\n');
}

async function measure() {
  running = true;
  rows = [];
  element('measure').disabled = true;
  element('copy').disabled = true;
  element('table').tBodies[0].replaceChildren();
  element('table').hidden = false;
  element('bench-message').textContent = 'Checking the first kernel …';
  try {
    await call('bench', { batch: BATCH });
    const wrong = rows.filter((row) => !row.verified).length;
    element('bench-message').textContent = wrong
      ? `${wrong} of ${rows.length} rows are wrong on this device: please report it.`
      : `${rows.length} rows, all verified.`;
    element('copy').disabled = false;
  } catch (error) {
    element('bench-message').textContent = error.message;
  }
  running = false;
  element('measure').disabled = !alive;
}

// With a device that works.
export function begin(name) {
  adapter = name;
  alive = true;
  element('adapter').textContent = name;
  element('measure').disabled = running;
}

export function setUp() {
  on('row', add);
  on('lost', () => {
    alive = false;
    element('measure').disabled = true;
  });
  element('measure').addEventListener('click', measure);
  element('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(markdown());
      element('bench-message').textContent = 'Copied.';
    } catch {
      element('bench-message').textContent = 'The browser allows no copying here: select the table instead.';
    }
  });
}
