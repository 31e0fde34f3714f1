// The plain evaluator's addresses: strings of bits. A block holds an address when the address begins with its bits.
// Nothing here is fast, and nothing is shared with the real thing.

export const bitsOf = memoise((text: string): string => {
  if (!text.includes(':'))
    return `4${text
      .split('.')
      .map(octet => binary(Number(octet), 8))
      .join('')}`;
  const hex = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head, tail] = hex.split('::').map(half => (half === '' ? [] : half.split(':')));
  const middle = tail === undefined ? [] : new Array(8 - head!.length - tail.length).fill('0');
  return `6${[...head!, ...middle, ...(tail ?? [])].map(group => binary(Number.parseInt(group, 16), 16)).join('')}`;
});

export const blockOf = memoise((cidr: string): string => {
  const slash = cidr.indexOf('/');
  return bitsOf(cidr.slice(0, slash)).slice(0, 1 + Number(cidr.slice(slash + 1)));
});

function memoise(compute: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>();
  return text => {
    if (!known.has(text)) known.set(text, compute(text));
    return known.get(text)!;
  };
}

function binary(value: number, width: number): string {
  return value.toString(2).padStart(width, '0');
}

export function inBlock(cidr: string, bits: string): boolean {
  return bits.startsWith(blockOf(cidr));
}

export const isSingle = (cidr: string) => blockOf(cidr).length === (cidr.includes(':') ? 129 : 33);

/** IPv4 addresses inside an IPv6 one, by where each form keeps them. */
export function inner(bits: string): string[] {
  if (bits.startsWith('4')) return [];
  const at = (...spans: [number, number][]) =>
    `4${spans.map(([from, to]) => bits.slice(1 + from, 1 + to)).join('')}`;
  const last = at([96, 128]);
  const flipped = `4${[...last.slice(1)].map(bit => (bit === '0' ? '1' : '0')).join('')}`;
  if (inBlock('::/127', bits)) return [];
  if (['::/96', '::ffff:0:0/96', '::ffff:0:0:0/96', '64:ff9b::/96'].some(block => inBlock(block, bits)))
    return [last];
  if (inBlock('64:ff9b:1::/48', bits))
    return [at([48, 64], [72, 88]), at([56, 64], [72, 96]), at([72, 104]), last];
  if (inBlock('2002::/16', bits)) return [at([16, 48])];
  return inBlock('2001::/32', bits) ? [at([32, 64]), flipped] : [];
}
