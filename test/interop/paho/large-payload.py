"""One MiB at every QoS."""

from link import Link, arguments, say

options = arguments()
payload = bytes((n * 31 + (n >> 8)) & 0xFF for n in range(1024 * 1024))
publisher = Link(options, "publisher").connect()
subscriber = Link(options, "subscriber").connect()
subscriber.subscribe(options.topic, 2)
for qos in (0, 1, 2):
    publisher.publish(options.topic, payload, qos)
    message = subscriber.next()
    say(qos=message.qos, length=len(message.payload), same=bytes(message.payload) == payload)
