// Drives Chromium for the tests: one JSON command per line in, one JSON answer per line out.
//
// {"open": NAME, "stack": "jssip" | "jssip-of-old-pages" | "sipjs"}, {"page": NAME, "run": EXPRESSION},
// {"reload": NAME}, {"close": NAME}, {"end": true}. Answers: {"ok": VALUE} or {"error": TEXT}.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createInterface } from 'node:readline';

import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const here = new URL('.', import.meta.url).pathname;

const stacks = {
  jssip: { source: "import JsSIP from 'jssip'; globalThis.JsSIP = JsSIP;", page: 'jssip.js' },
  'jssip-of-old-pages': { file: 'node_modules/jssip-of-old-pages/dist/jssip.min.js', page: 'jssip.js' },
  sipjs: { source: "import * as SIP from 'sip.js'; globalThis.SIP = SIP;", page: 'sipjs.js' },
};

async function bundled(name) {
  const { source, file } = stacks[name];
  if (file) return readFile(here + file);
  const built = await build({
    stdin: { contents: source, resolveDir: here },
    bundle: true,
    write: false,
    platform: 'browser',
    define: { global: 'globalThis' },
    logLevel: 'error',
  });
  return built.outputFiles[0].contents;
}

const cache = new Map();
const server = http.createServer(async (request, response) => {
  const path = request.url.split('?')[0].slice(1);
  const name = path.replace(/^stack-/, '').replace(/\.js$/, '');
  try {
    if (path.startsWith('stack-') && !cache.has(path)) cache.set(path, await bundled(name));
    const known = { '': 'page.html', 'common.js': 'common.js', 'jssip.js': 'jssip.js', 'sipjs.js': 'sipjs.js' };
    const bytes = cache.get(path) ?? (await readFile(here + known[path]));
    response.setHeader('Content-Type', path.endsWith('.js') ? 'text/javascript' : 'text/html');
    response.end(bytes);
  } catch (error) {
    response.writeHead(404).end(String(error));
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const base = `http://127.0.0.1:${server.address().port}/`;

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({
  executablePath,
  headless: true,
  ignoreDefaultArgs: ['--mute-audio'],
  args: [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-background-timer-throttling',
    '--disable-backgrounding-occluded-windows',
    '--disable-renderer-backgrounding',
    '--disable-features=CalculateNativeWinOcclusion,WebRtcHideLocalIpsWithMdns',
    '--autoplay-policy=no-user-gesture-required',
    '--ignore-certificate-errors',
    '--allow-loopback-in-peer-connection',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream=fps=10',
  ],
});
const pages = new Map();

async function load(page, name) {
  await page.goto(base);
  await page.addScriptTag({ url: `/stack-${name}.js` });
  await page.addScriptTag({ url: `/${stacks[name].page}` });
}

async function obey(command) {
  if (command.open) {
    // A context of its own: pages in the background are not slowed down beside each other.
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error(command.open, String(error)));
    page.on('console', (message) => console.error(command.open, message.text()));
    pages.set(command.open, { page, context, stack: command.stack });
    return load(page, command.stack);
  }
  if (command.page) return pages.get(command.page).page.evaluate(command.run);
  if (command.reload) {
    const { page, stack: name } = pages.get(command.reload);
    return load(page, name);
  }
  if (command.close) {
    await pages.get(command.close).context.close();
    return pages.delete(command.close);
  }
  throw new Error(`unknown command ${JSON.stringify(command)}`);
}

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ok: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.end) break;
  try {
    answer({ ok: (await obey(command)) ?? null });
  } catch (error) {
    answer({ error: String(error) });
  }
}
await browser.close();
server.close();
process.exit(0);
