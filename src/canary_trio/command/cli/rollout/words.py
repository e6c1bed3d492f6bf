"""What the commands of rollouts take as words: shares such as 5%, and steps of them."""

from __future__ import annotations

from typing import Any


def read_share(text: str) -> float:
    """Read a share of all traffic.

    >>> read_share("5%"), read_share("0.25"), read_share("1")
    (0.05, 0.25, 1.0)

    Raises:
        ValueError: it is none.
    """
    percent = text.strip().endswith("%")
    try:
        share = float(text.strip().removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"found {text!r}, expected a share such as 5% or 0.05")
    return round(share, 10)


def read_steps(
    text: str, hold: float | None, requests: int, *, mirror: bool = False
) -> list[dict[str, Any] | float]:
    """Read steps: shares with commas between, all but the last with the same hold.

    >>> read_steps("1%,50%,100%", 60, 0)
    [{'ratio': 0.01, 'hold': 60}, {'ratio': 0.5, 'hold': 60}, 1.0]
    >>> read_steps("5%,1", 0, 9, mirror=True)
    [0.0, {'ratio': 0.05, 'requests': 9}, 1.0]

    Args:
        text: the shares.
        hold: of each.
        requests: of each that users have.
        mirror: whether a step comes first that exposes nobody, if none is there.

    Raises:
        ValueError: one is no share.
    """
    shares = [read_share(part) for part in text.split(",")]
    if mirror and shares[0]:
        shares = [0.0, *shares]
    more: dict[str, Any] = {} if hold == 0 else {"hold": hold}
    if requests:
        more["requests"] = requests
    last = len(shares) - 1
    found: list[dict[str, Any] | float] = []
    for place, share in enumerate(shares):
        own = {name: one for name, one in more.items() if share or name == "hold"}
        found.append(share if place == last or not own else {"ratio": share, **own})
    return found
