"""A retained message is set, replaced and deleted; each time a new subscriber looks, and a marker shows that nothing else came."""

from link import Link, arguments, say, seen

options = arguments()
marker = f"{options.topic}/marker"
publisher = Link(options, "publisher").connect()
early = Link(options, "early").connect()
early.subscribe(options.topic, 1)

for n, payload in enumerate(["first", "second", ""]):
    publisher.publish(options.topic, payload, 1, retain=True)
    say(live=seen(early.next()))
    late = Link(options, f"late{n}").connect()
    late.subscribe([(options.topic, 1), (marker, 1)])
    publisher.publish(marker, "marker", 1)
    found = [seen(late.next())]
    while found[-1]["topic"] != marker:
        found.append(seen(late.next()))
    late.disconnect()
    say(late=[[message["payload"], message["retain"]] for message in found])
