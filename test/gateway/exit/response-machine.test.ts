// The machine that reads responses of origins: what it takes, what it refuses, and that it does not matter how the
// bytes are cut. Beside it Node's own parser, which must see the same in whatever the machine takes.

import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { ResponseMachine } from '../../../gateway/exit/response-machine.ts';
import type { Failure } from '../../../gateway/session/failure.ts';

interface Seen {
  information: number[];
  status: number;
  reason: string;
  fields: string[];
  body: string;
  trailers: string[];
  /** `whole`, or the kind of the failure. */
  end: string;
  keepAlive: boolean;
}

/** What a machine tells of a response that comes in these pieces, after which the origin closes if `closes`. */
function read(pieces: readonly Buffer[], { method = 'GET', closes = true } = {}): Seen {
  const seen: Seen = {
    information: [],
    status: 0,
    reason: '',
    fields: [],
    body: '',
    trailers: [],
    end: 'unfinished',
    keepAlive: false,
  };
  const machine = new ResponseMachine();
  machine.begin(method, {
    information: head => void seen.information.push(head.status),
    head: head => void Object.assign(seen, head),
    data(chunk) {
      seen.body += chunk.toString('latin1');
      return true;
    },
    end: trailers => void Object.assign(seen, { trailers, end: 'whole' }),
  });
  try {
    for (const piece of pieces) if (!machine.idle) machine.push(piece);
    if (closes && !machine.idle) machine.close();
  } catch (error) {
    seen.end = (error as Failure).kind;
  }
  return { ...seen, keepAlive: machine.keepAlive };
}

const bytes = (text: string) => Buffer.from(text, 'latin1');
const head = (...lines: string[]) => `HTTP/1.1 200 OK\r\n${lines.map(line => `${line}\r\n`).join('')}\r\n`;
const whole = { end: 'whole' };
const refused = { end: 'origin-protocol' };
const cutShort = { end: 'origin-closed' };

type Case = [what: string, response: string, wanted: Partial<Seen>, method?: string];

const cases: Case[] = [
  ['a length', `${head('Content-Length: 2')}ok`, { ...whole, body: 'ok', keepAlive: true }],
  ['no content', head('Content-Length: 0'), { ...whole, body: '', keepAlive: true }],
  [
    'chunks',
    `${head('Transfer-Encoding: chunked')}2\r\nok\r\n1\r\n!\r\n0\r\n\r\n`,
    { ...whole, body: 'ok!' },
  ],
  [
    'chunks with extensions',
    `${head('Transfer-Encoding: chunked')}2;a=b\r\nok\r\n0;c\r\n\r\n`,
    { body: 'ok' },
  ],
  [
    'trailers',
    `${head('Transfer-Encoding: Chunked')}0\r\nX-A: 1\r\nX-B:\t2 \r\n\r\n`,
    { ...whole, trailers: ['X-A', '1', 'X-B', '2'] },
  ],
  ['until the end', `${head('X-A: 1')}all of it`, { ...whole, body: 'all of it', keepAlive: false }],
  [
    'Connection: close',
    `${head('Connection: X, Close', 'Content-Length: 0')}`,
    { ...whole, keepAlive: false },
  ],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1', { ...whole, keepAlive: false }],
  [
    'HTTP/1.0 kept',
    'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1',
    { ...whole, keepAlive: true },
  ],
  ['no reason', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', { ...whole, reason: '' }],
  ['an empty reason', 'HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n', { ...whole, reason: '' }],
  [
    'NBSP is of the value',
    head('X-A: \xa0a\xa0 ', 'Content-Length: 0'),
    { fields: ['X-A', '\xa0a\xa0', 'Content-Length', '0'] },
  ],
  ['HEAD', head('Content-Length: 1000'), { ...whole, keepAlive: true }, 'HEAD'],
  ['HEAD and chunked', head('Transfer-Encoding: chunked'), { ...whole, keepAlive: true }, 'HEAD'],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', { ...whole, status: 204, keepAlive: true }],
  ['304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', { ...whole, keepAlive: true }],
  [
    'interim responses',
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${head('Content-Length: 0')}`,
    { ...whole, information: [100, 103] },
  ],
  [
    'more than the length',
    `${head('Content-Length: 2')}okHTTP/1.1 200 OK\r\n`,
    { body: 'ok', keepAlive: false },
  ],
  ['more than the chunks', `${head('Transfer-Encoding: chunked')}0\r\n\r\nx`, { ...whole, keepAlive: false }],

  ['less than the length', `${head('Content-Length: 3')}ok`, cutShort],
  ['no last chunk', `${head('Transfer-Encoding: chunked')}2\r\nok\r\n`, cutShort],
  ['no end of trailers', `${head('Transfer-Encoding: chunked')}0\r\nX-A: 1\r\n`, cutShort],
  ['half a head', 'HTTP/1.1 200 OK\r\nX-A', cutShort],
  ['nothing', '', cutShort],

  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n', refused],
  ['another version', 'HTTP/2.0 200 OK\r\n\r\n', refused],
  ['two lengths', head('Content-Length: 1', 'Content-Length: 1'), refused],
  ['a list of lengths', head('Content-Length: 1, 1'), refused],
  ['a signed length', head('Content-Length: +1'), refused],
  ['a length and chunks', head('Content-Length: 1', 'Transfer-Encoding: chunked'), refused],
  ['another coding', head('Transfer-Encoding: gzip, chunked'), refused],
  ['chunks twice', head('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), refused],
  ['chunks of HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', refused],
  ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n', refused],
  ['a folded field', head('X-A: 1\r\n 2', 'Content-Length: 0'), refused],
  ['a blank before the colon', head('Content-Length : 0'), refused],
  ['no name', head(': 1'), refused],
  ['a control byte', head('X-A: \x01', 'Content-Length: 0'), refused],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n', refused],
  ['a switch that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n', refused],
  ['a size that is none', `${head('Transfer-Encoding: chunked')}x\r\n`, refused],
  ['a size with a sign', `${head('Transfer-Encoding: chunked')}-1\r\n`, refused],
  ['a size with 0x', `${head('Transfer-Encoding: chunked')}0x1\r\na\r\n0\r\n\r\n`, refused],
  ['a chunk without its end', `${head('Transfer-Encoding: chunked')}2\r\nokay\r\n`, refused],
  ['a bare LF after a size', `${head('Transfer-Encoding: chunked')}2\nok\r\n0\r\n\r\n`, refused],
  ['malformed trailers', `${head('Transfer-Encoding: chunked')}0\r\nX A: 1\r\n\r\n`, refused],
];

for (const [what, response, wanted, method] of cases) {
  test(`${what}: ${JSON.stringify(wanted)}`, t => {
    t.like(read([bytes(response)], { method: method ?? 'GET' }), wanted);
  });

  test(`${what}: however the bytes are cut`, t => {
    const all = bytes(response);
    const atOnce = read([all], { method: method ?? 'GET' });
    const cutsOf = fc.array(fc.nat({ max: all.length }), { maxLength: 6 });
    const cutBytes = (cuts: readonly number[]) => {
      const at = [0, ...cuts.toSorted((one, other) => one - other), all.length];
      const pieces = at.slice(1).map((end, i) => all.subarray(at[i], end));
      return pieces.filter(piece => piece.length > 0);
    };
    const compare = (pieces: Buffer[]) => {
      const cut = read(pieces, { method: method ?? 'GET' });
      // What comes after the end in a piece of its own is for whoever has the connection to notice.
      t.deepEqual({ ...cut, keepAlive: null }, { ...atOnce, keepAlive: null });
    };
    compare(Array.from(all, (_, i) => all.subarray(i, i + 1)));
    fc.assert(
      fc.property(cutsOf, cuts => compare(cutBytes(cuts))),
      { numRuns: 30 },
    );
  });
}

test('a head, a chunk line and trailers have limits', t => {
  const long = 'a'.repeat(70_000);
  t.like(read([bytes(`HTTP/1.1 200 OK\r\nX-A: ${long}`)], { closes: false }), refused);
  t.like(read([bytes(`HTTP/1.1 200 OK\r\nX-A: ${long}\r\n\r\n`)]), refused);
  t.like(read([bytes(`${head('Transfer-Encoding: chunked')}1;${long}`)], { closes: false }), refused);
  t.like(read([bytes(`${head('Transfer-Encoding: chunked')}0\r\nX-A: ${long}`)], { closes: false }), refused);
});

test('a handler that stops the machine hears no more', t => {
  const heard: string[] = [];
  const machine = new ResponseMachine();
  machine.begin('GET', {
    information() {},
    head: () => void heard.push('head'),
    data() {
      heard.push('data');
      machine.stop();
      return true;
    },
    end: () => void heard.push('end'),
  });
  machine.push(bytes(`${head('Content-Length: 2')}ok`));
  machine.push(bytes('more'));
  t.deepEqual(heard, ['head', 'data']);
});

/** What Node's client makes of the same bytes. */
async function readByNode(t: ExecutionContext, response: string, method: string): Promise<Seen | 'error'> {
  const server = net.createServer(socket => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(bytes(response)));
  });
  t.teardown(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return new Promise(resolve => {
    const information: number[] = [];
    const request = http.request({ port, method, agent: false });
    request.on('information', info => information.push(info.statusCode));
    request.on('continue', () => {});
    request.on('error', () => resolve('error'));
    request.on('response', incoming => {
      let body = '';
      incoming.setEncoding('latin1').on('data', text => {
        body += text;
      });
      incoming.on('error', () => resolve('error'));
      incoming.on('end', () =>
        resolve({
          information,
          status: incoming.statusCode!,
          reason: incoming.statusMessage!,
          fields: incoming.rawHeaders,
          body,
          trailers: incoming.rawTrailers,
          end: 'whole',
          keepAlive: false,
        }),
      );
    });
    request.end();
  });
}

test('what the machine takes, Node takes for the same', async t => {
  for (const [what, response, , method = 'GET'] of cases) {
    const seen = read([bytes(response)], { method });
    if (seen.end !== 'whole') continue;
    const byNode = await readByNode(t, response, method);
    if (byNode === 'error') t.true(what.startsWith('more than'), `${what}: Node refuses it`);
    else t.deepEqual({ ...byNode, keepAlive: seen.keepAlive }, seen, what);
  }
});
