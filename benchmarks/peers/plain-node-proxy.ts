// A peer of the benchmark: the proxy one writes in an hour with Node's own modules. Names from a list, tunnels by
// `connect` and pipe, requests by http.request with kept connections, a log line for each. Nothing of it is used by the
// gateway, and it refuses nothing but other names.

import cluster from 'node:cluster';
import { createWriteStream, readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { availableParallelism } from 'node:os';

interface Settings {
  port: number;
  threads: 1 | 'all';
  log: string;
  /** Allowed names and their addresses. */
  hosts: Record<string, string>;
}

function serve(settings: Settings): void {
  const hosts = new Map(Object.entries(settings.hosts));
  const log = createWriteStream(settings.log, { flags: 'a' });
  const agent = new http.Agent({ keepAlive: true });
  const record = (facts: object) => void log.write(`${JSON.stringify({ time: Date.now(), ...facts })}\n`);

  const server = http.createServer((request, response) => {
    const url = new URL(request.url!);
    const host = hosts.get(url.hostname);
    if (host === undefined) return void response.writeHead(403).end();
    const { method, headers } = request;
    const options = { host, port: url.port, path: url.pathname + url.search, method, headers, agent };
    const upstream = http.request(options, answer => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
      response.on('close', () =>
        record({ method: request.method, url: request.url, status: answer.statusCode }),
      );
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });

  server.on('connect', (request, client: net.Socket, head) => {
    const [name, port] = request.url!.split(':');
    const host = hosts.get(name!);
    if (host === undefined) return void client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    const origin = net.connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true }, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      if (head.length > 0) origin.write(head);
      client.pipe(origin);
      origin.pipe(client);
    });
    origin.on('error', () => client.destroy());
    client.on('error', () => origin.destroy());
    client.on('close', () => record({ url: request.url, up: client.bytesRead, down: client.bytesWritten }));
  });

  server.listen({ port: settings.port, host: '127.0.0.1', backlog: 4096 });
}

const settings = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Settings;
if (settings.threads === 1 || !cluster.isPrimary) serve(settings);
else for (let i = 0; i < availableParallelism(); i++) cluster.fork();
