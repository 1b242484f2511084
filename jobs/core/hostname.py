"""The name of this host, as rows and events store it."""

import socket

HOSTNAME = socket.gethostname()[:200]
