// What the API server asks of a kubelet when somebody calls `kubectl logs` or `kubectl exec`: logs over HTTPS, commands
// over a WebSocket (subprotocol v5.channel.k8s.io, which API servers pass through to nodes that declare it).

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Leaf } from '../certificates.ts';
import type { Closable } from '../lifetime.ts';

interface PodName {
  namespace: string;
  name: string;
}

interface Parts {
  address: string;
  leaf: Leaf;
  /** Null where the pod has no log. */
  log(pod: PodName): string | null;
  execute(
    pod: PodName,
    command: readonly string[],
    write: (stream: 'stdout' | 'stderr', chunk: Buffer) => void,
  ): Promise<{ code: number }>;
}

export interface Kubelet extends Closable {
  port: number;
}

/** `/containerLogs/NAMESPACE/POD/CONTAINER` and `/exec/NAMESPACE/POD/CONTAINER`. */
function readTarget(url: string) {
  const { pathname, searchParams } = new URL(url, 'https://kubelet');
  const [, what, namespace, name] = pathname.split('/');
  return { what, pod: { namespace: namespace!, name: name! }, searchParams };
}

const lastLines = (text: string, count: number) =>
  text.split('\n').slice(0, -1).slice(-count).join('\n').concat('\n');

function answerLogs(parts: Parts, request: IncomingMessage, response: ServerResponse): void {
  const { what, pod, searchParams } = readTarget(request.url!);
  const log = what === 'containerLogs' ? parts.log(pod) : null;
  if (log === null) {
    response.writeHead(404).end();
    return;
  }
  const tail = searchParams.get('tailLines');
  response.end(tail === null ? log : lastLines(log, Number(tail)));
}

const channels = { stdout: 1, stderr: 2, error: 3 } as const;

const frame = (channel: keyof typeof channels, data: Buffer) =>
  Buffer.concat([Buffer.from([channels[channel]]), data]);

/** As kubectl reads it: metav1.Status. */
const statusOf = (code: number) =>
  code === 0
    ? { status: 'Success' }
    : {
        status: 'Failure',
        reason: 'NonZeroExitCode',
        message: `command terminated with non-zero exit code: exit status ${code}`,
        details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
      };

async function answerExec(parts: Parts, request: IncomingMessage, socket: WebSocket): Promise<void> {
  const { pod, searchParams } = readTarget(request.url!);
  const write = (stream: 'stdout' | 'stderr', chunk: Buffer) => socket.send(frame(stream, chunk));
  const { code } = await parts.execute(pod, searchParams.getAll('command'), write);
  socket.send(frame('error', Buffer.from(JSON.stringify({ metadata: {}, ...statusOf(code) }))));
  socket.close(1000);
}

export async function startKubelet(parts: Parts): Promise<Kubelet> {
  const server = https.createServer({ ...parts.leaf }, (request, response) =>
    answerLogs(parts, request, response),
  );
  const sockets = new WebSocketServer({
    server,
    handleProtocols: offered => (offered.has('v5.channel.k8s.io') ? 'v5.channel.k8s.io' : false),
  });
  sockets.on('connection', (socket, request) => {
    void answerExec(parts, request, socket).catch(error => socket.close(1011, String(error).slice(0, 100)));
  });
  server.listen(0, parts.address);
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    async close() {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      await new Promise(done => server.close(done));
    },
  };
}
