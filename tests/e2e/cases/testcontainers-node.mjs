// e2e: netns=yes
// testcontainers for Node 10.28, without Ryuk; paths without a version, hijack without Upgrade.
import { createRequire } from 'node:module';
import { mkdirSync, writeFileSync } from 'node:fs';

process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';
process.env.TESTCONTAINERS_HOST_OVERRIDE = 'localhost'; // or it pulls an image to find out
const require = createRequire(process.env.E2E_NODE + '/');
const { GenericContainer, Network, Wait } = require('testcontainers');

// testcontainers unrefs the sockets of logs: without this the process may end while it waits for a line
const alive = setInterval(() => {}, 1000);

const network = await new Network().start();
const web = await new GenericContainer('busybox')
  .withCommand(['sh', '-c', 'echo served > /index.html; httpd -p 80 -h /; echo ready; exec sleep 3000'])
  .withNetwork(network).withNetworkAliases('web').withExposedPorts(80)
  .withCopyContentToContainer([{ content: 'copied', target: '/copied' }])
  .withWaitStrategy(Wait.forLogMessage('ready'))
  .withStartupTimeout(120000)
  .start();
let result = await web.exec(['cat', '/index.html', '/copied']);
console.log('exec', result.exitCode, JSON.stringify(result.output));
result = await web.exec(['sh', '-c', 'echo no >&2; exit 3']);
console.log('exec', result.exitCode, JSON.stringify(result.output));
const answer = await fetch(`http://${web.getHost()}:${web.getMappedPort(80)}/index.html`);
console.log('port', answer.status, JSON.stringify(await answer.text()));
const logs = await web.logs();
console.log('logs', await new Promise((found) => logs.on('data', (line) => found(JSON.stringify(String(line).trim())))));
logs.destroy();
console.log('stopping');
await web.stop();

mkdirSync('ctx');
writeFileSync('ctx/Dockerfile', 'FROM busybox\nRUN echo built > /b\nCMD ["sh", "-c", "cat /b; exec sleep 3000"]\n');
const built = await GenericContainer.fromDockerfile('ctx').build('tc-node:1', { deleteOnExit: false });
const c = await built.withWaitStrategy(Wait.forLogMessage('built')).withStartupTimeout(120000).start();
console.log('built', (await c.exec(['cat', '/b'])).output.trim());
await c.stop();
await network.stop();
clearInterval(alive);
