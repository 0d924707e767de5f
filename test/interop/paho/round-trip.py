"""Every published QoS against every granted QoS, then one hundred messages at QoS 2, then UNSUBSCRIBE."""

from link import Link, arguments, say, seen

options = arguments()
publisher = Link(options, "publisher").connect()
subscriber = Link(options, "subscriber").connect()

for granted in (0, 1, 2):
    say(granted=subscriber.subscribe(f"{options.topic}/{granted}/+", granted))
    for published in (0, 1, 2):
        publisher.publish(f"{options.topic}/{granted}/{published}", f"sent at {published}", published)
        say(**seen(subscriber.next()))

for n in range(100):
    publisher.publish(f"{options.topic}/2/many", f"{n}", 2)
say(many=[subscriber.next().payload.decode() for _ in range(100)])

subscriber.unsubscribe(f"{options.topic}/2/+")
publisher.publish(f"{options.topic}/2/gone", "after UNSUBSCRIBE", 2)
publisher.publish(f"{options.topic}/1/end", "end", 1)
say(**seen(subscriber.next()))
publisher.disconnect()
subscriber.disconnect()
say(left=len(subscriber.messages) - 110)
