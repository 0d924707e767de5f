/**
 * Where in a CONNECT a token is: the places that the settings name, and what in them passes for one.
 *
 * Invariant: what is no token is nobody's business here, and two different ones are none.
 */
import type { ConnectRequest } from "../../src/core/gate/provider.ts";
import type { ProviderSettings } from "./issuer-settings.ts";
import { type ShapeBounds, shapeOf, textOfBytes } from "./token-text.ts";

export const NO_TOKEN =
  "if it is an opaque one, configure introspection, or ask the issuer for a token for your audience";

export interface FoundToken {
  readonly token: string;
  readonly shape: "jwt" | "opaque";
  readonly place: ProviderSettings["tokenIn"][number];
}

/** The token of a CONNECT; the same one in two places is one. */
export function findToken(
  { username, password, peer }: ConnectRequest,
  tokenIn: ProviderSettings["tokenIn"],
  bounds: ShapeBounds,
): FoundToken | "too long" | "several" | undefined {
  let found: FoundToken | "too long" | "several" | undefined;
  const look = (place: FoundToken["place"], text: string | undefined, mayBeOpaque: boolean): void => {
    if (!tokenIn.includes(place) || text === undefined || text === "" || typeof found === "string") return;
    const shape = shapeOf(text, bounds);
    if (shape === "too long") found = shape;
    else if (shape === "jwt" || (shape === "opaque" && mayBeOpaque)) {
      found = found === undefined || found.token === text ? { token: text, shape, place } : "several";
    }
  };
  look("password", password === undefined ? undefined : textOfBytes(password), true);
  // Many a user name looks like an opaque token; one without a password may be one.
  look("username", username, password === undefined);
  look("authorization", /^bearer +(\S+)$/iu.exec(peer.upgrade?.authorization ?? "")?.[1], true);
  return found;
}
