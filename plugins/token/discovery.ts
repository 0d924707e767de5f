/**
 * What an issuer publishes about itself: OpenID Connect discovery first, then RFC 8414.
 *
 * Invariant: metadata that names another issuer, even by one character, is not used. One fetch at a time; what was found is
 * kept until somebody says it no longer works. OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3.
 */
import * as oauth from "oauth4webapi";
import type { PluginHostServices } from "../../src/core/gate/provider.ts";
import { show } from "./token-refused.ts";

const FETCH_TIMEOUT_MS = 4_000;
const BYTES_MAX = 256 * 1024;
/** Answers that have no body, by the Fetch standard. */
const EMPTY_STATUSES = [101, 204, 205, 304];

type Fetch = PluginHostServices["fetch"];

/** What oauth4webapi needs to go through the host's bounded fetch; that is where plain HTTP beyond loopback is refused. */
export function throughHost(fetch: Fetch, signal: AbortSignal) {
  return {
    [oauth.allowInsecureRequests]: true,
    [oauth.customFetch]: async (
      url: string,
      init: oauth.CustomFetchOptions<"GET" | "POST", URLSearchParams | undefined>,
    ): Promise<Response> => {
      const { status, headers, text } = await fetch(url, {
        method: init.method,
        headers: init.headers,
        ...(init.body === undefined ? {} : { body: String(init.body) }),
        timeoutMs: FETCH_TIMEOUT_MS,
        bytesMax: BYTES_MAX,
        signal,
      });
      const { "content-encoding": _encoding, "content-length": _length, ...plain } = headers;
      return new Response(EMPTY_STATUSES.includes(status) ? null : text, { status, headers: plain });
    },
  };
}

export interface Discovery {
  /** The metadata, from memory where possible. */
  metadata(): Promise<oauth.AuthorizationServer>;
  /** Something that the metadata named does not answer: ask anew next time. */
  forget(): void;
  close(): void;
}

export function createDiscovery(issuer: string, fetch: Fetch): Discovery {
  const closing = new AbortController();
  let known: Promise<oauth.AuthorizationServer> | undefined;
  return {
    metadata() {
      if (known === undefined) {
        const asked = discover(issuer, fetch, closing.signal);
        known = asked;
        asked.catch(() => {
          if (known === asked) known = undefined;
        });
      }
      return known;
    },
    forget() {
      known = undefined;
    },
    close: () => closing.abort(),
  };
}

async function discover(issuer: string, fetch: Fetch, signal: AbortSignal): Promise<oauth.AuthorizationServer> {
  const tried: string[] = [];
  for (const algorithm of ["oidc", "oauth2"] as const) {
    const response = await oauth.discoveryRequest(new URL(issuer), { algorithm, ...throughHost(fetch, signal) });
    if (response.status !== 200) {
      tried.push(String(response.status));
      continue;
    }
    return checked(issuer, response);
  }
  throw new Error(`${issuer} publishes no metadata (answers ${tried.join(" and ")}); is this the exact issuer?`);
}

async function checked(issuer: string, response: Response): Promise<oauth.AuthorizationServer> {
  let named: unknown;
  try {
    const found = await oauth.processDiscoveryResponse(new URL(issuer), response);
    // The library compares them as URLs, for which a slash at the end may make no difference. For tokens it does.
    if (found.issuer === issuer) return found;
    named = found.issuer;
  } catch (error) {
    const { code, cause } = error as { code?: unknown; cause?: { body?: { issuer?: unknown } } };
    if (code !== oauth.JSON_ATTRIBUTE_COMPARISON) throw error;
    named = cause?.body?.issuer;
  }
  throw new Error(
    `the metadata of ${issuer} is that of another issuer; if it is the right one, write issuer = ${show(named)}`,
  );
}
