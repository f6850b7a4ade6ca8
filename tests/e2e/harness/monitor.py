"""What an operator's monitoring asks."""

import http.client
import re


def ask(gateway, path):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metric(gateway, line):
    """Return the value of the metric that a line begins with."""
    _, text = ask(gateway, "/metrics")
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])
