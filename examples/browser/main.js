// The page: opens the GPU, wires its parts, and says plainly what is wrong when something is.

import * as bench from './bench.js';
import * as draw from './draw.js';
import * as dream from './dream.js';
import { call, on, restart } from './engine.js';
import * as train from './train.js';

const element = (id) => document.getElementById(id);
const root = document.documentElement;

// What an earlier visit left. Storage may be forbidden; then there is nothing, and nothing is kept.
function stored(name) {
  try {
    return localStorage.getItem(name) ?? undefined;
  } catch {
    return undefined;
  }
}

function store(name, text) {
  try {
    localStorage.setItem(name, text);
  } catch {
    // As above.
  }
}

function status(text, kind = '') {
  element('status').textContent = text;
  element('status').className = `status ${kind}`;
}

function notice(title, text, help = [], again = false) {
  element('notice-title').textContent = title;
  element('notice-text').textContent = text;
  const list = document.createElement('ul');
  for (const line of help) {
    const item = document.createElement('li');
    item.textContent = line;
    list.append(item);
  }
  element('notice-help').replaceChildren(...(help.length ? [list] : []));
  element('again').hidden = !again;
  element('notice').hidden = false;
}

const HELP = [
  'Chrome and Edge: version 127 or later; on Linux, where it is not yet on for every driver, switch on chrome://flags/#enable-unsafe-webgpu.',
  'Safari: version 26 or later. Firefox: version 141 or later on Windows, 145 or later on Macs with Apple silicon.',
  'Hardware acceleration must be allowed in the browser’s settings, and the graphics driver up to date.',
  'The page must come from https:// or from localhost.',
];

function explain(error) {
  if (error.name === 'NoWebGpu') {
    status('No GPU', 'broken');
    notice(
      'This browser gives no access to the GPU',
      `Everything here runs through WebGPU, and ${error.message}.`,
      HELP,
      // A browser that has WebGPU may refuse it for a while after a device was lost.
      Boolean(navigator.gpu),
    );
  } else {
    status('Not started', 'broken');
    notice('The page could not start', error.message, ['Load the page again.'], true);
  }
}

async function begin() {
  element('notice').hidden = true;
  status('Opening the GPU …');
  try {
    const file = fetch(new URL('lenet5.gtc', import.meta.url)).then((answer) => {
      if (!answer.ok) throw new Error(`lenet5.gtc: the server answers ${answer.status}`);
      return answer.arrayBuffer();
    });
    file.catch(() => {});
    if (!navigator.gpu) {
      throw Object.assign(new Error('this browser does not offer it here'), { name: 'NoWebGpu' });
    }
    restart();
    const { adapter } = await call('open', { kept: stored('tiles') });
    await draw.begin('lenet5.gtc', await file);
    status(`Running on ${adapter}`, 'ready');
    bench.begin(adapter);
    await train.begin();
    await dream.begin();
  } catch (error) {
    explain(error);
  }
}

function colours() {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const choices = { system: '◐', light: '☀', dark: '☾' };
  let choice = stored('colours') ?? 'system';
  const apply = () => {
    root.toggleAttribute('data-dark', choice === 'dark' || (choice === 'system' && system.matches));
    element('theme').textContent = choices[choice];
    const word = choice === 'system' ? 'as the system' : choice;
    element('theme').setAttribute('aria-label', `Colours: ${word}`);
    element('theme').title = `Colours: ${word}`;
    draw.repaint();
    train.repaint();
    dream.repaint();
  };
  element('theme').addEventListener('click', () => {
    const names = Object.keys(choices);
    choice = names[(names.indexOf(choice) + 1) % names.length];
    store('colours', choice);
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}

draw.setUp();
train.setUp(draw.use);
dream.setUp();
bench.setUp();
colours();
let resizing;
addEventListener('resize', () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(train.repaint);
});
on('tuned', (found) => store('tiles', found));
on('lost', (error) => {
  status('The GPU was lost', 'broken');
  notice(
    'The GPU was lost',
    `Its driver was reset or ran out of memory, or the browser took it away (${error.message.split('\n')[0]}).`,
    [`What you have drawn stays. ${train.keeps()}`],
    true,
  );
});
element('again').addEventListener('click', begin);
// For the console: gtc.call('logits', {first: 0, count: 10}), gtc.put(pixels), gtc.on('progress', console.log),
// import(gtc.file('gtc.js')).
window.gtc = { call, on, put: draw.put, file: (name) => new URL(name, import.meta.url).href };
begin();
