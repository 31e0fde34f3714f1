// The gap between the structural schemas and those that check files, in words for people. Of what the API server
// accepts and the gateway refuses, the gateway tells in the object's status (`Accepted: False`), and the object takes no
// force as it stands. The tests hold the lists against a real API server.

export const gatewayOnly = {
  number:
    'hosts that some programs read as an address: `127.1`, `0x7f.1`, `2130706433`. Their check would cost more than the API server grants for that many hosts',
  name: 'hosts with a label over 63 characters, and names that IDNA cannot write in ASCII. For the same reason',
  except:
    '`except` blocks outside their `cidr`, or with bits beyond their prefix length. For the same reason',
  mapped:
    'mistakes in IPv4-mapped IPv6 blocks (`::ffff:0:0/96`) and in other texts with a group `ffff`: CEL knows no such blocks',
  portRange: 'an `endPort` below its `port`: ports have no type, since a structural schema has no unions',
  union: 'a list, true or false as a port, or these or a number as a `destinationSet`. For the same reason',
  time: 'a list as `expiresAt`: where a text has a format, the API server lets lists pass for texts',
  path: '`paths` with dot segments, doubled slashes or needless escapes: too long a pattern to be understood',
  pool: 'of an `EgressIPPool`: ranges that end before they begin, mix families or hold over 65536 addresses, addresses given twice, and addresses that no connection can leave from. CEL does not order addresses',
} as const;

/** What the API server takes out of an object before anybody sees it; a file with it is refused. */
export const dropped = {
  null: 'A field with the value null counts as absent.',
  namespace: 'A cluster-wide object loses `metadata.namespace`.',
} as const;
