"""File descriptors: how many the process may have, and what that leaves for connections."""

import resource

_RESERVED = 128
"""For the queue, its threads, listening sockets, connections to upstreams, and what Python opens by itself."""

_SHARE_OF_CONNECTIONS = 3, 4
"""The rest is for uploads that wait on disk."""


def connections_for(wanted: int) -> int:
    """
    Return how many of the wanted connections the process has descriptors for.

    Raises its soft limit as far as it needs and the hard one lets it: the soft one is often 1,024 for the sake of
    programs that use select(2), which this one doesn't.
    """
    part, whole = _SHARE_OF_CONNECTIONS
    needed = (wanted + _RESERVED) * whole // part + whole
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft * part // whole - _RESERVED))
