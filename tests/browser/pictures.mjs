// Pictures of every part of the page, light and dark, wide and narrow: `node pictures.mjs FOLDER [STEPS]`.
// dist/ and the server are built before, as scripts/test-browser does.

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { browse, open, serve } from './browser.mjs';

const [folder = 'pictures', steps = '60'] = process.argv.slice(2);
const PARTS = ['draw', 'train', 'dream', 'bench'];
const WIDTHS = { wide: { width: 1200, height: 900 }, phone: { width: 390, height: 844 } };

await mkdir(folder, { recursive: true });
const server = await serve();
const browser = await browse();
const { page, problems } = await open(browser, server.address, { deviceScaleFactor: Number(process.env.SCALE ?? 2) });
page.setDefaultTimeout(600_000);
await page.waitForSelector('#status.ready');
await page.waitForSelector('#more:enabled');
// It would lie over the parts.
await page.addStyleTag({ content: '.top { position: static !important }' });
await page.evaluate(async () => window.gtc.put((await window.gtc.call('digit', 3)).pixels));
if (Number(steps) > 0) {
  await page.evaluate((steps) => {
    window.reached = false;
    window.gtc.on('progress', ({ step }) => { window.reached ||= step >= steps; });
  }, Number(steps));
  await page.click('#run');
  await page.waitForFunction(() => window.reached);
  await page.click('#run');
  await page.waitForFunction(() => document.querySelector('#run').textContent === 'Continue');
  await page.click('#measure');
  await page.waitForSelector('#copy:enabled');
}
for (const [name, size] of Object.entries(WIDTHS)) {
  for (const scheme of ['light', 'dark']) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForTimeout(400);
    for (const part of PARTS) {
      const file = path.join(folder, `${part}-${scheme}-${name}.png`);
      await page.locator(`#${part}`).screenshot({ path: file });
      console.log(file);
    }
    await page.screenshot({ path: path.join(folder, `top-${scheme}-${name}.png`) });
  }
}
for (const problem of problems) console.error(problem);
await browser.close();
server.stop();
