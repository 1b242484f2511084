"""The ASGI application that a web server loads."""

import os
import warnings

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobcenter.settings")

# WhiteNoise answers with files that Django then reads at once, in a thread: meant, they are small.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

application = get_asgi_application()
