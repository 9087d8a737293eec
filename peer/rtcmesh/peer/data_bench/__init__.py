"""How fast data channels are: this library beside other stacks, two processes each, the same work in one run.

run.py         rounds, each contender in turn, on each network
contenders.py  who competes, and how its processes are started
work.py        what they do: bulk, small messages, ping-pong, connecting, idling
worker.py      one end, in Python: a stack behind `Stack`, told by lines of `orders.py`
node_worker.js one end, in JavaScript: Node or a browser
networks.py    where: loopback, or two namespaces with an impaired link
results.py     medians, ratios, tables; plot.py draws them
"""
