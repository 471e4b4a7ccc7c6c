# docker build --target flight --platform linux/arm64 -t hyvic-flight .     what a Jetson flies
# docker build --target ground -t hyvic-ground .                            what decodes
# docker build --target train -t hyvic-train .                              what trains and exports
#
# docs/jetson.md says how to run them, and which of these steps were tried where.

# JetPack 7.2 (Jetson Linux 39.2): Ubuntu 24.04, Python 3.12, CUDA 13.2. NVIDIA makes no l4t-jetpack image of it: Orin
# runs the images of every Arm server. JetPack 6 has Python 3.10, which is too old for this package.
ARG JETPACK=nvcr.io/nvidia/cuda:13.2.1-base-ubuntu24.04
ARG DEBIAN=debian:bookworm-slim


# TensorRT and its Python module, as JetPack has them. The stages below ask no more of this one than apt-get.
FROM ${JETPACK} AS jetpack
ARG JETSON_LINUX=r39.2
ADD --chmod=644 https://repo.download.nvidia.com/jetson/jetson-ota-public.asc /etc/apt/keyrings/jetson.asc
# The base image's own repository has other versions of TensorRT. Its compat/ would hide the driver that a Jetson lends.
RUN echo "deb [signed-by=/etc/apt/keyrings/jetson.asc] https://repo.download.nvidia.com/jetson/common ${JETSON_LINUX} main" \
      > /etc/apt/sources.list.d/jetson.list \
 && printf 'Package: *nvinfer* *nvonnxparsers*\nPin: origin repo.download.nvidia.com\nPin-Priority: 1001\n' \
      > /etc/apt/preferences.d/jetson \
 && apt-get update \
 && apt-get install -y --no-install-recommends python3-libnvinfer \
 && rm -rf /var/lib/apt/lists/* /usr/local/cuda*/compat


FROM jetpack AS flight-base
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home hyvic \
 && install -d -o hyvic -g hyvic /data

FROM flight-base AS flight-build
# TensorRT's module lies among the system's packages.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libpython3-dev python3-venv \
 && python3 -m venv --system-site-packages /opt/hyvic
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY train train
COPY export export
COPY runtime runtime
COPY ccsds_compare ccsds_compare
# What else lies among them stays behind: no requirement may be met there. setuptools leaves the C code out without a
# word if it does not compile, so it is imported here.
RUN /opt/hyvic/bin/pip install --no-cache-dir --ignore-installed '.[cpu,security,tensorrt]' 'cuda-bindings==13.2.*' \
 && /opt/hyvic/bin/python -c 'import hyvic_runtime.kernels._native' \
 && /opt/hyvic/bin/pip uninstall -y pip setuptools

FROM flight-base AS flight
COPY --from=flight-build /opt/hyvic /opt/hyvic
ENV PATH=/opt/hyvic/bin:$PATH
USER hyvic
WORKDIR /data
ENTRYPOINT ["encode-scene"]
CMD ["--help"]


FROM ${DEBIAN} AS ground-base
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home hyvic \
 && install -d -o hyvic -g hyvic /data

FROM ground-base AS ground-build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libpython3-dev python3-venv \
 && python3 -m venv /opt/hyvic
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY train train
COPY export export
COPY runtime runtime
COPY ccsds_compare ccsds_compare
RUN /opt/hyvic/bin/pip install --no-cache-dir '.[cpu,formats,security,archive]' \
 && /opt/hyvic/bin/python -c 'import hyvic_runtime.kernels._native' \
 && /opt/hyvic/bin/pip uninstall -y pip setuptools

FROM ground-base AS ground
COPY --from=ground-build /opt/hyvic /opt/hyvic
ENV PATH=/opt/hyvic/bin:$PATH
USER hyvic
WORKDIR /data
ENTRYPOINT ["decode-packets"]
CMD ["--help"]


# PyPI's torch for x86-64 brings its CUDA.
FROM ground-build AS train-build
RUN /opt/hyvic/bin/python -m ensurepip \
 && /opt/hyvic/bin/python -m pip install --no-cache-dir '.[train,export,compare]' \
 && /opt/hyvic/bin/python -m pip uninstall -y pip setuptools

FROM ground-base AS train
COPY --from=train-build /opt/hyvic /opt/hyvic
ENV PATH=/opt/hyvic/bin:$PATH
USER hyvic
WORKDIR /data
ENTRYPOINT ["train-model"]
CMD ["--help"]
