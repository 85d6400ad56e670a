# The web server of this project, from the pinned requirements. compose.yaml runs it with PostgreSQL;
# docs/deploy.md says what to set.
FROM python:3.11-slim-bookworm AS packages
WORKDIR /srv/chat
COPY requirements.txt ./
RUN python -m venv /srv/venv && /srv/venv/bin/python -m pip install --no-cache-dir -r requirements.txt

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 chat && useradd --uid 10001 --gid chat --home-dir /nonexistent --shell /usr/sbin/nologin chat \
    && install -d -o chat -g chat -m 700 /srv/data
WORKDIR /srv/chat
COPY --from=packages /srv/venv /srv/venv
COPY manage.py ./
COPY chatproject chatproject
COPY conversations conversations
ENV PATH=/srv/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CHATPROJECT_DATA=/srv/data
# The generated secret key and the collected static files; without DATABASE_URL, the database too.
VOLUME /srv/data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "manage.py", "quickstart", "--host", "0.0.0.0", "--port", "8000", "--no-sample"]
