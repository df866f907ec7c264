// The page in a real browser, from outside. `scripts/test-browser` builds what it needs.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { browse, open, program, root, serve } from './browser.mjs';

const run = promisify(execFile);
const gtc = (...values) => run(program, values, { cwd: root });

// A guard against a page that hangs, no verdict.
const SLOW = 900_000;
// What the page may do at most in one piece of work: calls of canvases, and pixels read or written.
const MOST_CALLS = 5000;
const MOST_PIXELS = 200_000;
let server;
let browser;
let page;
let problems;
let folder;

// Counts what the page itself does, apart from its worker: calls of canvases and pixels read or written in
// one piece of work, which lasts until the page's program comes to rest; programs and devices it starts.
function countWork() {
  const work = { calls: 0, pixels: 0 };
  window.most = { calls: 0, pixels: 0 };
  window.heavy = [];
  const count = (what, amount) => {
    // A task of its own begins after everything that is under way, promises included.
    if (work.calls === 0 && work.pixels === 0) {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        work.calls = 0;
        work.pixels = 0;
        port1.close();
      };
      port2.postMessage(0);
    }
    work[what] += amount;
    window.most[what] = Math.max(window.most[what], work[what]);
  };
  for (const kind of [CanvasRenderingContext2D, OffscreenCanvasRenderingContext2D]) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(kind.prototype))) {
      if (typeof value !== 'function') continue;
      kind.prototype[name] = function (...values) {
        count('calls', 1);
        if (name === 'putImageData') count('pixels', values[0].width * values[0].height);
        if (name === 'getImageData') count('pixels', values[2] * values[3]);
        return value.apply(this, values);
      };
    }
  }
  const watch = (object, name) => {
    const old = object?.[name];
    if (!old) return;
    object[name] = function (...values) {
      window.heavy.push(name);
      return old.apply(this, values);
    };
  };
  for (const name of ['compile', 'compileStreaming', 'instantiate', 'instantiateStreaming']) watch(WebAssembly, name);
  watch(window.GPUAdapter?.prototype, 'requestDevice');
}

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'gtc-browser-'));
  server = await serve();
  browser = await browse();
  ({ page, problems } = await open(browser, server.address, {
    permissions: ['clipboard-read', 'clipboard-write'],
    before: (page) =>
      page.addInitScript(countWork),
  }));
  page.setDefaultTimeout(180_000);
  await page.waitForSelector('#status.ready');
});

after(async () => {
  await browser?.close();
  server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const number = async (selector) => Number.parseFloat(await page.textContent(selector));
const says = (selector, text) =>
  page.waitForFunction(([at, text]) => document.querySelector(at).textContent.includes(text), [selector, text]);

test('the model of the page is described from its file', async () => {
  const facts = await page.innerText('#facts');
  assert.match(facts, /multiplications an image\n0\n/);
  const { stdout } = await gtc('eval', 'assets/lenet5.gtc', '--count-ops', '--json');
  const { operations } = JSON.parse(stdout);
  for (const count of [operations.additions, operations.shifts]) {
    assert.ok(facts.includes(count.toLocaleString('en')), `${count} in ${facts}`);
  }
  assert.equal(await page.locator('#filters canvas').count(), 20);
});

test('a 3 of the test set, put on the canvas, is read as 3', async () => {
  await page.evaluate(async () => {
    for (let i = 0; ; i += 1) {
      const digit = await window.gtc.call('digit', i);
      if (digit.label === 3) return window.gtc.put(digit.pixels);
    }
  });
  await page.waitForFunction(() => document.querySelector('#read b').textContent === '3');
  assert.equal(await page.textContent('#bars .best span:first-child'), '3');
});

test('strokes of the mouse are read while they are drawn, and Clear clears', async () => {
  await page.click('#clear');
  await says('#read', 'draw something');
  await page.evaluate(() => document.querySelector('#ink').scrollIntoView({ block: 'center', behavior: 'instant' }));
  const box = await page.locator('#ink').boundingBox();
  const at = (x, y) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(0.25, 0.25));
  await page.mouse.down();
  await page.mouse.move(...at(0.72, 0.25), { steps: 8 });
  await page.mouse.move(...at(0.45, 0.85), { steps: 12 });
  await page.waitForFunction(() => document.querySelector('#read b').textContent === '7');
  await page.mouse.up();
  await page.focus('#ink');
  await page.keyboard.press('Delete');
  await says('#read', 'draw something');
});

test('a digit is drawn with the keyboard', async () => {
  await page.focus('#ink');
  await page.keyboard.press(' ');
  for (let i = 0; i < 20; i += 1) await page.keyboard.press('ArrowDown');
  await page.waitForFunction(() => document.querySelector('#read b').textContent === '1');
  await page.click('#clear');
});

test('logits of 100 digits equal the native ones bit for bit', { timeout: SLOW }, async () => {
  const file = path.join(folder, 'logits.json');
  await gtc('eval', 'assets/lenet5.gtc', '--logits', file);
  const native = JSON.parse(await readFile(file, 'utf8')).logits;
  // Every tenth of the thousand would need them all; the classes alternate within the first hundreds.
  for (const first of [0, 300, 600, 900]) {
    const here = await page.evaluate((first) => window.gtc.call('logits', { first, count: 25 }), first);
    assert.deepEqual(here, native.slice(first, first + 25));
  }
});

test('ink all over is answered with doubt', { timeout: SLOW }, async () => {
  await page.evaluate(() => window.gtc.put(new Uint8Array(784).fill(255)));
  await says('#read', 'doubtful: far brighter');
  await page.evaluate(async () => window.gtc.put((await window.gtc.call('digit', 5)).pixels));
  await says('#read', 'sure');
});

test('200 steps lower the loss and lift LP above 80 %', { timeout: SLOW }, async () => {
  await page.evaluate(() => {
    window.reports = [];
    window.gtc.on('progress', (report) => window.reports.push(report));
  });
  await page.click('#run');
  await page.waitForFunction(() => window.reports.length > 2);
  // Sliders act while it runs.
  await page.fill('#lambda', '-1.5');
  await page.fill('#rate', '-2.6');
  await page.waitForFunction(() => window.reports.at(-1).lambda_bits === 0.032);
  await page.waitForFunction(() => window.reports.at(-1).learning_rate === 0.0025);
  // Draw answers meanwhile.
  await page.evaluate(async () => window.gtc.put((await window.gtc.call('digit', 5)).pixels));
  await says('#read', 'sure');
  await page.waitForFunction(() => window.reports.at(-1).step >= 200, null, { timeout: SLOW });
  await page.click('#run');
  await says('#run', 'Continue');
  const reports = await page.evaluate(() => window.reports);
  const [first, last] = [reports[0], reports.at(-1)];
  assert.ok(last.hp.loss < first.hp.loss / 2, `HP loss ${first.hp.loss} -> ${last.hp.loss}`);
  assert.ok(last.lp.loss < first.lp.loss, `LP loss ${first.lp.loss} -> ${last.lp.loss}`);
  const lp = await number('#lp');
  assert.ok(lp > 80, `LP ${lp} %`);
  // Paused is paused: calls wait in line behind steps that were still to come, and none comes.
  const step = await page.textContent('#step');
  for (let i = 0; i < 3; i += 1) await page.evaluate(() => window.gtc.call('layers'));
  assert.equal(await page.textContent('#step'), step);
  assert.equal(await page.evaluate(() => window.reports.at(-1).step), last.step);
  console.log(`# LP ${lp} % after ${last.step} steps`);
});

test('the engine and the device belong to the worker alone', async () => {
  assert.deepEqual(await page.evaluate(() => window.heavy), []);
  assert.equal(page.workers().length, 1);
});

test('a chart of a hundred thousand steps draws no more than a short one', async () => {
  const most = await page.evaluate(async () => {
    const { lineChart } = await import(window.gtc.file('charts.js'));
    const points = Array.from({ length: 100_000 }, (_, step) => [step, Math.abs(Math.sin(step))]);
    const line = (colour) => ({ colour, points, dots: points });
    const other = window.most;
    window.most = { calls: 0, pixels: 0 };
    lineChart(document.createElement('canvas'), [line('hp'), line('lp')], {
      high: 1, end: points.length, ticks: [0, 1], format: String,
    });
    const { calls } = window.most;
    window.most = other;
    return calls;
  });
  assert.ok(most > 100 && most <= MOST_CALLS, `${most} calls of a canvas`);
});

test('every piece of work of the page is small', async () => {
  const most = await page.evaluate(() => window.most);
  assert.ok(most.calls > 0 && most.calls <= MOST_CALLS, `${most.calls} calls of canvases`);
  assert.ok(most.pixels > 0 && most.pixels <= MOST_PIXELS, `${most.pixels} pixels`);
});

test('the downloaded checkpoint is one of the command line, and opens again', { timeout: SLOW }, async () => {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  const file = path.join(folder, download.suggestedFilename());
  await download.saveAs(file);
  const shown = [await number('#hp'), await number('#lp')];
  const { stdout } = await gtc('eval', file, '--json');
  const report = JSON.parse(stdout);
  // Another driver rounds differently: up to two of the thousand digits may fall otherwise.
  assert.ok(Math.abs(100 * report.hp_accuracy - shown[0]) < 0.25, `HP ${report.hp_accuracy}, page ${shown[0]}`);
  assert.ok(Math.abs(100 * report.lp_accuracy - shown[1]) < 0.25, `LP ${report.lp_accuracy}, page ${shown[1]}`);

  await page.click('#reset');
  await page.waitForFunction(() => document.querySelector('#step').textContent === '0');
  assert.equal(await page.textContent('#lp'), '–');
  await page.setInputFiles('#open', file);
  await says('#train-message', 'continues after step');
  assert.deepEqual([await number('#hp'), await number('#lp')], shown);

  await page.setInputFiles('#open', { name: 'broken.safetensors', mimeType: '', buffer: Buffer.from('nothing') });
  await says('#train-message', 'not a whole safetensors file');
});

test('Draw uses the model trained here', { timeout: SLOW }, async () => {
  const before = await page.innerText('#facts');
  await page.click('#use');
  await says('#train-message', 'Draw reads with it now');
  const after = await page.innerText('#facts');
  assert.notEqual(after, before);
  assert.match(after, /multiplications an image\n0\n/);
  let right = 0;
  for (const i of [10, 120, 250, 370, 480, 590, 610, 720, 830, 940]) {
    const read = await page.evaluate(async (i) => {
      const { pixels, label } = await window.gtc.call('digit', i);
      const { best } = await window.gtc.call('read', { ink: pixels, width: 28 });
      return best === label;
    }, i);
    right += Number(read);
  }
  assert.ok(right >= 7, `${right} of 10 digits`);
});

test('Dream draws with both networks, and the plane follows pointer and keys', async () => {
  await page.waitForSelector('#more:enabled');
  // The alpha values of a canvas.
  await page.evaluate(() => {
    window.inkOf = (id) => {
      const canvas = document.getElementById(id);
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      return [...copy.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 3);
    };
  });
  const ink = (id) => page.evaluate((id) => window.inkOf(id), id);
  const change = async (act, id) => {
    const before = (await ink(id)).join();
    await act();
    await page.waitForFunction(([id, before]) => window.inkOf(id).join() !== before, [id, before]);
  };
  for (const id of ['samples-hp', 'samples-lp', 'map', 'walk-hp', 'walk-lp']) {
    const values = await ink(id);
    assert.ok(Math.max(...values) > 100 && Math.min(...values) < 30, `${id} is one colour`);
  }
  // The same noise: alike, not equal.
  const [hp, lp] = [await ink('samples-hp'), await ink('samples-lp')];
  const apart = hp.reduce((sum, v, i) => sum + Math.abs(v - lp[i]), 0) / hp.length;
  assert.ok(apart > 0.5 && apart < 40, `HP and LP differ by ${apart} of 255`);
  await change(() => page.click('#more'), 'samples-lp');
  await change(() => page.click('#corners'), 'map');
  await page.evaluate(() => document.querySelector('#map').scrollIntoView({ block: 'center', behavior: 'instant' }));
  const box = await page.locator('#map').boundingBox();
  await change(() => page.mouse.move(box.x + 0.1 * box.width, box.y + 0.1 * box.height), 'walk-lp');
  await page.focus('#map');
  await change(() => page.keyboard.press('ArrowRight'), 'walk-hp');
});

test('a network that is reset while it learns leaves nothing behind', { timeout: SLOW }, async () => {
  const shown = () => page.evaluate(() => ['#step', '#hp', '#lp', '#speed', '#run'].map((at) => document.querySelector(at).textContent));
  const fresh = ['0', '–', '–', '–', 'Start'];
  await page.click('#reset');
  for (let turn = 0; turn < 3; turn += 1) {
    await page.click('#run');
    await page.waitForFunction(() => Number.parseInt(document.querySelector('#step').textContent, 10) > 0);
    await page.click('#reset');
    // What the worker was asked after this is answered after everything it had to tell.
    await page.evaluate(() => window.gtc.call('layers'));
    await page.waitForFunction(() => document.querySelector('#run').textContent === 'Start');
    assert.deepEqual(await shown(), fresh);
  }
});

test('a run that is over stays over, and a wrong file stops no other', { timeout: SLOW }, async () => {
  const over = path.join(folder, 'over');
  await gtc('train', 'lenet-small', '--epochs', '1', '--learning-rate', '5e-4', '--out', over);
  await page.setInputFiles('#open', path.join(over, 'model.safetensors'));
  await says('#train-message', 'steps are done');
  assert.equal(await page.textContent('#run'), 'Finished');
  assert.ok(await page.isDisabled('#run'));
  assert.ok(await page.isDisabled('#epochs'));
  assert.equal(await page.locator('#layers figure').count(), 5);
  assert.equal(await page.textContent('#rate-value'), '0.00050');
  assert.match(await page.textContent('#step'), /^(\d+) of \1$/);

  await page.click('#reset');
  await page.waitForSelector('#run:enabled');
  assert.equal(await page.textContent('#run'), 'Start');
  await page.waitForFunction(() => document.querySelectorAll('#layers figure').length === 4);
  await page.click('#run');
  const step = () => page.evaluate(() => Number.parseInt(document.querySelector('#step').textContent, 10));
  await page.waitForFunction(() => Number.parseInt(document.querySelector('#step').textContent, 10) > 0);
  await page.setInputFiles('#open', { name: 'broken.safetensors', mimeType: '', buffer: Buffer.from('nothing') });
  await says('#train-message', 'not a whole safetensors file');
  assert.equal(await page.textContent('#run'), 'Pause');
  const before = await step();
  await page.waitForFunction((before) => Number.parseInt(document.querySelector('#step').textContent, 10) > before, before);
  await page.click('#reset');
  await page.waitForSelector('#run:enabled');
});

test('Bench verifies and times every row, and copies them', { timeout: SLOW }, async () => {
  await page.click('#reset');
  await page.click('#measure');
  await says('#bench-message', 'all verified');
  const rows = await page.locator('#table tbody tr').allInnerTexts();
  assert.ok(rows.length >= 24, `${rows.length} rows`);
  for (const row of rows) {
    const cells = row.split('\t');
    assert.equal(cells.at(-1).trim(), 'verified', row);
    // What was measured is a number; which, is the device's affair.
    assert.ok(Number.isFinite(Number.parseFloat(cells[3])) && Number.isFinite(Number.parseFloat(cells[4])), row);
  }
  await page.click('#copy');
  await says('#bench-message', 'Copied');
  const text = await page.evaluate(() => navigator.clipboard.readText());
  const adapter = await page.textContent('#adapter');
  assert.ok(text.includes(adapter) && text.split('\n').filter((line) => line.startsWith('|')).length === rows.length + 2, text);
});

test('nothing was reported on the console', () => {
  assert.deepEqual(problems, []);
});

// The page runs here on kernels for processors, so those for GPUs are tested apart from it.
test('the browser takes the texts of all kernels', { timeout: SLOW }, async () => {
  const { page, problems } = await open(browser, server.address);
  const found = await page.evaluate(async () => {
    const { default: init, Engine } = await import(window.gtc.file('gtc.js'));
    await init();
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter.requestDevice();
    const found = { texts: 0, refused: [] };
    for (const family of ['gpu', 'cpu-sampled']) {
      for (const [name, code] of JSON.parse(Engine.kernel_texts(family))) {
        device.pushErrorScope('validation');
        const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
        await device.popErrorScope();
        const errors = messages.filter((message) => message.type === 'error');
        found.texts += 1;
        found.refused.push(...errors.map(({ lineNum, message }) => `${family} ${name}, line ${lineNum}: ${message}`));
      }
    }
    return found;
  });
  await page.close();
  assert.deepEqual(found.refused, []);
  assert.ok(found.texts > 200, `${found.texts} texts`);
  assert.deepEqual(problems, []);
});

test('kernels for GPUs read digits, and train with numbers of 32 bits and of 16', { timeout: SLOW }, async () => {
  const file = path.join(folder, 'logits-gpu.json');
  await gtc('eval', 'assets/lenet5.gtc', '--logits', file);
  const native = JSON.parse(await readFile(file, 'utf8')).logits;
  const { page, problems } = await open(browser, server.address);
  const { logits, losses } = await page.evaluate(async () => {
    const { default: init, Engine, Learner, Reader } = await import(window.gtc.file('gtc.js'));
    await init();
    const engine = await Engine.open('gpu');
    const packed = await (await fetch(window.gtc.file('lenet5.gtc'))).arrayBuffer();
    const reader = new Reader(engine, 'lenet5.gtc', new Uint8Array(packed));
    const logits = [];
    for (const number of [0, 1, 2, 3]) {
      logits.push(JSON.parse(await reader.read(engine.test_digit(number))).logits);
    }
    const losses = [];
    for (const precision of ['full', 'mixed']) {
      const learner = new Learner(engine, JSON.stringify({ precision }));
      const { hp, lp } = JSON.parse(await learner.advance(2n));
      losses.push([hp.loss, lp.loss]);
      learner.free();
    }
    return { logits, losses };
  });
  await page.close();
  assert.deepEqual(logits, native.slice(0, 4));
  const [full, mixed] = losses;
  for (const network of [0, 1]) {
    assert.ok(Math.abs(full[network] - mixed[network]) < 0.02 * full[network], JSON.stringify(losses));
  }
  assert.notDeepEqual(full, mixed);
  assert.deepEqual(problems, []);
});

test('tiles of products are timed once on a device, and the page keeps what was found', { timeout: SLOW }, async () => {
  // None on this driver, where tiles are not tuned.
  assert.equal(await page.evaluate(() => localStorage.getItem('tiles')), null);
  const { page: other, problems } = await open(browser, server.address);
  other.setDefaultTimeout(SLOW);
  await other.waitForSelector('#status.ready');
  // A checkpoint needs the trainer, before which tiles are tuned.
  const visit = (kept) =>
    other.evaluate(async (kept) => {
      window.told ??= window.gtc.on('tuned', (found) => window.found.push(found)) ?? true;
      window.found = [];
      await window.gtc.call('reset', {});
      await window.gtc.call('open', { family: 'gpu', kept });
      await window.gtc.call('checkpoint');
      return { found: window.found, stored: localStorage.getItem('tiles') };
    }, kept);
  // What is damaged is measured again.
  const first = await visit('{');
  assert.equal(first.found.length, 1);
  assert.equal(first.stored, first.found[0]);
  const [[key, products], ...more] = Object.entries(JSON.parse(first.stored));
  assert.equal(more.length, 0);
  assert.match(key, /. \| [0-9a-f]{16}$/);
  const names = Object.keys(products);
  assert.ok(names.length > 0);
  for (const trials of Object.values(products)) {
    assert.deepEqual(trials.map(({ tile }) => tile).sort(), ['128x128', '128x64', '64x64']);
    assert.ok(trials.every(({ same, microseconds }) => same && microseconds > 0), JSON.stringify(trials));
    const times = trials.map(({ microseconds }) => microseconds);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
  }
  // Nothing that is kept is timed again, and other versions of the kernels are forgotten.
  products[names[0]][0].microseconds = -1;
  const { stored } = await visit(JSON.stringify({ [key]: products, 'old | 0000000000000000': {} }));
  const now = JSON.parse(stored);
  assert.deepEqual(Object.keys(now), [key]);
  const kept = Object.keys(now[key]).length > names.length || stored === first.stored;
  assert.ok(kept, 'more products, or nothing new');
  if (stored !== first.stored) assert.equal(now[key][names[0]][0].microseconds, -1);
  assert.deepEqual(problems, []);
  await other.context().close();
});

test('without WebGPU the page explains what to do', async () => {
  const plain = await browse({ webgpu: false });
  try {
    const { page } = await open(plain, server.address);
    await page.waitForSelector('#notice:not([hidden])', { timeout: 60_000 });
    assert.match(await page.innerText('#notice'), /gives no access to the GPU[^]*Chrome[^]*Firefox/);
    assert.ok(await page.isDisabled('#run'));
    assert.ok(await page.isDisabled('#measure'));
  } finally {
    await plain.close();
  }
});

test('a lost device is announced, and a new one continues', { timeout: SLOW }, async () => {
  // The worker's device, kept where the test reaches it.
  const keep = `{
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...values) {
      return (self.device = await request.apply(this, values));
    };
  }\n`;
  const { page } = await open(browser, server.address, {
    before: (page) =>
      page.route('**/worker.js', async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, body: keep + (await answer.text()) });
      }),
  });
  await page.waitForSelector('#status.ready', { timeout: 120_000 });
  await page.workers()[0].evaluate(() => self.device.destroy());
  await page.click('#example');
  await page.waitForSelector('#notice:not([hidden])');
  assert.match(await page.innerText('#notice'), /The GPU was lost/);
  await page.click('#again');
  await page.waitForSelector('#status.ready', { timeout: 120_000 });
  assert.ok(await page.isHidden('#notice'));
  await page.click('#example');
  await page.waitForFunction(() => document.querySelector('#read').textContent.includes('sure'));
  await page.context().close();
});
