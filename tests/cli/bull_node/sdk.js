// A Node application with one of the real SDKs: node sdk.js SETTINGS. It tracks events into a queue of Bull's, writes on one line
// what it has tracked, and is then killed, or goes on as a processor of that queue.
//
// SETTINGS is JSON:
//   sdk        the package, or the path of its main file
//   label      what the ids of the events begin with, where it is not the package
//   redis      ioredis options
//   writeKey, queueName, prefix
//   url        the data plane's
//   batches    how many jobs; each has three events
//   offset     the number of the first one, in the ids of its events
//   delayed    how many of them Bull is to keep for an hour
//   paused     the queue is paused afterwards
//   odd        "function": an event holds one; "large": an event has 40,000 characters; "long": a batch has 500,000
//   attempts   the SDK's maxAttempts
//   repaired   without the fault that ends the process when a delivery fails
//   until      "stored": end when all jobs are stored; "failed": when all have failed; "killed": go on as a processor
const settings = JSON.parse(process.argv[2]);
const Analytics = require(settings.sdk);

const perBatch = 3;
const options = {
  dataPlaneUrl: settings.url,
  flushAt: perBatch,
  flushInterval: 3600000,
  maxQueueSize: 1 << 30,
  logLevel: 'none',
  retryCount: 0,
};
const client = settings.label === 'rudder-sdk-node-1.1.5'
  ? new Analytics(settings.writeKey, `${settings.url}/v1/batch`, options)
  : new Analytics(settings.writeKey, options);
if (settings.until === 'stored') client.addPersistentQueueProcessor = () => {}; // another process would deliver
if (settings.repaired) Object.getPrototypeOf(setTimeout(() => {}, 0)).logger = client.logger;
client.flushed = true; // otherwise the first event is a batch of its own

// What the SDK would send, which is what must arrive: it changes these objects until it stores them.
const tracked = [];
const push = client.queue.push.bind(client.queue);
client.queue.push = (item) => {
  tracked.push(item.message);
  return push(item);
};

function track(batch, place) {
  const messageId = `${settings.label || settings.sdk}-${batch + (settings.offset || 0)}-${place}`;
  const properties = {
    batch,
    price: 0.1,
    large: 1e21,
    nothing: undefined,
    nan: NaN,
    when: new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6)),
    list: [undefined, Infinity, null, { first: undefined, last: undefined }],
    site: new URL('https://shop.example/a?b=c&d="e"'),
    text: '</script> "quoted" \\ \u2028 \u{1f600} new Date("x") undefined',
  };
  if (settings.odd === 'function' && place === 1) properties.f = () => 'not data';
  if (settings.odd === 'large' && place === 1) properties.text = 'x'.repeat(40000);
  if (settings.odd === 'long') properties.text = 'x'.repeat(250000);
  const message = { userId: `user ${place}`, messageId, context: { ip: '192.0.2.1' } };
  if (place === 0) client.identify({ ...message, traits: { email: 'a@b.example' } });
  else client.track({ ...message, event: 'Order "Completed"', properties, timestamp: new Date(0) }, (error) => { tracked.error = error; });
}

async function arrange() {
  const queue = client.pQueue;
  const jobs = await queue.getWaiting(0, (settings.delayed || 0) - 1);
  for (const job of settings.delayed ? jobs : []) {
    await queue.add(job.data, { delay: 3600000 });
    await job.remove();
  }
  if (settings.paused) await queue.pause();
}

async function report() {
  const counts = await client.pQueue.getJobCounts();
  const stored = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const isDone = settings.until === 'failed' ? counts.failed >= settings.batches : stored >= settings.batches;
  if (!isDone) return setTimeout(report, 10);
  await arrange();
  process.stdout.write(`${JSON.stringify(tracked)}\n`, () => {
    if (settings.until !== 'killed') process.kill(process.pid, 'SIGKILL');
  });
}

const queueOpts = {
  queueName: settings.queueName,
  prefix: settings.prefix,
  isMultiProcessor: true,
  redisOpts: settings.redis,
  jobOpts: { maxAttempts: settings.attempts },
};
client.createPersistenceQueue(queueOpts, (error) => {
  if (error) throw error;
  for (let batch = 0; batch < settings.batches; batch += 1) {
    for (let place = 0; place < perBatch; place += 1) track(batch, place);
  }
  report();
});
