// Sends events through an unmodified @segment/analytics-node and prints what the SDK delivered, one JSON object a line.
//
// Usage: node send.js PACKAGE HOST WRITE_KEY TRACKS
// Lives outside node_modules: the package is found through NODE_PATH. Exits 1 when the SDK reports an error.
const [packageName, host, writeKey, tracks] = process.argv.slice(2)
const { Analytics } = require(packageName)

const analytics = new Analytics({ writeKey, host, maxEventsInBatch: 15, flushInterval: 100 })
const failures = []
analytics.on('error', (error) => failures.push(error))

// The callback's context holds the event as the SDK completed it: its own id, timestamp and library are in there.
const print = (error, context) => (error ? failures.push(error) : console.log(JSON.stringify(context.event)))

const userId = 'user-1'
analytics.identify({ userId, traits: { email: 'a@example.com', plan: 'pro', größe: 'läng' } }, print)
analytics.track(
  { userId, event: 'Order Completed', properties: { total: 12.5, products: [{ sku: 'a', n: 1 }] }, timestamp: new Date('2026-02-03T04:05:06.789Z') },
  print
)
analytics.page({ userId, category: 'Docs', name: 'Install', properties: { url: 'https://example.com/a?b=c&d=<e>', none: null } }, print)
analytics.screen({ userId, category: 'Main', name: 'Settings', properties: { tab: 3 } }, print)
analytics.group({ userId, groupId: 'group-7', traits: { name: 'Initech', employees: 329 } }, print)
analytics.alias({ userId, previousId: 'anonymous-1' }, print)
analytics.track({ anonymousId: 'anonymous-2', event: 'Anonymous', context: { ip: '203.0.113.9', locale: 'de' } }, print)
analytics.track({ userId, event: 'Text', properties: { quote: 'a "b" \\ / \u0000 \u2028', big: 1e21, deep: { a: { b: [[], {}, 0.30000000000000004] } } } }, print)
analytics.track({ userId, event: 'Lone Surrogate', properties: { text: 'before \ud800 after' } }, print)
analytics.track({ userId, event: 'Own Id', messageId: 'own-id-äöü' }, print)

const send = async () => {
  for (let n = 0; n < Number(tracks); n++) {
    analytics.track({ userId: `user-${n % 17}`, event: 'Step', properties: { n, half: n / 2, text: 'x'.repeat(n % 300) } }, print)
    // Lets the batches go out as they fill: the SDK gives up on what waits too long in its own queue.
    if (n % 60 === 59) await new Promise(setImmediate)
  }
  await analytics.closeAndFlush()
  if (failures.length) {
    console.error(`not delivered: ${failures.length}`, failures[0])
    process.exit(1)
  }
}
send()
