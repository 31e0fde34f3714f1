// The server name in a TLS ClientHello, as a byte machine: bytes in; "need more", or what was seen. It reads across
// records and fragments (RFC 8446 section 5.1), since a hello cut in two is the oldest way around such a check, and
// is bounded. It decides nothing and changes no byte.

/** What the first bytes of a client were. */
export interface Hello {
  /**
   * `tls`: a whole ClientHello. `other`: not TLS. `unreadable`: begins as TLS and is then malformed, too long or too
   * slow; to policy that is a hello without a server name.
   */
  kind: 'tls' | 'other' | 'unreadable';
  /** server_name (RFC 6066 section 3) as sent, or null. */
  serverName: string | null;
  /**
   * Whether encrypted_client_hello (RFC 9849) was offered. The name above is then the outer one: equal to the name
   * asked for it is taken at its word, else it does not match. Browsers send the extension as grease, too.
   */
  encryptedHello: boolean;
}

/** Most bytes of a hello, record headers included. Today's are 500 to 2,000; post-quantum key shares may grow. */
export const mostHelloBytes = 32 * 1024;

const recordHandshake = 0x16;
const handshakeClientHello = 1;
const extensionServerName = 0;
const extensionEncryptedHello = 0xfe0d;
const nameTypeHost = 0;
/** TLSPlaintext.length, RFC 8446 section 5.1. */
const mostRecordBytes = 16_384;

const other: Hello = { kind: 'other', serverName: null, encryptedHello: false };
const unreadable: Hello = { kind: 'unreadable', serverName: null, encryptedHello: false };

/** Reading past the end or a value that may not be; the hello is unreadable. */
class Malformed extends Error {}

/** A cursor over bytes that fails instead of reading what is not there. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Buffer {
    if (length > this.left) throw new Malformed();
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  number(bytes: 1 | 2 | 3): number {
    return this.take(bytes).readUIntBE(0, bytes);
  }

  /** A vector with its length before it (RFC 8446 section 3.4). */
  vector(lengthBytes: 1 | 2): Reader {
    return new Reader(this.take(this.number(lengthBytes)));
  }
}

/** Takes a client's first bytes as they come. `push` gives null until it can tell. Each byte is looked at once. */
export class ClientHelloMachine {
  #total = 0;
  /** Of the record header under way, RFC 8446 section 5.1: type, version, length. */
  readonly #header = Buffer.alloc(5);
  #headerBytes = 0;
  #recordLeft = 0;
  /** The handshake message so far, in the pieces that records and segments made of it. */
  readonly #fragments: Buffer[] = [];
  #gathered = 0;
  /** Where the message ends, its header included; 0 until that was read. */
  #end = 0;

  push(chunk: Buffer): Hello | null {
    try {
      return this.#push(chunk);
    } catch (error) {
      if (error instanceof Malformed) return unreadable;
      throw error;
    }
  }

  #push(chunk: Buffer): Hello | null {
    this.#total += chunk.length;
    for (let at = 0; at < chunk.length; ) {
      if (this.#recordLeft === 0) {
        if (this.#takeHeaderByte(chunk[at++]!) === 'other') return other;
        continue;
      }
      const fragment = chunk.subarray(at, at + this.#recordLeft);
      at += fragment.length;
      const message = this.#takeFragment(fragment);
      if (message) return parseHello(message);
    }
    return this.#total > mostHelloBytes ? unreadable : null;
  }

  /** Only the first record may be of another kind: then it is no TLS. @throws Malformed */
  #takeHeaderByte(byte: number): 'tls' | 'other' {
    const at = this.#headerBytes++;
    this.#header[at] = byte;
    const wrong = (at === 0 && byte !== recordHandshake) || (at === 1 && byte !== 3);
    if (wrong && this.#gathered === 0) return 'other';
    if (wrong) throw new Malformed();
    if (this.#headerBytes < this.#header.length) return 'tls';
    this.#headerBytes = 0;
    this.#recordLeft = this.#header.readUInt16BE(3);
    if (this.#recordLeft === 0 || this.#recordLeft > mostRecordBytes) throw new Malformed();
    return 'tls';
  }

  /** The message without its header once it is whole. @throws Malformed */
  #takeFragment(fragment: Buffer): Buffer | null {
    this.#recordLeft -= fragment.length;
    this.#fragments.push(fragment);
    this.#gathered += fragment.length;
    if (this.#end === 0 && this.#gathered >= 4) this.#end = messageEnd(joined(this.#fragments));
    if (this.#end === 0 || this.#gathered < this.#end) return null;
    return joined(this.#fragments).subarray(4, this.#end);
  }
}

const joined = (fragments: readonly Buffer[]) =>
  fragments.length === 1 ? fragments[0]! : Buffer.concat(fragments);

/** Of a message that begins with these bytes: type and length, RFC 8446 section 4. @throws Malformed */
function messageEnd(start: Buffer): number {
  const end = 4 + start.readUIntBE(1, 3);
  if (start[0] !== handshakeClientHello || end > mostHelloBytes) throw new Malformed();
  return end;
}

/** ClientHello, RFC 8446 section 4.1.2. @throws Malformed */
function parseHello(message: Buffer): Hello {
  const hello = new Reader(message);
  hello.take(2 + 32); // legacy_version, random
  hello.vector(1); // legacy_session_id
  hello.vector(2); // cipher_suites
  hello.vector(1); // legacy_compression_methods
  const found: Hello = { kind: 'tls', serverName: null, encryptedHello: false };
  if (hello.left === 0) return found;
  const extensions = hello.vector(2);
  const seen = new Set<number>();
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const body = extensions.vector(2);
    // Two of a kind would let two readers see two names (RFC 8446 section 4.2).
    if (seen.has(type)) throw new Malformed();
    seen.add(type);
    if (type === extensionServerName) found.serverName = serverName(body);
    if (type === extensionEncryptedHello) found.encryptedHello = true;
  }
  return found;
}

/** ServerNameList, RFC 6066 section 3: one name of type host_name, bytes that are printable ASCII. @throws Malformed */
function serverName(body: Reader): string {
  const list = body.vector(2);
  if (list.number(1) !== nameTypeHost) throw new Malformed();
  const name = list.vector(2);
  const text = name.take(name.left).toString('latin1');
  if (list.left > 0 || body.left > 0 || !/^[\x21-\x7e]{1,255}$/.test(text)) throw new Malformed();
  return text;
}

/** The fatal alert `access_denied` (RFC 8446 section 6.2), so that a client's error says more than "reset". */
export const accessDeniedAlert = Buffer.from([0x15, 3, 3, 0, 2, 2, 49]);
