"""A failure on one rank of an MPI test ends all its ranks at once, also those that wait for it."""

import subprocess
import time
import unittest

import saber_test

LIMIT = 20  # seconds: far below what the ranks would wait


class FailingRank(unittest.TestCase):
    def test_the_failure_is_printed_with_its_rank_and_ends_the_others(self):
        mpirun, *options = saber_test.command_line([], ranks=3)[:-1]
        program = saber_test.executable.parent / "failing_rank"
        command = ["timeout", "-k", "5", str(LIMIT), mpirun, *options, str(program)]
        start = time.monotonic()
        result = subprocess.run(command, env=saber_test.environment({}), capture_output=True, text=True,
                                timeout=2 * LIMIT, check=False)
        said = f"status {result.returncode} after {time.monotonic() - start:.1f} s\n{result.stdout}\n{result.stderr}"
        self.assertEqual(result.returncode, 1, said)  # 124: the time limit
        self.assertIn("meant to fail here", result.stdout, said)
        self.assertIn("rank 2 of 3 fails in FailingRank.Fails and ends all ranks", result.stderr, said)


if __name__ == "__main__":
    saber_test.main()
