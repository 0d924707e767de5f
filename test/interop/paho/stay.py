"""Connect and tell how the server ends it."""

from link import Link, arguments, say

link = Link(arguments(), "stay").connect()
say(connected=True)
say(end_code=link.wait_for_end())
