# One image for web and workers: docker compose says which of them it is.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1
WORKDIR /srv/jobcenter

COPY pyproject.toml README.md LICENSE manage.py ./
COPY constraints constraints
COPY jobs jobs
COPY jobcenter jobcenter
RUN pip install --constraint constraints/py313-django61.txt ".[postgres,demo]" \
    && useradd --system jobcenter

USER jobcenter
EXPOSE 8000
CMD ["uvicorn", "jobcenter.asgi:application", "--host", "0.0.0.0", "--port", "8000"]
