// SPDX-License-Identifier: Apache-2.0
// Node's EventSource as a process of its own: prints each event as one line of JSON.
//   node eventsource.js MODULE URL CA-FILE EVENT...
const [module_path, url, ca, ...events] = process.argv.slice(2);
const EventSource = require(module_path);
const source = new EventSource(url, { https: { ca: require('fs').readFileSync(ca) } });
const tell = (e) => console.log(JSON.stringify({ type: e.type, data: e.data, id: e.lastEventId }));
for (const name of ['stream-open', 'stream-reset', 'stream-end', ...events]) source.addEventListener(name, tell);
