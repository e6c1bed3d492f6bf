"""What the operating system's errors mean here.

Only those that lead to a decision of ours have a name; all others are a peer that
is gone.
"""

from __future__ import annotations

import errno

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""We have no descriptor or no memory left; no peer is at fault."""

CONNECT_BEGUN = (0, errno.EINPROGRESS, errno.EAGAIN)
"""A non-blocking connect is made already, or on its way."""
