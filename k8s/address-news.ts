// What people are told of leased addresses: a line of the gateway's messages for each turn, and an Event where they
// should look. It changes nothing.

import type { GatewayFacts } from '../config/cluster.ts';
import type { Outcome } from './address-holding.ts';
import type { WantedAddress } from './address-wanted.ts';
import type { Notice } from './events.ts';
import { Outage } from './outage.ts';

interface AddressNewsParts {
  readonly tell: GatewayFacts['tell'];
  tellEvent(notice: Notice): void;
  readonly replica: string;
  /** Interface that takes the addresses. */
  readonly interface: string;
}

export class AddressNews {
  readonly #parts: AddressNewsParts;
  readonly #outage: Outage;

  constructor(parts: AddressNewsParts) {
    this.#parts = parts;
    this.#outage = new Outage(parts.tell, 'taking the Leases of addresses');
  }

  held(wanted: WantedAddress): void {
    const { tell, replica } = this.#parts;
    this.#outage.worked();
    tell('info', fieldsOf(wanted), 'holds the address');
    this.#event(wanted, 'Normal', 'AddressHeld', 'Hold', `${replica} holds ${wanted.address.text}`);
  }

  ended(wanted: WantedAddress, { ending, reason }: Outcome): void {
    const { tell, interface: name } = this.#parts;
    const fields = { ...fieldsOf(wanted), ...(reason !== null && { reason }) };
    switch (ending) {
      case 'given-up':
      case 'no-link':
      case 'taken':
        tell('info', { ...fields, why: ending }, 'holds the address no more');
        break;
      case 'duplicate':
      case 'contested':
        this.#duplicate(wanted, ending);
        break;
      case 'lapsed':
        tell('warn', fields, 'the address was not renewed in time and is held no more');
        this.#event(
          wanted,
          'Warning',
          'AddressLapsed',
          'Release',
          `${wanted.address.text} was not renewed in time`,
        );
        break;
      case 'failed': {
        const remedy = 'run the gateway on the network of the host, with CAP_NET_ADMIN and CAP_NET_RAW';
        tell('error', { ...fields, interface: name, remedy }, 'the host refused the address');
        break;
      }
      case 'not-acquired':
        if (reason !== null) this.#outage.failed(reason);
        break;
      default:
        ending satisfies never;
    }
  }

  link(isUp: boolean): void {
    const { tell, interface: name } = this.#parts;
    if (isUp) tell('info', { interface: name }, 'the link is up again');
    else tell('warn', { interface: name }, 'the link is down: this replica holds no addresses');
  }

  #duplicate(wanted: WantedAddress, why: 'duplicate' | 'contested'): void {
    const note = `another host has ${wanted.address.text}: it is not used until that host lets go of it`;
    this.#parts.tell('warn', { ...fieldsOf(wanted), why }, note);
    this.#event(wanted, 'Warning', 'AddressDuplicate', 'Release', note);
  }

  #event(
    { pool: { name, uid } }: WantedAddress,
    type: Notice['type'],
    reason: string,
    action: string,
    note: string,
  ): void {
    const pool = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'EgressIPPool', namespace: null, name };
    const regarding = uid === undefined ? {} : { regarding: { ...pool, uid } };
    this.#parts.tellEvent({ type, reason, action, note, by: 'replica', ...regarding });
  }
}

function fieldsOf({ address, pool }: WantedAddress): { address: string; pool: string } {
  return { address: address.text, pool: pool.name };
}
