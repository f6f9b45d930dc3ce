// Which chains Node takes, by TLS with itself: a line for each case of the folder. `verify.py` runs it.
const fs = require("fs");
const net = require("net");
const tls = require("tls");

const folder = process.argv[2];
const read = (name) => fs.readFileSync(`${folder}/${name}`);

function outcome(name, host) {
  return new Promise((resolve) => {
    const server = tls.createServer({ cert: read(`${name}.chain.pem`), key: read(`${name}.key.pem`) });
    server.on("tlsClientError", () => {});
    server.on("secureConnection", (socket) => socket.on("error", () => {}));
    server.listen(0, "127.0.0.1", () => {
      const options = { port: server.address().port, host: "127.0.0.1", ca: read("bundle.pem") };
      if (net.isIP(host)) {
        // Without a name in the handshake, and checked as an address.
        options.checkServerIdentity = (_, certificate) => tls.checkServerIdentity(host, certificate);
      } else {
        options.servername = host;
      }
      const end = (line) => {
        client.destroy();
        server.close(() => resolve(line));
      };
      const client = tls.connect(options, () => end(`${name} accept`));
      client.on("error", (error) => end(`${name} reject ${error.code} ${error.message}`));
    });
  });
}

(async () => {
  for (const line of read("cases").toString().trim().split("\n")) {
    const [name, host] = line.split(" ");
    console.log(await outcome(name, host));
  }
})();
