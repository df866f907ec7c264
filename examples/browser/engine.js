// The page's side of the worker: calls that return promises, and news.

const listeners = new Map();
let worker;
let waiting = new Map();
let number = 0;

// Calls `listener` with the data of every piece of news of that name.
export function on(event, listener) {
  listeners.set(event, [...(listeners.get(event) ?? []), listener]);
}

function tell(event, data) {
  for (const listener of listeners.get(event) ?? []) listener(data);
}

// Whether nothing on the device can be used any more; a panic of the engine is a RuntimeError.
const gone = ({ name }) => name === 'GpuLost' || name === 'RuntimeError';

// A fresh worker; whatever the old one was doing is over.
export function restart() {
  worker?.terminate();
  const over = new Error('the GPU was started again');
  for (const { reject } of waiting.values()) reject(over);
  waiting = new Map();
  const own = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
  worker = own;
  own.addEventListener('message', ({ data }) => {
    if (data.event) {
      tell(data.event, data.data);
      if (data.event === 'failed' && gone(data.data)) tell('lost', data.data);
      return;
    }
    const call = waiting.get(data.id);
    waiting.delete(data.id);
    if (!data.error) return call?.resolve(data.result);
    const error = Object.assign(new Error(data.error.message), { name: data.error.name });
    if (gone(error)) tell('lost', error);
    call?.reject(error);
  });
  own.addEventListener('error', (event) => {
    // What it was doing is over, and its device goes with it.
    own.terminate();
    if (worker !== own) return;
    worker = undefined;
    const error = new Error(event.message || 'the program of the page could not be loaded');
    error.name = 'NoProgram';
    for (const { reject } of waiting.values()) reject(error);
    waiting = new Map();
    tell('lost', error);
  });
}

export function call(name, values) {
  if (!worker) return Promise.reject(new Error('the GPU is not open'));
  number += 1;
  const id = number;
  return new Promise((resolve, reject) => {
    worker.postMessage({ id, name, values });
    waiting.set(id, { resolve, reject });
  });
}
