// A headless Chromium with WebGPU, and a server of dist/.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const root = fileURLToPath(new URL('../../', import.meta.url));

// The command line, where cargo put it.
export const program = path.resolve(root, process.env.CARGO_TARGET_DIR ?? 'target', 'release/gtc');

// Starts the server and returns its address and how to end it.
export async function serve(folder = `${root}dist`) {
  const child = spawn(`${root}target/web-tools/release/serve`, [folder, '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [address] = await once(createInterface({ input: child.stdout }), 'line');
  return { address, stop: () => child.kill() };
}

// Headless, on SwiftShader where there is no GPU. `webgpu`: whether it is switched on.
export async function browse({ webgpu = true } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
      ...(webgpu ? ['--enable-unsafe-webgpu'] : []),
      ...(process.env.CHROMIUM_ARGS ?? '').split(' ').filter(Boolean),
    ],
  });
}

// A page that remembers what went wrong in it.
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.message));
  await options.before?.(page);
  await page.goto(address);
  return { page, problems };
}
