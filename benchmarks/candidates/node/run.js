// The Node SDK in its persistence mode: `run.js EVENTS FLUSH_AT SINK_URL QUEUE_URL`. Prints one JSON object.
//
// NODE_PATH says where the packages are. The first event, which the SDK sends alone, is not measured; what follows are
// whole batches, so that the SDK's flush timer plays no part.

'use strict';

const Analytics = require('@rudderstack/rudder-sdk-node');

const WARM = 90000000; // an order that is not counted
const CONTEXT = { ip: '10.1.2.3', userAgent: 'Mozilla/5.0 (X11; Linux x86_64)' };

/** The event of event.py. */
function event(number) {
  return {
    userId: 'user_12345',
    event: 'Order Completed',
    properties: {
      order_id: `o-${String(number).padStart(8, '0')}`,
      total: 129.97,
      revenue: 99.99,
      tax: 9.9,
      shipping: 5.0,
      currency: 'USD',
      coupon: 'SUMMER',
      products: [
        { sku: 'A-1', price: 19.5, qty: 1 },
        { sku: 'B-2', price: 45.14, qty: 2 },
      ],
    },
    context: { ...CONTEXT },
  };
}

/** What ioredis takes for a redis:// or unix:// URL. */
function redisOpts(address) {
  const url = new URL(address);
  if (url.protocol === 'unix:') return { path: url.pathname, db: Number(url.searchParams.get('db') || 0) };
  return { host: url.hostname, port: Number(url.port || 6379), db: Number(url.pathname.slice(1) || 0) };
}

function track(client, number) {
  return new Promise((resolve, reject) => {
    client.track(event(number), (error) => (error ? reject(error) : resolve()));
  });
}

async function main(events, flushAt, sink, queue) {
  const client = new Analytics('key', { dataPlaneUrl: sink, flushAt, logLevel: 'none' });
  await new Promise((resolve, reject) => {
    client.createPersistenceQueue({ redisOpts: redisOpts(queue) }, (error) => (error ? reject(error) : resolve()));
  });
  await track(client, WARM);
  const used = process.cpuUsage();
  const begin = process.hrtime.bigint();
  const delivered = [];
  for (let number = 0; number < events; number += 1) {
    delivered.push(track(client, number));
    if ((number + 1) % flushAt === 0) await new Promise(setImmediate);
  }
  await Promise.all(delivered);
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
  const { user, system } = process.cpuUsage(used);
  console.log(
    JSON.stringify({
      events_per_second: events / seconds,
      cpu_seconds_per_100k: ((user + system) / 1e6 / events) * 1e5,
      node: process.versions.node,
      sdk: require('@rudderstack/rudder-sdk-node/package.json').version,
      bull: require('bull/package.json').version,
    }),
  );
  process.exit(0);
}

main(Number(process.argv[2]), Number(process.argv[3]), process.argv[4], process.argv[5]).catch((error) => {
  console.error(error);
  process.exit(1);
});
