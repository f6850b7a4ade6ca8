"""From the queue to the internal server: route, pool, ESMTP, dispatcher."""
