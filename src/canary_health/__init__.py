"""What `canary health` and `kv-trio health` do, and how both commands begin.

A health check runs every few seconds for as long as a server lives, often beside it on the
same processor. So it is answered here, before anything else of ours is imported: that takes
a tenth of the time. The rule that it obeys: nothing here imports the other packages.
"""
