"""What MQTT 5.0 adds to a PUBLISH and a SUBSCRIBE, there and back."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

from link import Link, arguments, properties_of, say, seen

options = arguments()
publisher = Link(options, "publisher").connect()
subscriber = Link(options, "subscriber").connect()
subscriber.subscribe(
    options.topic,
    options=SubscribeOptions(qos=2, noLocal=True, retainAsPublished=True),
    properties=properties_of(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=1234),
)
subscriber.publish(options.topic, "own", 1)
publisher.publish(
    options.topic,
    "with properties",
    2,
    retain=True,
    ContentType="text/plain",
    ResponseTopic=f"{options.topic}/response",
    CorrelationData=b"\x00\xff",
    PayloadFormatIndicator=1,
    MessageExpiryInterval=3600,
    UserProperty=[("name", "first"), ("name", "second"), ("größe", "µ")],
)
message = subscriber.next()
say(**seen(message), properties=message.properties.json())

publisher.publish(options.topic, "alias by name", 1, TopicAlias=1)
publisher.publish("", "alias alone", 1, TopicAlias=1)
for _ in range(2):
    say(**seen(subscriber.next()))
