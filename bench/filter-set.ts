/**
 * Topic Filters as a large installation has them, and topics for them: of ten filters eight are literal, one ends in "+", one in
 * "#". Topic n matches filter n and no other; topics beyond the last filter match none.
 */

const SITES = 50;

export function filterText(n: number): string {
  const device = `site/${n % SITES}/device/${n}`;
  const kind = Math.floor(n / SITES) % 10;
  return kind < 8 ? `${device}/temperature` : kind === 8 ? `${device}/+` : `${device}/#`;
}

export function topicText(device: number): string {
  return `site/${device % SITES}/device/${device}/temperature`;
}
