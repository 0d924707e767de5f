/** A browser's name for a person, from its User-Agent: the last of the names in it that is not there for compatibility. */

const NAMES: readonly (readonly [RegExp, string])[] = [
  [/\bFirefox\/([\d.]+)/u, "Firefox"],
  [/\bEdg\/([\d.]+)/u, "Edge"],
  [/\b(?:Headless)?Chrome\/(\d+)/u, "Chromium"],
  [/\bCriOS\/([\d.]+)/u, "Chrome on iOS"],
  [/\bVersion\/([\d.]+).*\bSafari\//u, "Safari or WebKit"],
];

export function engineName(userAgent: string): string {
  for (const [pattern, name] of NAMES) {
    const version = pattern.exec(userAgent)?.[1];
    if (version !== undefined) return `${name} ${version}`;
  }
  return userAgent.slice(0, 60);
}
