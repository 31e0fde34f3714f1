// The schema of EgressIPPool: fixed source addresses, and which policies may choose them. Addresses become ranges here.
// It knows no machine: whether a gateway has an address is not its matter.

import { z } from 'zod';
import {
  addressBits,
  type Cidr,
  cidrOf,
  cidrProblem,
  compareAddresses,
  type IpAddress,
  lastAddress,
  parseAddress,
  parseCidr,
} from './address.ts';
import { clusterMetadataSchema, labelSelectorSchema, nameSchema, refuse } from './schema-parts.ts';
import { sallyportVersion } from './version.ts';

/** Both ends belong to it, and are of one family. */
export interface AddressRange {
  readonly first: IpAddress;
  readonly last: IpAddress;
  /** As it was written. */
  readonly text: string;
}

interface Refusal {
  readonly message: string;
  readonly remedy: string;
}

/** An address, a block, or `first-last`; or why it is none. */
function parseRange(text: string): AddressRange | Refusal {
  const ends = text.split('-');
  if (ends.length === 2) return rangeBetween(ends[0]!, ends[1]!, text);
  const address = parseAddress(text);
  if (address !== null) return { first: address, last: address, text };
  const cidr = parseCidr(text);
  if (cidr !== null) return { first: cidr.base, last: lastAddress(cidr), text };
  if (text.includes('/')) return cidrProblem(text)!;
  return {
    message: 'no addresses',
    remedy: 'write an address, a block such as 192.0.2.16/29, or a range such as 192.0.2.10-192.0.2.19',
  };
}

function rangeBetween(firstText: string, lastText: string, text: string): AddressRange | Refusal {
  const [first, last] = [parseAddress(firstText), parseAddress(lastText)];
  if (first === null || last === null || first.family !== last.family) {
    return {
      message: 'not a range of addresses',
      remedy: 'write two addresses of one family with a hyphen between them, such as 192.0.2.10-192.0.2.19',
    };
  }
  if (compareAddresses(first, last) <= 0) return { first, last, text };
  return { message: 'the range ends before it begins', remedy: `write ${last.text}-${first.text}` };
}

/** Bits of an address that an entry may leave open: 65,536 addresses at most. */
const openBits = 16;

/** No connection can leave from these: unspecified, multicast, and the IPv4 broadcast address. */
const unfitBlocks: readonly Cidr[] = [
  '0.0.0.0/8',
  '::/128',
  '224.0.0.0/4',
  '255.255.255.255/32',
  'ff00::/8',
].map(text => parseCidr(text)!);

const mapped = parseCidr('::ffff:0:0/96')!;

function overlaps(
  one: Pick<AddressRange, 'first' | 'last'>,
  other: Pick<AddressRange, 'first' | 'last'>,
): boolean {
  return (
    one.first.family === other.first.family &&
    compareAddresses(one.first, other.last) <= 0 &&
    compareAddresses(other.first, one.last) <= 0
  );
}

function rangeOf(cidr: Cidr): Pick<AddressRange, 'first' | 'last'> {
  return { first: cidr.base, last: lastAddress(cidr) };
}

function unfitness({ first, last }: AddressRange): Refusal | null {
  const around = cidrOf(first, addressBits(first.family) - openBits);
  if (!isWithinCount(first, last)) {
    return {
      message: 'more than 65536 addresses in one entry',
      remedy: `write a smaller block, ${around.text} at most`,
    };
  }
  const unfit = unfitBlocks.find(block => overlaps(rangeOf(block), { first, last }));
  if (unfit !== undefined) {
    const message = `no connection can leave from ${unfit.text}`;
    return { message, remedy: 'name addresses of the gateway' };
  }
  if (!overlaps(rangeOf(mapped), { first, last })) return null;
  return { message: 'IPv4 addresses in the spelling of IPv6', remedy: 'write them as IPv4 addresses' };
}

/** At most 65,536 addresses, wherever they begin. */
function isWithinCount(first: IpAddress, last: IpAddress): boolean {
  const number = ({ family, word0, word1, word2, word3 }: IpAddress) =>
    family === 4
      ? BigInt(word0)
      : (BigInt(word0) << 96n) | (BigInt(word1) << 64n) | (BigInt(word2) << 32n) | BigInt(word3);
  return number(last) - number(first) < 1n << BigInt(openBits);
}

const rangeSchema = z.string().transform((input, context): AddressRange => {
  const range = parseRange(input);
  const refusal = 'message' in range ? range : unfitness(range);
  if (refusal === null) return range as AddressRange;
  refuse(context, { ...refusal, input });
  return z.NEVER;
});

function refuseOverlaps(ranges: readonly AddressRange[], context: z.RefinementCtx): void {
  for (const [at, range] of ranges.entries()) {
    const earlier = ranges.slice(0, at).find(each => overlaps(each, range));
    if (earlier === undefined) continue;
    const message = `addresses that ${earlier.text} has already`;
    refuse(context, { message, remedy: 'write each address once', path: [at], input: range.text });
  }
}

const allowedSchema = z
  .strictObject({
    namespaceSelector: labelSelectorSchema
      .optional()
      .describe('The EgressPolicies of namespaces with these labels.'),
    policies: z.array(nameSchema).min(1).optional().describe('ClusterEgressPolicies of these names.'),
  })
  .refine(
    ({ namespaceSelector, policies }) => namespaceSelector !== undefined || policies !== undefined,
    'namespaceSelector, policies or both',
  );

const defaultSchema = z.strictObject({
  namespaceSelector: labelSelectorSchema.describe(
    'Pods of namespaces with these labels leave from this pool where no rule names one. {} selects every namespace.',
  ),
});

export const poolSpecSchema = z.strictObject({
  addresses: z
    .array(rangeSchema)
    .min(1)
    .max(256)
    .superRefine(refuseOverlaps)
    .describe(
      'Addresses that connections may leave from: single ones (192.0.2.10), blocks (192.0.2.16/29) with all their addresses, and ranges (192.0.2.40-192.0.2.49). At most 65536 an entry, and each address once.',
    ),
  allowed: allowedSchema
    .optional()
    .describe(
      'Which policies may name this pool in a rule: those of these namespaces and those of these names, and no others. Absent allows all.',
    ),
  default: defaultSchema.optional().describe('Whom this pool serves without being named.'),
  onExhausted: z
    .enum(['Refuse', 'Default'])
    .default('Refuse')
    .describe(
      'What happens to a session when no address of the pool is free or fit: it is refused, or it leaves as if no pool had been named.',
    ),
});

export const poolSchema = z.strictObject({
  apiVersion: z.literal(sallyportVersion),
  kind: z.literal('EgressIPPool'),
  metadata: clusterMetadataSchema,
  spec: poolSpecSchema,
  status: z.unknown().optional(),
});

export type EgressIPPool = z.output<typeof poolSchema>;
