"""What `canary health` and `kv-trio health` do, and how both commands begin, and stay quick.

A health check runs every few seconds for as long as a server lives, often beside it on the
same processor. So it is answered here, before anything else of ours is imported: that takes
a tenth of the time. Other commands import what they use and no more, by what is here. The
rule that it obeys: nothing here imports the other packages.
"""
