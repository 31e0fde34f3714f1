// The relays that are held to the same proof.
// A mode that the gateway does not know fails its tests: it is not left out in silence.

/** Values of `relay.mode`. */
export const relayModes = ['streams', 'pump'] as const;

export type RelayMode = (typeof relayModes)[number];

export const isRelayMode = (text: string): text is RelayMode => relayModes.some(mode => mode === text);
