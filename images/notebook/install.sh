#!/bin/sh
# Makes a Debian system the unified environment of notebooks: Python with the
# packages of the lock files, R, a bash kernel, a JVM with PySpark and SparkSQL.
# It runs inside that system, as root, with this folder and the lock file of
# Quire's Python beside it: in a container's build and in tools/image.sh alike.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2046 # a word a package
apt-get install -qq -y --no-install-recommends $(cat "$here/packages.txt")
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin

python3 -m venv /opt/quire/python
pip="/opt/quire/python/bin/pip --disable-pip-version-check --no-cache-dir"
$pip install --require-hashes --only-binary :all: -r "$here/python.lock"
# PySpark is published as source only, and built with what its lock file names.
awk '/^[a-z]/ { on = /^(setuptools|wheel)==/ } on' "$here/spark.lock" >/tmp/spark-build.lock
$pip install --require-hashes --only-binary :all: -r /tmp/spark-build.lock
$pip install --require-hashes --only-binary :all: --no-binary pyspark --no-build-isolation -r "$here/spark.lock"
$pip install --require-hashes --no-deps -r "$here/requirements.lock"
rm /tmp/spark-build.lock
/opt/quire/python/bin/python -m bash_kernel.install --sys-prefix
# IRkernel asks Jupyter where kernels are.
PATH=/opt/quire/python/bin:$PATH R --slave -e 'IRkernel::installspec(prefix="/opt/quire/python")'

# Who is inside has no account of the machine: what it is called comes from
# QUIRE_USER, and its home is given by whoever starts the container.
cat >/etc/profile.d/quire.sh <<'PROFILE'
export QUIRE_ENV=/opt/quire/python
export JUPYTER_PATH=/opt/quire/python/share/jupyter
export JAVA_HOME=/usr/lib/jvm/default-java
export PATH=/opt/quire/python/bin:$PATH
export NB_USER=${QUIRE_USER:-quire}
PROFILE
/opt/quire/python/bin/python - <<'CHECK'
import importlib
for name in ["numpy", "pandas", "matplotlib", "polars", "pyarrow", "ipykernel", "bash_kernel", "pyspark", "pyspark.sql"]:
    importlib.import_module(name)
CHECK
/opt/quire/python/bin/pip freeze --all >/opt/quire/packages.txt
