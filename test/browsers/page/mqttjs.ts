/** MQTT.js, from the file that its makers build for browsers, as one script that leaves its `connect` to the page. */
import mqtt from "mqtt";

declare global {
  var mqttjsConnect: typeof mqtt.connectAsync | undefined;
}

globalThis.mqttjsConnect = mqtt.connectAsync;
