"""Three members of one shared subscription and one plain subscriber."""

from link import Link, arguments, say

options = arguments()
members = [Link(options, f"member{n}").connect() for n in range(3)]
for member in members:
    member.subscribe(f"$share/group/{options.topic}", 1)
whole = Link(options, "whole").connect()
whole.subscribe(options.topic, 1)

publisher = Link(options, "publisher").connect()
for n in range(30):
    publisher.publish(options.topic, f"{n}", 1)
say(whole=[whole.next().payload.decode() for _ in range(30)])
say(members=[[member.next().payload.decode() for _ in range(10)] for member in members])

members[0].unsubscribe(f"$share/group/{options.topic}")
for n in range(4):
    publisher.publish(options.topic, f"left {n}", 1)
say(rest=[[member.next().payload.decode() for _ in range(2)] for member in members[1:]])
