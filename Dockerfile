# syntax=docker/dockerfile:1
#
#   docker build --target cpu -t quire:cpu .
#   docker build --target gpu -t quire:gpu .
#
# Versions are those of the locks, without what only tests need. The base images are pinned by their full version; pin
# them by digest in your own registry, and Debian's and Ubuntu's few packages come with it. Model files of the CPU engine
# come inside its package; the GPU engine's are mounted or fetched when it runs. Nothing secret is needed to build.

FROM python:3.11.14-slim-bookworm AS cpu-build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/quire
WORKDIR /source
COPY requirements-ci.lock pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
RUN /opt/quire/bin/pip install --constraint requirements-ci.lock ".[mupdf,cpu,heic,http,ray,report]"

FROM python:3.11.14-slim-bookworm AS cpu
# libseccomp2 is a wall of the cage, tesseract-ocr is for --engine tesseract, wget for KubeRay's probes; the wheels bring
# all else.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libseccomp2 tesseract-ocr wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin quire
COPY --from=cpu-build /opt/quire /opt/quire
ENV PATH=/opt/quire/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/quire
ENTRYPOINT ["quire"]
CMD ["--help"]

# The CUDA of this base is the one that the locked torch is built for (13.0).
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04 AS gpu-build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.12 python3.12-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3.12 -m venv /opt/quire
WORKDIR /source
COPY requirements-gpu.lock ./
RUN /opt/quire/bin/pip install --requirement requirements-gpu.lock
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
RUN /opt/quire/bin/pip install --no-deps .

FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04 AS gpu
# A compiler and Python's headers: Triton builds its launchers when the engine starts. libseccomp2 is a wall of the cage,
# wget is for KubeRay's probes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.12 python3.12-dev gcc libc6-dev libseccomp2 wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin quire
COPY --from=gpu-build /opt/quire /opt/quire
ENV PATH=/opt/quire/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/quire
ENTRYPOINT ["quire"]
CMD ["--help"]
