"""The Will of a process that somebody kills when told to, of a connection that is cut, and of a client that says goodbye."""

from link import Link, arguments, say, seen

options = arguments()


def with_will(name):
    return Link(options, name, will={"topic": options.topic, "payload": name, "qos": 1}).connect()


watcher = Link(options, "watcher").connect()
watcher.subscribe(options.topic, 2)
with_will("polite").disconnect()
say(watching=True)
say(**seen(watcher.next()))

with_will("cut").cut()
say(**seen(watcher.next()))

late = Link(options, "late").connect()
late.subscribe(options.topic, 2)
say(**seen(late.next()))
say(watched=len(watcher.messages))
