"""Connect, with a retained Will, and tell how the server ends it."""

from link import Link, arguments, say

options = arguments()
will = {"topic": options.topic, "payload": "killed", "qos": 1, "retain": True}
link = Link(options, "stay", will=will).connect()
say(connected=True)
say(end_code=link.wait_for_end())
