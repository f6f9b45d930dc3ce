// dockerode 5: it posts a body on attach, repeats the create body in the query, and hijacks with and without Upgrade.
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { writeFileSync } from 'node:fs';

const require = createRequire(process.env.E2E_NODE + '/');
const Docker = require('dockerode');
const docker = new Docker({ socketPath: process.env.E2E_SOCK, timeout: 120000 });
const say = (...words) => console.log(...words.map((w) => (typeof w === 'string' ? w : JSON.stringify(w))));
const collect = (stream) => new Promise((done, failed) => {
  const parts = [];
  stream.on('data', (d) => parts.push(d));
  stream.on('end', () => done(Buffer.concat(parts).toString()));
  stream.on('error', failed);
});
const follow = (stream) => new Promise((done, failed) =>
  docker.modem.followProgress(stream, (error, output) => (error ? failed(error) : done(output))));
const demuxed = (stream) => {
  const out = new PassThrough();
  const err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return Promise.all([collect(out), collect(err)]);
};

say('ping', String(await docker.ping()));
say('version', (await docker.version()).ApiVersion);
say('info', (await docker.info()).ServerVersion);
await docker.getContainer('nosuch').inspect().catch((e) => say('error', e.statusCode, e.json));

// the body of attach must not become the container's stdin
for (const hijack of [true, false]) {
  const c = await docker.createContainer({
    Image: 'busybox', Cmd: ['sh', '-c', 'cat; echo tail; echo err >&2'], Env: ['SECRET=s3cr3t'],
    AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true, Tty: false,
  });
  const stream = await c.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack });
  const output = demuxed(stream);
  await c.start();
  if (hijack) {
    stream.write('typed\n');
    stream.end();
    say('attach', { hijack }, await output, await c.wait());
  } else {
    // without hijack there is no way to end stdin: kill what waits for it
    await new Promise((r) => setTimeout(r, 500));
    await c.kill();
    say('attach', { hijack }, await output);
  }
  await c.remove();
}

const out = new PassThrough();
const text = collect(out);
const [status, ran] = await docker.run('busybox', ['sh', '-c', 'echo from run; exit 3'], out, { name: 'dr1' });
say('run', status, await text); // (its stream ends what it was given)
await ran.remove();

const c = await docker.createContainer({ Image: 'busybox', Cmd: ['sleep', '60'], name: 'dr2', HostConfig: { Init: true } });
await c.start();
for (const hijack of [true, false]) {
  const exec = await c.exec({ Cmd: ['sh', '-c', hijack ? 'cat; echo tail' : 'echo no stdin; echo e >&2'], AttachStdin: hijack, AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({ hijack, stdin: hijack });
  const output = demuxed(stream);
  if (hijack) {
    stream.write('typed into exec\n');
    stream.end();
  }
  say('exec', { hijack }, await output, (await exec.inspect()).ExitCode);
}
const tty = await c.exec({ Cmd: ['sh', '-c', 'stty size; tty'], AttachStdout: true, Tty: true });
const ttyStream = await tty.start({ Tty: true });
say('exec tty', await collect(ttyStream));
say('stats', (await c.stats({ stream: false })).name);
say('top', (await c.top()).Processes.length);
const archive = await c.getArchive({ path: '/etc/group' });
say('archive', (await collect(archive)).includes('nogroup'));
await c.kill();
await c.remove();

const logged = await docker.createContainer({ Image: 'busybox', Cmd: ['sh', '-c', 'for i in 1 2 3; do echo line $i; sleep 0.2; done'] });
await logged.start();
say('logs', await demuxed(await logged.logs({ follow: true, stdout: true, stderr: true })));
await logged.wait(); // the log ends a little before the container does
await logged.remove();

writeFileSync('Dockerfile', 'FROM busybox\nRUN echo built > /b\nCMD cat /b\n');
const built = await follow(await docker.buildImage({ context: process.cwd(), src: ['Dockerfile'] }, { t: 'dr-image' }));
say('build', built.some((l) => /Successfully tagged dr-image/.test(l.stream || '')));
writeFileSync('Dockerfile', 'FROM busybox\nRUN exit 7\n');
await docker.buildImage({ context: process.cwd(), src: ['Dockerfile'] }, {}).then(follow)
  .then((l) => say('failed build', l.at(-1).error), (e) => say('failed build', e.message));

const events = await docker.getEvents({ filters: { type: ['volume'] } });
const first = new Promise((seen) => events.once('data', (d) => seen(JSON.parse(String(d).split('\n')[0]))));
let event;
for (let i = 0; i < 600 && !event; i++) {
  await (await docker.createVolume({ Name: 'dr-v' })).inspect();
  await docker.getVolume('dr-v').remove();
  event = await Promise.race([first, new Promise((r) => setTimeout(r, 100))]);
}
say('event', event.Type, event.Actor.ID);
events.destroy();
const images = await docker.listImages();
say('images', images.flatMap((i) => i.RepoTags || []).sort());
