// Train: a LeNet-5 that learns in the page.

import { inTurn, lineChart, weightChart } from './charts.js';
import { call, on } from './engine.js';

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(2)} %`;

let state = 'idle';
let total = 0;
let history = { hp: [], lp: [], tested: [] };
const hasReports = () => history.hp.length + history.lp.length > 0;
let pictures = [];
// The last whole state: what a fresh device continues from, and the step it is of.
let kept;
let keptStep = 0;
let usePacked;

// What the network learns with: of the sliders, or of a checkpoint that was opened, which they may not hit.
let settings;

const exact = (slider) => Number((10 ** Number(slider.value)).toPrecision(2));
const lambda = () => (element('lambda').value === element('lambda').min ? 0 : exact(element('lambda')));
const rate = () => exact(element('rate'));
const options = () => ({
  epochs: Number(element('epochs').value),
  learning_rate: settings.learningRate,
  lambda_bits: settings.lambdaBits,
});

// The largest file that is read: more than any network of digits needs.
const LARGEST = 256 << 20;

function say(text) {
  element('train-message').textContent = text;
}

function set(next) {
  state = next;
  const run = element('run');
  const begun = hasReports() || history.tested.length > 0;
  const start = begun ? 'Continue' : 'Start';
  run.textContent = { running: 'Pause', pausing: 'Pausing …', opening: 'Opening …', finished: 'Finished' }[next] ?? start;
  const waits = ['pausing', 'opening', 'resetting', 'off'].includes(next);
  run.disabled = waits || next === 'finished';
  for (const id of ['reset', 'open']) element(id).disabled = waits;
  element('epochs').disabled = next !== 'idle' || begun;
  element('use').disabled = !begun || waits;
  // What was kept can be saved without a device.
  element('save').disabled = next === 'off' ? !kept : !begun || waits;
}

export function repaint() {
  inTurn('loss', paintLoss);
  inTurn('accuracy', paintAccuracy);
  drawLayers();
}

function drawLayers() {
  pictures.forEach((_, i) =>
    inTurn(`layer ${i}`, () => {
      const figure = element('layers').children[i];
      if (figure && pictures[i]) drawLayer(pictures[i], figure);
    }),
  );
}

function lines() {
  const line = (network, what) => history[network].map(([step, values]) => [step, values[what]]);
  const dots = (what) => history.tested.filter((tested) => what in tested).map((tested) => [tested.step, tested[what]]);
  return { line, dots, end: Math.max(total, 1), last: history.lp.at(-1)?.[1] };
}

function paintLoss() {
  const { line, end, last } = lines();
  const losses = [...line('hp', 'loss'), ...line('lp', 'loss')].map(([, value]) => value);
  const high = Math.max(1, Math.min(3, Math.ceil(2 * Math.max(0, ...losses)) / 2));
  lineChart(
    element('loss'),
    [{ colour: 'hp', points: line('hp', 'loss') }, { colour: 'lp', points: line('lp', 'loss') }],
    { high, end, ticks: [0, high / 2, high], format: (value) => value.toFixed(2) },
  );
  const now = last ? `; LP now ${last.loss.toFixed(3)}` : '';
  element('loss').setAttribute('aria-label', `Loss of both networks over the steps${now}`);
}

function paintAccuracy() {
  const { line, dots, end, last } = lines();
  lineChart(
    element('accuracy'),
    [
      { colour: 'hp', points: line('hp', 'accuracy'), dots: dots('hp_accuracy') },
      { colour: 'lp', points: line('lp', 'accuracy'), dots: dots('lp_accuracy') },
    ],
    { high: 1, end, ticks: [0, 0.25, 0.5, 0.75, 1], format: (value) => `${100 * value} %` },
  );
  const now = last ? `; LP now ${percent(last.accuracy)}` : '';
  element('accuracy').setAttribute('aria-label', `Accuracy of both networks over the steps${now}`);
}

function drawLayer(picture, figure) {
  const { report } = picture;
  const levels = report.levels.length;
  figure.querySelector('figcaption').textContent = report.name;
  figure.querySelector('small').textContent = `${report.weights.toLocaleString('en')} weights on ${levels} levels, ${report.bits} ${report.bits === 1 ? 'bit' : 'bits'}`;
  const canvas = figure.querySelector('canvas');
  canvas.setAttribute('aria-label', `${report.name}: levels ${report.levels.join(', ')}`);
  weightChart(canvas, picture);
}

function showLayers(layers) {
  pictures = layers;
  const list = element('layers');
  while (list.children.length > layers.length) list.lastElementChild.remove();
  while (list.children.length < layers.length) {
    const figure = document.createElement('figure');
    figure.innerHTML = '<figcaption></figcaption><canvas role="img"></canvas><small></small>';
    list.append(figure);
  }
  element('bits').textContent = layers.map(({ report }) => report.bits).join(', ');
  drawLayers();
}

function showTested(tested) {
  history.tested = [...history.tested.filter(({ step }) => step !== tested.step), tested];
  for (const network of ['hp', 'lp']) {
    const accuracy = tested[`${network}_accuracy`];
    element(network).textContent = accuracy === undefined ? '–' : percent(accuracy);
  }
  inTurn('accuracy', paintAccuracy);
}

function showProgress(report) {
  if (!hasReports()) say('');
  total = report.total_steps;
  for (const network of ['hp', 'lp']) {
    // A network that does not learn yet has no numbers.
    if (report[network]) history[network].push([report.step, report[network]]);
  }
  element('step').textContent = `${report.step} of ${report.total_steps}`;
  element('progress').value = report.step / report.total_steps;
  element('speed').textContent = report.images_per_second.toFixed(0);
  inTurn('loss', paintLoss);
  inTurn('accuracy', paintAccuracy);
}

function empty() {
  history = { hp: [], lp: [], tested: [] };
  kept = undefined;
  total = Number(element('epochs').value) * 93;
  element('progress').value = 0;
  for (const id of ['speed', 'hp', 'lp']) element(id).textContent = '–';
  element('step').textContent = '0';
}

function showSettings() {
  const { lambdaBits, learningRate } = settings;
  for (const [id, value] of [['lambda', lambdaBits], ['rate', learningRate]]) {
    const text = value === 0 ? '0' : value.toPrecision(2);
    element(`${id}-value`).textContent = text;
    element(id).setAttribute('aria-valuetext', text);
  }
}

// Takes the settings of a checkpoint, and moves the sliders as near to them as they go.
function take({ lambdaBits, learningRate }) {
  settings = { lambdaBits, learningRate };
  element('lambda').value = lambdaBits > 0 ? Math.log10(lambdaBits) : element('lambda').min;
  element('rate').value = Math.log10(learningRate);
  showSettings();
}

async function attempt(task) {
  try {
    await task();
  } catch (error) {
    say(error.message);
    if (['pausing', 'resetting'].includes(state)) set('idle');
  }
}

async function reset() {
  // No new training begins before the worker has forgotten the old one.
  set('resetting');
  empty();
  say('');
  await call('reset', options());
  // What was told of the old network meanwhile.
  empty();
  say('');
  set('idle');
  repaint();
}

function offer(file) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([file], { type: 'application/octet-stream' }));
  link.download = 'model.safetensors';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function pause() {
  set('pausing');
  await call('pause');
  // It may have ended meanwhile.
  if (state === 'pausing') set('idle');
}

function listen() {
  element('run').addEventListener('click', () =>
    attempt(async () => {
      if (state === 'running') return pause();
      say(hasReports() ? '' : 'Compiling the kernels …');
      set('running');
      await call('start').catch((error) => {
        if (state === 'running') set('idle');
        throw error;
      });
    }),
  );
  element('reset').addEventListener('click', () => attempt(reset));
  element('epochs').addEventListener('change', () => attempt(reset));
  for (const [id, name, value] of [['lambda', 'lambdaBits', lambda], ['rate', 'learningRate', rate]]) {
    element(id).addEventListener('input', () => {
      settings[name] = value();
      showSettings();
      if (state !== 'off') attempt(() => call('adjust', settings));
    });
  }
  element('use').addEventListener('click', () =>
    attempt(async () => {
      say('Packing …');
      const file = await call('pack');
      await usePacked('the model trained here', file);
      say(`Packed into ${(file.length / 1024).toFixed(0)} KiB. Draw reads with it now.`);
    }),
  );
  element('save').addEventListener('click', () =>
    attempt(async () => {
      if (state === 'running') await pause();
      if (state === 'off') {
        offer(kept);
        say(`Saved the model of step ${keptStep}.`);
        return;
      }
      offer(await call('checkpoint'));
      say(`Saved the model of step ${history.tested.at(-1)?.step ?? 0}.`);
    }),
  );
  element('open').addEventListener('change', () =>
    attempt(async () => {
      const [chosen] = element('open').files;
      element('open').value = '';
      if (!chosen) return;
      if (chosen.size > LARGEST) throw new Error(`${chosen.name}: too large for a network that reads digits`);
      await open(chosen.name, await chosen.arrayBuffer());
      const { step } = history.tested.at(-1);
      say(state === 'finished' ? `${chosen.name}: its ${step} steps are done.` : `${chosen.name}: continues after step ${step}.`);
    }),
  );
}

async function open(name, file) {
  const before = state;
  set('opening');
  try {
    const opened = await call('openCheckpoint', { name, file });
    empty();
    showTested(opened);
    take(opened);
    total = opened.total;
    [kept, keptStep] = [new Uint8Array(file), opened.step];
    element('step').textContent = `${opened.step} of ${opened.total}`;
    element('progress').value = opened.step / Math.max(opened.total, 1);
    set(opened.finished ? 'finished' : 'idle');
  } catch (error) {
    // A device that was lost meanwhile stays off, and a network that learned goes on.
    if (state === 'opening') set(before === 'off' ? 'idle' : before);
    throw error;
  }
}

// What a fresh device continues from, in words.
export function keeps() {
  if (kept) return `Training continues after step ${keptStep}, the last that was kept; it can be downloaded, too.`;
  return hasReports() ? 'No state of the training was kept yet: it begins anew.' : '';
}

// With a device that works: begins, or continues with what was kept of the last one.
export async function begin() {
  const file = kept;
  if (file) {
    const before = history;
    await attempt(async () => {
      await open('the kept model', file.slice().buffer);
      history = { ...before, tested: history.tested };
      const { step } = history.tested.at(-1);
      for (const network of ['hp', 'lp']) history[network] = before[network].filter(([at]) => at <= step);
      say(`Continues after step ${step}, the last that was kept.`);
      set(state);
    });
  } else {
    await attempt(reset);
  }
}

export function setUp(use) {
  usePacked = use;
  on('progress', showProgress);
  on('tuning', () => {
    if (!hasReports()) say('Finding the fastest kernels on this device …');
  });
  on('tested', showTested);
  on('layers', showLayers);
  on('kept', (file) => {
    [kept, keptStep] = [file, history.tested.at(-1)?.step ?? 0];
  });
  on('finished', () => {
    set('finished');
    say('Every pass is done. Reset to begin anew.');
  });
  on('failed', (error) => {
    set('idle');
    say(error.message);
  });
  on('lost', () => set('off'));
  settings = { lambdaBits: lambda(), learningRate: rate() };
  showSettings();
  listen();
  set('off');
  repaint();
}
