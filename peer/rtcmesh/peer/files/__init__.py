"""`rtcmesh send` and `rtcmesh receive`: files of any size, verified, resumed where they broke off.

commands      the two commands
screen        progress
sender        one end
receiver      the other
messages      what they tell each other
transfer      the file as it is sent
partial_file  the file as it grows
disk          what reads and writes, away from the event loop
"""
