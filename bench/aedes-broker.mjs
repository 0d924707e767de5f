/**
 * Aedes as a process, as its README starts it: one server, over TCP or TLS, in memory.
 *
 *   node bench/aedes-broker.mjs PORT [CERTIFICATE KEY]
 *
 * A module for Node: a runtime that reads no TypeScript can run it.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { Aedes } from "aedes";

const [port, certificate, key] = process.argv.slice(2);
// It counts QoS 2 messages that a publisher has open, and the publisher's window is what is measured.
const broker = await Aedes.createBroker({ maxInflightInbound: 0 });
const server =
  certificate === undefined
    ? createServer(broker.handle)
    : createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, broker.handle);
server.listen(Number(port), "127.0.0.1", () => process.stdout.write("aedes ready\n"));
process.on("SIGTERM", () => process.exit(0));
