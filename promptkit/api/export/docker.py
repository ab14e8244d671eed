"""`promptkit export docker`: a target in a folder from which a container is built that serves it."""

from __future__ import annotations

import json
from pathlib import Path

from promptkit.api.export.folder import ExportedFolder, export_folder
from promptkit.engine.pipeline import Pipeline
from promptkit.storage.files import write_atomic

DOCKERFILE = """\
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && useradd --create-home promptkit && chown promptkit /app
USER promptkit
COPY --chown=promptkit . .
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz')"]
CMD {command}
"""
IGNORED = """\
.promptkit
.git
**/__pycache__
Dockerfile
.dockerignore
README.md
"""
README = """
## As a container

```sh
docker build -t {name} .
docker run -p 127.0.0.1:8000:8000 -e PROMPTKIT_SERVE_TOKEN=SECRET {name}
```

Clients send `Authorization: Bearer SECRET`. An Ollama server on the same machine is reached with
`-e OLLAMA_HOST=http://host.docker.internal:11434`. Weights that are fetched at the first start lie in
`/home/promptkit/.cache`; a volume there keeps them.
"""


def export_docker(pipeline: Pipeline, folder: Path, *, model: str | None = None) -> ExportedFolder:
    """Write a target into a new folder, with a Dockerfile that serves it on port 8000. Raises as `export_folder`."""
    exported = export_folder(pipeline, folder, model=model)
    command = ["promptkit", "serve", exported.target, "--host", "0.0.0.0", "--port", "8000"]
    readme = folder / "README.md"
    image = "".join(sign if sign.isalnum() else "-" for sign in pipeline.name.lower()).strip("-") or "pipeline"
    write_atomic(folder / "Dockerfile", DOCKERFILE.format(command=json.dumps(command)))
    write_atomic(folder / ".dockerignore", IGNORED)
    write_atomic(readme, readme.read_text("utf-8") + README.format(name=image))
    files = tuple(sorted((*exported.files, folder / "Dockerfile", folder / ".dockerignore")))
    return ExportedFolder(folder, files, exported.target, exported.notes)
