// Everything on the GPU happens in this worker, so that the page stays responsive. The page sends
// {id, name, values}; an answer is {id, result} or {id, error}; news of training is {event, data}.

import init, { Bench, Dreamer, Engine, Learner, Reader, centred, fresh_layers } from './gtc.js';

// For how long the first training on a device tries out its tiles, in milliseconds.
const TUNING = 2000;

let engine;
let adapter = '';
let tiles;
let reader;
let learner;
let dreamer;
let options = {};
let running = false;
// Counts the networks that were begun or opened: whatever is still under way for an older one tells nothing any more.
let generation = 0;

// Objects of the engine take one call at a time: calls wait in line, one line an object.
const lines = { reader: Promise.resolve(), learner: Promise.resolve(), dreamer: Promise.resolve() };
function inLine(line, task) {
  const result = lines[line].then(task);
  lines[line] = result.catch(() => {});
  return result;
}

const tell = (event, data) => postMessage({ event, data });
const inWords = (error) => ({
  name: error?.name ?? 'Error',
  message: String(error?.message ?? error),
});

// `kept`: what a `tuned` told on another visit. `family`: of kernels, instead of the one that suits the adapter.
async function open({ kept, family } = {}) {
  const found = await navigator.gpu?.requestAdapter();
  if (!found) {
    throw Object.assign(new Error('the browser offers no WebGPU adapter'), { name: 'NoWebGpu' });
  }
  const { info } = found;
  if (!info) {
    throw Object.assign(new Error('this browser’s WebGPU is too old'), { name: 'NoWebGpu' });
  }
  const words = [info.vendor, info.architecture, info.device, info.description];
  adapter = [...new Set(words.filter(Boolean))].join(' ') || 'unnamed adapter';
  const onProcessor = /swiftshader|llvmpipe|lavapipe|warp|basic render/i.test(adapter);
  const suits = onProcessor || info.isFallbackAdapter ? 'cpu-sampled' : undefined;
  await init();
  engine = await Engine.open(family ?? suits);
  tiles = kept;
  return { adapter, path: engine.path(), digits: engine.test_count() };
}

// A packed model from a file's bytes.
async function usePacked({ name, file }) {
  return inLine('reader', async () => {
    const next = new Reader(engine, name, new Uint8Array(file));
    reader?.free();
    reader = next;
    // The first run compiles the kernels: now, not under the visitor's pen.
    await reader.read(new Uint8Array(784));
    return JSON.parse(reader.describe());
  });
}

// Ink (width columns, a byte each) to what the model makes of it.
async function read({ ink, width }) {
  const image = centred(ink, width);
  const reading = await inLine('reader', () => reader.read(image));
  return { image, ...JSON.parse(reading) };
}

// A held-out digit: its pixels and label.
function digit(number) {
  return { pixels: engine.test_digit(number), label: engine.test_label(number) };
}

// Logits of held-out digits, as they are in the files.
async function logits({ first, count }) {
  const all = [];
  for (let i = first; i < first + count; i += 1) {
    const reading = await inLine('reader', () => reader.read(engine.test_digit(i)));
    all.push(JSON.parse(reading).logits);
  }
  return all;
}

// An auto-encoder from a file's bytes.
async function useAutoEncoder({ name, file }) {
  return inLine('dreamer', () => {
    const next = new Dreamer(engine, name, new Uint8Array(file));
    dreamer?.free();
    dreamer = next;
    return JSON.parse(dreamer.describe());
  });
}

// Finds the fastest tiles of the products that LeNet-5 learns with, once on a device.
async function tune() {
  if (engine.path() !== 'gpu') return;
  tell('tuning');
  const found = await engine.tune(adapter, JSON.stringify(options), tiles, TUNING);
  if (found === undefined) return;
  tiles = found;
  tell('tuned', found);
}

// The trainer, compiled when it is first needed.
async function need() {
  if (!learner) {
    await tune();
    learner = new Learner(engine, JSON.stringify(options));
  }
  return learner;
}

async function test() {
  const tested = JSON.parse(await inLine('learner', async () => (await need()).test()));
  tell('tested', tested);
  return tested;
}

async function layers() {
  tell('layers', JSON.parse(await inLine('learner', () => learner?.layers() ?? fresh_layers())));
}

// The page keeps the last whole state: a lost device loses nothing before it.
async function keep() {
  const file = await inLine('learner', async () => (await need()).checkpoint());
  postMessage({ event: 'kept', data: file }, [file.buffer]);
}

async function learn() {
  const own = generation;
  let count = 1;
  let nextLayers = 0;
  while (running && generation === own) {
    const started = performance.now();
    // Another network may be put in its place while this one waits in line.
    const advanced = await inLine('learner', async () => {
      const learns = await need();
      return generation === own && !learns.finished() ? learns.advance(BigInt(count)) : undefined;
    });
    const took = performance.now() - started;
    if (generation !== own) return;
    if (advanced === undefined) {
      running = false;
      tell('finished');
      return;
    }
    tell('progress', JSON.parse(advanced));
    // Chunks of about a third of a second, often enough to be live; but of four steps at least, because
    // to read the losses is to wait until the device is idle.
    count = Math.round(Math.min(Math.max((count * 330) / Math.max(took, 1), 4), 2 * count, 64));
    if (learner.epoch_ends() || learner.finished()) {
      for (const step of [test, layers, keep]) {
        if (generation === own) await step();
      }
      if (generation === own && learner.finished()) {
        running = false;
        tell('finished');
      }
    } else if (running && performance.now() >= nextLayers) {
      const before = performance.now();
      await layers();
      const now = performance.now();
      nextLayers = now + Math.max(800, 20 * (now - before));
    }
  }
}

function start() {
  if (running) return;
  running = true;
  const own = generation;
  learn().catch((error) => {
    if (generation !== own) return;
    running = false;
    tell('failed', inWords(error));
  });
}

// Ends after the steps under way, and says how good the model is.
async function pause() {
  running = false;
  await inLine('learner', () => {});
  const tested = await test();
  await layers();
  await keep();
  return tested;
}

async function reset(given) {
  running = false;
  generation += 1;
  options = given;
  await inLine('learner', () => {
    learner?.free();
    learner = undefined;
  });
  await layers();
}

// A file that is no network of digits is refused, and the one that learns goes on.
async function openCheckpoint({ name, file }) {
  await inLine('learner', () => {
    const next = Learner.open(engine, name, new Uint8Array(file));
    running = false;
    generation += 1;
    learner?.free();
    learner = next;
  });
  await layers();
  const tested = await test();
  return {
    ...tested,
    finished: learner.finished(),
    lambdaBits: learner.lambda_bits(),
    learningRate: learner.learning_rate(),
    total: Number(learner.total_steps()),
  };
}

async function adjust({ learningRate, lambdaBits }) {
  options = { ...options, learning_rate: learningRate, lambda_bits: lambdaBits };
  await inLine('learner', () => learner?.adjust(learningRate, lambdaBits));
}

async function bench({ batch }) {
  const bench = new Bench(engine, batch);
  const count = bench.count();
  try {
    for (;;) {
      // Between the steps of a network that learns, when the device has nothing else to do.
      const row = await inLine('learner', () => bench.next());
      if (row === undefined) return count;
      tell('row', { count, ...JSON.parse(row) });
    }
  } finally {
    bench.free();
  }
}

const calls = {
  adjust,
  bench,
  between: (numbers) => inLine('dreamer', () => dreamer.between(new Uint32Array(numbers))),
  checkpoint: () => inLine('learner', async () => (await need()).checkpoint()),
  digit,
  layers,
  logits,
  open,
  openCheckpoint,
  pack: () => inLine('learner', async () => (await need()).pack()),
  pause,
  read,
  reset,
  samples: ({ seed, count }) => inLine('dreamer', () => dreamer.samples(seed, count)),
  start,
  test,
  useAutoEncoder,
  usePacked,
  walk: (places) => inLine('dreamer', () => dreamer.walk(new Float32Array(places))),
};

addEventListener('message', async ({ data: { id, name, values } }) => {
  try {
    postMessage({ id, result: await calls[name](values) });
  } catch (error) {
    postMessage({ id, error: inWords(error) });
  }
});
