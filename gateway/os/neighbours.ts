// The neighbours on one interface: asks them about addresses, tells them of ours, and hears what they say. One pair of
// sockets serves all addresses of the interface. It decides nothing about an address; held-address.ts does.

import type { IpAddress } from '../../config/policy/address.ts';
import { LinkSocket } from './link-socket.ts';
import { announcements, neighbourClaim, probe } from './neighbour-frames.ts';
import type { NetworkInterface } from './rtnetlink.ts';

/** The most that another host has said of an address: nothing, that it would like it, that it has it. */
export type Heard = 'nothing' | 'looks' | 'has';

export class Neighbours {
  readonly link: NetworkInterface;
  readonly #mac: string;
  readonly #sockets: readonly [arp: LinkSocket, discovery: LinkSocket];
  /** Of the addresses that somebody here cares for, by their text. */
  readonly #heard = new Map<string, Heard>();

  /** @throws EPERM without CAP_NET_RAW, ENODEV when the interface is gone */
  constructor(link: NetworkInterface) {
    this.link = link;
    this.#mac = Buffer.from(link.mac).toString('hex');
    const arp = new LinkSocket(link.index, 'arp');
    try {
      this.#sockets = [arp, new LinkSocket(link.index, 'discovery')];
    } catch (error) {
      arp.close();
      throw error;
    }
  }

  /** Remembers from now on what others say of the address, until `forget`. */
  listenFor({ text }: IpAddress): void {
    this.#read();
    this.#heard.set(text, 'nothing');
  }

  forget({ text }: IpAddress): void {
    this.#heard.delete(text);
  }

  /** The most that others have said of the address since this was last asked. */
  heard({ text }: IpAddress): Heard {
    this.#read();
    const heard = this.#heard.get(text) ?? 'nothing';
    if (heard !== 'nothing') this.#heard.set(text, 'nothing');
    return heard;
  }

  /** Asks who has the address. @throws ENETDOWN, ENXIO */
  ask(address: IpAddress): void {
    this.#send(address, probe(this.link.mac, address));
  }

  /** Says that this interface has the address. @throws ENETDOWN, ENXIO */
  announce(address: IpAddress): void {
    for (const frame of announcements(this.link.mac, address)) this.#send(address, frame);
  }

  close(): void {
    for (const socket of this.#sockets) socket.close();
  }

  #send({ family }: IpAddress, frame: Buffer): void {
    this.#sockets[family === 4 ? 0 : 1].send(frame);
  }

  #read(): void {
    for (const socket of this.#sockets) for (const frame of socket.received()) this.#hear(frame);
  }

  #hear(frame: Uint8Array): void {
    const claim = neighbourClaim(frame);
    if (claim === null || claim.mac === this.#mac) return;
    const { address, kind } = claim;
    const known = this.#heard.get(address.text);
    if (known === undefined || known === 'has') return;
    this.#heard.set(address.text, kind);
  }
}
