"""The deck's cells on a real Spark, where tools/test-env.sh has installed one."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import kragle as kg
import pyarrow as pa
from kragle import _arrow

spark = kg.spark()
assert kg.spark() is spark
playback = _arrow.convert(pa.table({"device_type": ["TV", "phone", "TV"], "seconds": [1, 2, 3]}), "spark")
playback.createOrReplaceTempView("playback")
spark.sql('''CREATE TABLE vid_agg_fr_2018_05_08 AS
(
  SELECT
    device_type,
    sum(seconds) AS seconds
  FROM playback
  GROUP BY device_type
)''')
rows = {row.device_type: row.seconds for row in spark.table("vid_agg_fr_2018_05_08").collect()}
assert rows == {"TV": 4, "phone": 2}, rows
back = _arrow.reader_of(spark.table("vid_agg_fr_2018_05_08"), "write").read_all()
assert sorted(back["seconds"].to_pylist()) == [2, 4]
print("spark", spark.version)
spark.stop()
"""

if os.environ.get("QUIRE_TEST_SPARK"):

    class Spark(unittest.TestCase):
        def test_the_decks_cells(self):
            argv = [os.environ["QUIRE_TEST_SPARK"], "-c", PROGRAM, str(Path(__file__).parent.parent)]
            with tempfile.TemporaryDirectory() as folder:
                environment = {**os.environ, "TMPDIR": folder}
                done = subprocess.run(argv, capture_output=True, text=True, timeout=600, env=environment, cwd=folder)
                left = [one for one in os.listdir(folder) if one.startswith("kragle-spark-")]
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            self.assertIn("spark 4.", done.stdout)
            self.assertEqual(left, [])
