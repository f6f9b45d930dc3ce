// Every public method of dockerode, once: its name, and `ok` or the status and rule of the refusal. gates/raw-surface.sh compares.
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';

const require = createRequire(process.env.E2E_NODE + '/');
const Docker = require('dockerode');
const docker = new Docker({ timeout: 60000 });
const called = new Set();
const kinds = ['Container', 'Image', 'Volume', 'Network', 'Exec', 'Service', 'Task', 'Node', 'Secret', 'Config', 'Plugin'];
const methods = (o) => Object.getOwnPropertyNames(Object.getPrototypeOf(o)).filter((n) => n !== 'constructor');
const within = (what, ms = 30000) => Promise.race([what, new Promise((_, no) => setTimeout(() => no(new Error('took too long')), ms).unref())]);
const end = async (made) => { // streams are read to their end
  if (!made || typeof made.pipe !== 'function') return made;
  if (made.destroyAfter) { made.destroy(); return made; }
  made.resume();
  return within(new Promise((done, no) => { made.on('end', done); made.on('close', done); made.on('error', no); }));
};
async function call(of, method, ...args) {
  const kind = of.constructor.name;
  called.add(`${kind}.${method}`);
  try {
    const made = await within(of[method](...args));
    const kept = made && typeof made.pipe === 'function' && ['getEvents', 'stats', 'attach'].includes(method);
    if (kept) made.destroy(); else await end(made);
    console.log(`${kind}.${method} ok`);
    return made;
  } catch (error) {
    const message = String(error.json?.message ?? error.message);
    const rule = /\(rule ([a-z.-]+)\)/.exec(message)?.[1] ?? '-';
    console.log(`${kind}.${method} ${error.statusCode ?? 'error'} ${rule}`);
  }
}
const d = (method, ...args) => call(docker, method, ...args);

writeFileSync('Dockerfile', 'FROM busybox\nCMD true\n');
for (const method of ['ping', 'version', 'info', 'df', 'listContainers', 'listImages', 'listVolumes', 'listNetworks', 'listServices',
  'listNodes', 'listTasks', 'listSecrets', 'listConfigs', 'listPlugins', 'swarmInspect']) await d(method, {});
await d('getEvents', {});
await d('searchImages', { term: 'busybox' });
await d('checkAuth', { username: 'u', password: 'p', serveraddress: 'registry.invalid' });
await d('createImage', { fromImage: 'registry.invalid/x:y' });
await d('pull', 'registry.invalid/x:y');
await d('pullAll', { repoTags: ['registry.invalid/x:y'] });
await d('buildImage', { context: process.cwd(), src: ['Dockerfile'] }, { t: 'surface-built' });
await d('getImages', { names: ['busybox'] });
await d('loadImage', 'Dockerfile', {});
await d('importImage', 'Dockerfile', {});
await d('createVolume', { Name: 'surface-v', Labels: { a: 'b' } });
for (const method of ['inspect', 'remove']) await call(docker.getVolume('surface-v'), method, {});
await d('createNetwork', { Name: 'surface-n', CheckDuplicate: true, Labels: { a: 'b' } });
await d('createContainer', { name: 'surface-c', Image: 'busybox', Cmd: ['sleep', '3000'], HostConfig: { Init: true } });
const c = docker.getContainer('surface-c');
await call(c, 'attach', { stream: true, stdout: true, stderr: true });
await call(c, 'start', {});
for (const method of ['inspect', 'changes', 'top', 'pause', 'unpause']) await call(c, method, {});
await call(c, 'stats', { stream: false });
await call(c, 'logs', { stdout: true });
await call(c, 'resize', { h: 10, w: 10 });
await call(c, 'update', { Memory: 64 << 20, MemorySwap: 64 << 20 });
await call(c, 'getArchive', { path: '/etc/group' });
await call(c, 'infoArchive', { path: '/etc/group' });
await call(c, 'putArchive', Buffer.alloc(1024), { path: '/tmp' });
await call(c, 'copy', { Resource: '/etc/group' });
await call(c, 'export', {});
await call(c, 'commit', { repo: 'surface-i', tag: 't', comment: 'c', author: 'a', pause: true, changes: 'ENV a=b', Labels: { a: 'b' } });
const exec = await call(c, 'exec', { Cmd: ['true'], AttachStdout: true, Tty: false });
if (exec) {
  await call(exec, 'start', { hijack: true, stdin: false, Detach: false, Tty: false });
  await call(exec, 'inspect', {});
  await call(exec, 'resize', { h: 1, w: 1 });
}
await call(docker.getNetwork('surface-n'), 'inspect', {});
await call(docker.getNetwork('surface-n'), 'connect', { Container: 'surface-c' });
await call(docker.getNetwork('surface-n'), 'disconnect', { Container: 'surface-c', Force: true });
await call(docker.getNetwork('surface-n'), 'remove', {});
await call(c, 'listCheckpoint', {});
await call(c, 'createCheckpoint', { checkpointID: 'x' });
await call(c, 'deleteCheckpoint', 'x', {});
await call(c, 'rename', { name: 'surface-d' });
const e = docker.getContainer('surface-d');
await call(e, 'restart', { t: 0 });
await call(e, 'kill', { signal: 'KILL' });
await call(e, 'wait', {});
await call(e, 'stop', { t: 0 });
await call(e, 'remove', { force: true, v: true });
await d('run', 'busybox', ['true'], process.stderr, { HostConfig: { AutoRemove: true } });
for (const method of ['inspect', 'distribution']) await call(docker.getImage('surface-i:t'), method, {});
for (const method of ['history', 'get']) await call(docker.getImage('surface-i:t'), method); // (they take what is no callback for one)
await call(docker.getImage('surface-i:t'), 'tag', { repo: 'registry.invalid/x', tag: 'y' });
await call(docker.getImage('registry.invalid/x:y'), 'push', {});
for (const name of ['surface-i:t', 'registry.invalid/x:y', 'surface-built']) await call(docker.getImage(name), 'remove', { force: true });
for (const what of ['Images', 'Containers', 'Volumes', 'Networks', 'Builder']) await d(`prune${what}`, {});
// what needs a swarm or a plugin: is it refused, or does the engine say that it is none?
const spec = { Name: 'x', Labels: {}, TaskTemplate: { ContainerSpec: { Image: 'busybox' } } };
await d('createService', spec);
await d('createSecret', { Name: 'x', Data: 'eA==' });
await d('createConfig', { Name: 'x', Data: 'eA==' });
for (const kind of ['Service', 'Task', 'Node', 'Secret', 'Config']) {
  const one = docker[`get${kind}`]('x');
  for (const method of methods(one).filter((n) => ['inspect', 'logs', 'update', 'remove'].includes(n))) {
    await call(one, method, method === 'update' ? { ...spec, version: 1 } : {});
  }
}
await d('createPlugin', { name: 'registry.invalid/p', tarContext: 'Dockerfile' });
for (const method of ['inspect', 'privileges', 'enable', 'disable', 'configure', 'upgrade', 'push', 'pull', 'remove']) {
  const options = method === 'configure' ? ['A=b'] : { remote: 'registry.invalid/p', timeout: 1 };
  await call(docker.getPlugin('registry.invalid/p'), method, options);
}
await d('swarmJoin', { RemoteAddrs: ['127.0.0.1:1'], JoinToken: 'x', ListenAddr: '127.0.0.1:2377' });
await d('swarmUpdate', { version: 1 });
await d('swarmInit', { ListenAddr: '127.0.0.1:2377', AdvertiseAddr: '127.0.0.1' });
await d('swarmLeave', { force: true });
// made of the others, or without a call
const made = /^Docker\.(get(?!Images|Events)[A-Z][a-z]+|followProgress|runCallback|runPromise)$/;
const all = [[docker, 'Docker'], ...kinds.map((kind) => [docker[`get${kind}`]('x'), kind])];
for (const [of, kind] of all) for (const method of methods(of)) {
  const name = `${kind}.${method}`;
  if (!called.has(name) && !made.test(name)) console.log(`${name} not-called -`);
}
process.exit(0);
