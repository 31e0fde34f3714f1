// Quotes untrusted text for a message: printable ASCII, escaped, and cut to a bounded length.
// It does not decide where a message may go; headers and logs escape again by their own rules.

const longestQuote = 64;

/** `"text"` with everything outside printable ASCII, `"` and `\` escaped; at most 64 characters of the input. */
export function quote(text: string): string {
  const shown = text.length > longestQuote ? `${text.slice(0, longestQuote)}...` : text;
  return `"${shown.replace(/[^ !#-[\]-~]/g, escapeUnit)}"`;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The text with anything outside printable ASCII replaced, cut to `longest` characters. */
export function plainAscii(text: string, longest: number): string {
  const safe = text.replace(/[^ -~]/g, '?');
  return safe.length > longest ? `${safe.slice(0, longest - 3)}...` : safe;
}
