"""A Spark session that works at once, and frames for it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

from ._arrow import needs


def spark(app: str = "kragle", **conf: Any) -> Any:
    """Return the Spark session, made at the first call.

    SPARK_REMOTE (sc://host:port) is a Spark Connect server to use; without it Spark
    runs in this machine's processors, with its files in a temporary folder and
    nothing open to the network. ``conf`` are settings, with _ for the dots:
    ``kg.spark(spark_sql_shuffle_partitions=8)``.
    """
    sql = needs("pyspark.sql", "kg.spark")
    running = sql.SparkSession.getActiveSession()
    if running is not None and not conf:
        return running
    builder = sql.SparkSession.builder.appName(app)
    settings = {"spark.sql.execution.arrow.pyspark.enabled": "true", "spark.ui.showConsoleProgress": "false"}
    if os.environ.get("SPARK_REMOTE"):
        builder = builder.remote(os.environ["SPARK_REMOTE"])
    else:
        builder = builder.master(os.environ.get("SPARK_MASTER", "local[*]"))
        settings |= _local()
    settings |= {name.replace("_", "."): str(value) for name, value in conf.items()}
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _local() -> dict[str, str]:
    """Settings of a session on one machine. Its folder ends with this process."""
    folder = tempfile.mkdtemp(prefix="kragle-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": str(max(2, os.cpu_count() or 2)),
        "spark.sql.warehouse.dir": os.path.join(folder, "warehouse"),
        "spark.local.dir": folder,
        "spark.sql.session.timeZone": "UTC",
        "spark.log.level": "ERROR",
    }


def from_arrow(table: Any) -> Any:
    """Return an Arrow table as a Spark frame."""
    session = spark()
    try:
        return session.createDataFrame(table)  # Spark 4 takes Arrow tables
    except Exception as error:
        if "DataFrame" not in str(error) and "schema" not in str(error).lower():
            raise
        from ._arrow import to_pandas

        return session.createDataFrame(to_pandas(table))
