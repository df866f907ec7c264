// How fast the page trains beside the command line on the same driver, in turns, and how soon it is
// ready: `node benches/browser/speed.mjs [TURNS]`. VK_DRIVER_FILES decides the driver of the command line.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { browse, open, program, serve } from '../../tests/browser/browser.mjs';

const run = promisify(execFile);
const turns = Number(process.argv[2] ?? 2);
const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

const server = await serve();
const browser = await browse();
const ready = [];
const pages = [];
const natives = [];
for (let turn = 0; turn < turns; turn += 1) {
  const { page } = await open(browser, server.address);
  page.setDefaultTimeout(300_000);
  await page.waitForSelector('#status.ready');
  ready.push(await page.evaluate(() => performance.now()));
  await page.waitForSelector('#more:enabled');
  await page.evaluate(() => {
    window.speeds = [];
    window.gtc.on('progress', (report) => window.speeds.push(report.images_per_second));
  });
  await page.click('#run');
  // The first reports hold the compilation of the kernels.
  await page.waitForFunction(() => window.speeds.length >= 12);
  pages.push(middle(await page.evaluate(() => window.speeds.slice(3))));
  await page.context().close();

  const { stdout } = await run(program, [
    'bench', 'train', '--model', 'lenet5', '--batch-size', '64', '--objective', 'gtc', '--seconds', '10', '--json',
  ]);
  natives.push(JSON.parse(stdout).rows[0].images_per_second);
}
await browser.close();
server.stop();
const list = (values) => values.map((value) => value.toFixed(0)).join(', ');
console.log(`ready after ${list(ready)} ms`);
console.log(`images/s in the page ${list(pages)}; native ${list(natives)}; ratio ${(middle(pages) / middle(natives)).toFixed(2)}`);
