"""The Will of a process that is killed, of a connection that is cut, and of a client that says goodbye."""

import os
import signal

from link import Link, arguments, give_up_in_time, say, seen

options = arguments()


def with_will(name):
    will = {"topic": options.topic, "payload": name, "qos": 1, "retain": name == "killed"}
    return Link(options, name, will=will).connect()


watcher = Link(options, "watcher").connect()
watcher.subscribe(options.topic, 2)

with_will("polite").disconnect()

readable, writable = os.pipe()
child = os.fork()
if child == 0:
    give_up_in_time()
    doomed = with_will("killed")
    os.write(writable, b"!")
    doomed.wait_for_end()
os.read(readable, 1)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
say(**seen(watcher.next()))

with_will("cut").cut()
say(**seen(watcher.next()))

late = Link(options, "late").connect()
late.subscribe(options.topic, 2)
say(**seen(late.next()))
say(watched=len(watcher.messages))
