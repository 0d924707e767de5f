/** A plugin that lets everybody in and keeps what it was asked, for tests of what reaches a provider. */
import type { AuthPlugin, ConnectRequest, Verdict } from "rqtt/plugin";

export interface RecordedLogins {
  readonly plugin: AuthPlugin;
  readonly requests: readonly ConnectRequest[];
}

export function recordLogins(answer?: (request: ConnectRequest) => Verdict): RecordedLogins {
  const requests: ConnectRequest[] = [];
  const plugin: AuthPlugin = {
    apiVersion: 1,
    name: "recorded",
    create: () => ({
      connect(request) {
        requests.push(request);
        const accept: Verdict = { do: "accept", principal: { id: request.clientId, permissions: "everything" } };
        return answer?.(request) ?? accept;
      },
    }),
  };
  return { plugin, requests };
}
