"""One MQTT connection made with Paho 1.6 or 2, driven by whoever waits for something: no thread and no sleep.

What a script learns it prints as JSON, one object a line; the test that started it judges. A script that hangs prints where it
hangs and ends.
"""

import argparse
import faulthandler
import json
import os
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

GIVE_UP_AFTER_S = 100
KEEP_ALIVE_S = 600
PROTOCOLS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
NEW_CALLBACKS = hasattr(mqtt, "CallbackAPIVersion")


def say(**fields):
    print(json.dumps(fields), flush=True)


def arguments():
    faulthandler.dump_traceback_later(GIVE_UP_AFTER_S, exit=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", choices=PROTOCOLS, required=True)
    parser.add_argument("--transport", choices=["tcp", "websockets"], required=True)
    parser.add_argument("--topic", required=True, help="a Topic Name of this test's own; client ids begin with it too")
    return parser.parse_args()


def properties_of(packet_type, **values):
    properties = Properties(packet_type)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def number(code):
    """Reason codes are numbers in Paho 1.6 with 3.1.1 and objects elsewhere."""
    return code.value if hasattr(code, "value") else int(code)


class Link:
    """Refuses to go on when the connection is lost and `expect_end` was not called."""

    def __init__(self, options, name, lasting=False, will=None):
        self.options = options
        self.v5 = options.version == "5"
        self.lasting = lasting
        self.messages = []
        self.session_present = None
        self.refused = None
        self.granted = {}
        self.unsubscribed = set()
        self.end_code = None
        self.end_expected = False
        self._read = 0
        settings = {
            "client_id": f"{options.topic}-{name}",
            "protocol": PROTOCOLS[options.version],
            "transport": options.transport,
        }
        if not self.v5:
            settings["clean_session"] = not lasting
        if NEW_CALLBACKS:
            settings["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
        self.client = mqtt.Client(**settings)
        if options.transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        if will is not None:
            self.client.will_set(**will)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.on_subscribe = lambda *given: self.granted.__setitem__(given[2], [number(code) for code in given[3]])
        self.client.on_unsubscribe = lambda *given: self.unsubscribed.add(given[2])

    def _on_connect(self, _client, _data, flags, code, *_properties):
        if number(code) != 0:
            self.refused = number(code)
        self.session_present = flags.session_present if NEW_CALLBACKS else bool(flags["session present"])

    def _on_disconnect(self, *given):
        self.end_code = number(given[3] if NEW_CALLBACKS else given[2])

    def wait(self, reached):
        while not reached():
            code = self.client.loop(timeout=1.0)
            if code != mqtt.MQTT_ERR_SUCCESS and not self.end_expected:
                raise RuntimeError(mqtt.error_string(code))
            if self.refused is not None:
                raise RuntimeError(f"CONNACK {self.refused}")

    def connect(self):
        extra = {}
        if self.v5:
            extra["clean_start"] = not self.lasting
            expiry = 3600 if self.lasting else 0
            extra["properties"] = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=expiry)
        self.client.connect("127.0.0.1", self.options.port, KEEP_ALIVE_S, **extra)
        self.wait(lambda: self.session_present is not None)
        return self

    def subscribe(self, topic_filter, qos=0, **more):
        _result, packet_id = self.client.subscribe(topic_filter, **(more if "options" in more else {"qos": qos, **more}))
        self.wait(lambda: packet_id in self.granted)
        return self.granted[packet_id]

    def unsubscribe(self, topic_filter):
        _result, packet_id = self.client.unsubscribe(topic_filter)
        self.wait(lambda: packet_id in self.unsubscribed)

    def publish(self, topic_name, payload, qos=0, retain=False, **properties):
        extra = {"properties": properties_of(PacketTypes.PUBLISH, **properties)} if properties else {}
        information = self.client.publish(topic_name, payload, qos, retain, **extra)
        self.wait(information.is_published)

    def next(self):
        self.wait(lambda: len(self.messages) > self._read)
        self._read += 1
        return self.messages[self._read - 1]

    def disconnect(self):
        self.end_expected = True
        self.client.disconnect()
        self.wait(lambda: self.end_code is not None)

    def wait_for_end(self):
        self.end_expected = True
        self.wait(lambda: self.end_code is not None)
        return self.end_code

    def cut(self):
        """Lose the Network Connection without a DISCONNECT."""
        copy = socket.socket(fileno=os.dup(self.client.socket().fileno()))
        copy.shutdown(socket.SHUT_RDWR)
        copy.close()
        self.wait_for_end()


def seen(message):
    return {
        "topic": message.topic,
        "payload": message.payload.decode("utf-8"),
        "qos": message.qos,
        "retain": bool(message.retain),
        "dup": bool(message.dup),
    }
