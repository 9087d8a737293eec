"""How fast data channels are: this library beside other stacks, two processes each, the same work in one run.

run.py         rounds, each contender in turn, on each network
works.py       what they do: bulk, small messages, ping-pong, idling; and for how long
contest.py     one contender does one piece of work
pair.py        both ends of a contender, told by lines of `orders.py`
contenders.py  who competes, and how its processes are started
networks.py    where: loopback, or two namespaces with an impaired link
worker.py      one end, in Python; line.py is one connection of it, and `Stack` the seam to what is measured
end.js         one connection, in JavaScript; node_end.js is the process, chromium_end.py the browser, which
               devtools.py drives
promises.py    what is wanted of the figures
results.py     medians, ratios, tables; drawing.py draws them
"""
