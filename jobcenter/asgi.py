"""The ASGI application that a web server loads, and a steward beside it.

The steward is a candidate like those of the workers: should every worker die at once, this process still finds out.
"""

import os
import warnings

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobcenter.settings")

# WhiteNoise answers with files that Django then reads at once, in a thread: meant, they are small.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

application = get_asgi_application()

from jobs.maintenance import host  # noqa: E402 - needs the apps that the line above has loaded

host.start("web")
