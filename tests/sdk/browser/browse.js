// A page with an unmodified @segment/analytics-next in a headless Chromium, told nothing but a write key and where to
// ask for its settings: it sends events from an origin of its own to the server under test.
//
// Usage: node browse.js BROWSER PACKAGE_FOLDER PROFILE_FOLDER TARGET WRITE_KEY [CERTIFICATE]
// Input, one JSON object a line: what the page does next.
//   {"visit": {"tracks": N, "batching": BOOL}}  a page that sends one event of each type and N tracks
//   {"end": "stay" | "close" | "leave"}         what becomes of it; "close" and "leave" while the SDK holds the events
// End of input closes the browser.
// Output, one JSON object a line:
//   {"event": {...}}    an event as the SDK completed it
//   {"answer": {...}}   an answer of the target: method, url, status, protocol
//   {"failed": {...}}   a request of the target that got none: method, url, error
//   {"done": WORD}      the command WORD was carried out
// Chromium is steered over its pipes (--remote-debugging-pipe), messages end in a zero byte.
const { spawn } = require('node:child_process')
const { createHash, X509Certificate } = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const readline = require('node:readline')

const [browser, packageFolder, profile, target, writeKey, certificate] = process.argv.slice(2)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

// What the page runs. It is given to the browser as text, so it names nothing from outside of it.
function visit({ writeKey, target, tracks, batching }) {
  const deliveryStrategy = batching ? { strategy: 'batching', config: { size: 1_000, timeout: 600_000 } } : undefined
  const integrations = { 'Segment.io': deliveryStrategy ? { deliveryStrategy } : {} }
  const analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL: target }, { integrations })
  const calls = [
    analytics.identify('user-1', { email: 'a@example.com', plan: 'pro', größe: 'läng' }),
    analytics.page('Docs', 'Install', { none: null }),
    analytics.screen('Main', 'Settings', { tab: 3 }),
    analytics.group('group-7', { name: 'Initech', employees: 329 }),
    analytics.alias('user-2', 'anonymous-1'),
    analytics.track('Text', { quote: 'a "b" \\ / \u0000 \u2028', big: 1e21, deep: { a: { b: [[], {}, 0.30000000000000004] } } }),
  ]
  for (let n = 0; n < tracks; n++) calls.push(analytics.track('Step', { n, half: n / 2, text: 'x'.repeat(n % 300) }))
  // As text in between: a date is no date to who steers the browser.
  return Promise.all(calls).then((contexts) => JSON.parse(JSON.stringify(contexts.map((context) => context.event))))
}

const files = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://page')
  if (pathname.startsWith('/sdk/')) {
    const file = path.join(packageFolder, 'dist/umd', path.basename(pathname))
    response.setHeader('content-type', 'text/javascript')
    return fs.createReadStream(file).on('error', () => response.writeHead(404).end()).pipe(response)
  }
  response.setHeader('content-type', 'text/html; charset=utf-8')
  response.end('<!doctype html><title>shop</title><link rel="icon" href="data:,"><script src="/sdk/index.js"></script>')
})

class Chromium {
  constructor() {
    const flags = ['--remote-debugging-pipe', `--user-data-dir=${profile}`, '--no-sandbox', '--disable-gpu']
    flags.push('--headless', '--disable-dev-shm-usage', '--no-first-run', '--no-proxy-server', '--disable-background-networking')
    if (certificate) {
      // Trusts this one key. Chromium has no other way to be given a certificate without its own database of them.
      const key = new X509Certificate(fs.readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' })
      flags.push(`--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`)
    }
    this.child = spawn(browser, flags, { stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe'] })
    this.ended = new Promise((ended) => this.child.on('exit', ended))
    this.next = 0
    this.calls = new Map()
    this.sent = new Map()
    this.loaded = new Set()
    this.waiting = []
    let text = ''
    this.child.stdio[4].setEncoding('utf8').on('data', (data) => {
      const messages = (text + data).split('\0')
      text = messages.pop()
      for (const message of messages) this.take(JSON.parse(message))
    })
  }

  // Answers of the target are printed as they come, with the method of their request.
  take({ id, result, error, method, params }) {
    if (id !== undefined) {
      const call = this.calls.get(id)
      this.calls.delete(id)
      return error ? call.fail(new Error(error.message)) : call.done(result)
    }
    if (method === 'Network.requestWillBeSent') this.sent.set(params.requestId, params.request)
    if (method === 'Network.responseReceived' && params.response.url.startsWith(target)) {
      const { url, status, protocol } = params.response
      say({ answer: { method: this.sent.get(params.requestId)?.method, url, status, protocol } })
    }
    if (method === 'Network.loadingFailed' && this.sent.get(params.requestId)?.url.startsWith(target)) {
      const { method, url } = this.sent.get(params.requestId)
      say({ failed: { method, url, error: params.errorText } })
    }
    if (method === 'Page.lifecycleEvent' && params.name === 'load') this.loaded.add(params.loaderId)
    this.waiting = this.waiting.filter(({ is, done }) => !is(method) || done())
  }

  ask(method, params = {}, sessionId = undefined) {
    const id = this.next++
    this.child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0')
    return new Promise((done, fail) => this.calls.set(id, { done, fail }))
  }

  // Until `is` holds for the method of an event; what the event says has been noted then.
  happens(is) {
    return new Promise((done) => this.waiting.push({ is, done }))
  }
}

const main = async () => {
  await new Promise((listening) => files.listen(0, '127.0.0.1', listening))
  const page = `http://127.0.0.1:${files.address().port}/`
  const chromium = new Chromium()
  let targetId
  let session
  const load = async (url) => {
    const { loaderId } = await chromium.ask('Page.navigate', { url }, session)
    if (!chromium.loaded.has(loaderId)) await chromium.happens(() => chromium.loaded.has(loaderId))
  }
  const commands = {
    visit: async (what) => {
      targetId = (await chromium.ask('Target.createTarget', { url: 'about:blank' })).targetId
      session = (await chromium.ask('Target.attachToTarget', { targetId, flatten: true })).sessionId
      await chromium.ask('Page.enable', {}, session)
      await chromium.ask('Page.setLifecycleEventsEnabled', { enabled: true }, session)
      await chromium.ask('Network.enable', {}, session)
      await load(page)
      const expression = `(${visit})(${JSON.stringify({ writeKey, target, ...what })})`
      const call = { expression, awaitPromise: true, returnByValue: true }
      const { result, exceptionDetails } = await chromium.ask('Runtime.evaluate', call, session)
      if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails))
      for (const event of result.value) say({ event })
    },
    end: async (how) => {
      if (how === 'leave') await load(`${page}another`)
      if (how === 'close') {
        const closed = chromium.happens((method) => method === 'Target.detachedFromTarget')
        await chromium.ask('Target.closeTarget', { targetId })
        await closed
      }
    },
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [[word, what]] = Object.entries(JSON.parse(line))
    await commands[word](what)
    say({ done: word })
  }
  await chromium.ask('Browser.close')
  await chromium.ended
  files.close()
  files.closeAllConnections()
}
main().catch((error) => {
  console.error(error)
  process.exit(1)
})
