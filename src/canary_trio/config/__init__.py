"""The document: values, and JSON to values and back. Pure.

Most documents have no rollout and ask nobody who a client is. So the values of these are
imported when somebody asks for them: an annotation says `config.Rollout`, whoever resolves it
finds the class, and who only reads a document without one does not wait for it.
"""

from typing import TYPE_CHECKING

from canary_health.face import lazy_face

if TYPE_CHECKING:
    from canary_trio.config.auth import BasicAuth, ForwardAuth
    from canary_trio.config.rollout import Rollout

    __all__ = ["BasicAuth", "ForwardAuth", "Rollout"]
else:
    __getattr__, __dir__ = lazy_face(
        __name__, {"auth": "BasicAuth ForwardAuth", "rollout": "Rollout"}
    )
