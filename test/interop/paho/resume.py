"""A session that outlives its connection: queued messages, live ones, and the end by a clean start."""

from link import Link, arguments, say, seen

options = arguments()
publisher = Link(options, "publisher").connect()

away = Link(options, "session", lasting=True).connect()
say(session_present=away.session_present)
away.subscribe(options.topic, 2)
away.disconnect()

for n in range(30):
    publisher.publish(options.topic, f"queued {n}", 1 + n % 2)

back = Link(options, "session", lasting=True).connect()
say(session_present=back.session_present)
for _ in range(30):
    say(**seen(back.next()))
publisher.publish(options.topic, "live", 2)
say(**seen(back.next()))
back.cut()

publisher.publish(options.topic, "after the cut", 2)
again = Link(options, "session", lasting=True).connect()
say(session_present=again.session_present)
say(**seen(again.next()))
again.disconnect()

clean = Link(options, "session").connect()
say(session_present=clean.session_present)
