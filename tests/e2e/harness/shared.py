"""What gateways that share a queue need beside themselves."""

import subprocess
import sys

from harness.gateway import Gateway


def upgrade(gateway: Gateway) -> str:
    """Make the queue that the gateway's settings name ready, as an operator does; return what that printed."""
    gateway.write_settings()
    command = "from mailgate.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "queue", "upgrade", "--config", gateway.stage.settings],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
