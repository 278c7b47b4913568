"""Demonstrations that come from elsewhere: selections in and out of `saber eval`, and a model that knows its library alone."""

import json
import shutil

import h5py

import saber_test
from saber_test import json_lines, run_well
from test_select_eval import NUM_VALIDATION, ROW_NAMES, SHOTS, Evaluated


class Selections(Evaluated):
    def test_selections_come_back_as_rows(self):
        """What every row showed is saved, and as selections of another evaluation gives the same outcomes, on any ranks."""
        folder = saber_test.work / "selections"
        for head, ranks in (("replicated", None), ("replicated", 2), ("sharded", 2)):
            output = saber_test.work / "eval-saving.json"
            shutil.rmtree(folder, ignore_errors=True)
            self.evaluate(output, ranks=ranks, eval__save_selections=folder, model__head=head)
            self.assertEqual(output.read_bytes(), self.output.read_bytes())
            self.assertEqual(sorted(path.stem for path in folder.iterdir()), sorted(ROW_NAMES))
            lines = json_lines(folder / "random.jsonl")
            self.assertEqual(len(lines), NUM_VALIDATION)
            self.assertEqual({len(line["demonstrations"]) for line in lines}, {SHOTS})
            renamed = [folder / f"their_{name}.jsonl" for name in ("iq2iq", "saber", "zero_shot")]
            for path in renamed:
                (folder / f"{path.stem.removeprefix('their_')}.jsonl").rename(path)
            output = saber_test.work / "eval-selections.json"
            self.evaluate(output, ranks=ranks, eval__selections=",".join(map(str, renamed)), eval__baselines="false",
                          model__head=head)
            rows = {row["name"]: row for row in json.loads(output.read_text())["rows"]}
            self.assertEqual(list(rows), ["their_iq2iq", "their_saber", "their_zero_shot", "saber"])
            for name, row in rows.items():
                same = self.by_name[name.removeprefix("their_")]
                self.assertEqual(row["correct"], same["correct"], name)
                for one, other in zip(row["log_likelihoods"], same["log_likelihoods"]):
                    self.assertAlmostEqual(one, other, places=5)

    def test_selections_of_select(self):
        chosen, output = saber_test.work / "chosen.jsonl", saber_test.work / "eval-chosen.json"
        self.select(chosen, select__split="validation")
        self.evaluate(output, eval__selections=chosen)
        rows = json.loads(output.read_text())["rows"]
        self.assertEqual([row["name"] for row in rows], ROW_NAMES[:9] + ["chosen"] + ROW_NAMES[9:])
        self.assertEqual(rows[9]["correct"], rows[10]["correct"])

    def test_selections_that_cannot_be_used(self):
        chosen, output = saber_test.work / "bad.jsonl", saber_test.work / "none.json"
        self.select(chosen, select__split="validation")
        lines = chosen.read_text().splitlines(keepends=True)
        ids = [shot["id"] for line in map(json.loads, lines) for shot in line["demonstrations"]]
        long = json.dumps({"id": json.loads(lines[0])["id"], "demonstrations": [{"id": id} for id in ids[:9]]}) + "\n"
        saber = saber_test.work / "saber.jsonl"
        for path, text, words in ((chosen, lines[1:], "bad.jsonl: has no line for query"),
                                  (chosen, [long, *lines[1:]], "reads at most 8"),
                                  (chosen, ["{}\n"], "bad.jsonl line 1: is no"),
                                  (saber, lines, "names two rows saber")):
            path.write_text("".join(text))
            for ranks in (None, 2):
                result = saber_test.run(["eval", *self.world.data_args(**{
                    "run__dir": self.run_folder, "eval__output": output, "eval__selections": path})], ranks=ranks)
                self.assertEqual(result.status, 2, result)
                self.assertEqual(len(result.lines("error")), 1, result)
                self.assertIn(words, result.lines("error")[0])
                self.assertFalse(output.exists())

    def test_a_table_of_ids_knows_its_own_library_alone(self):
        run_folder, output = saber_test.work / "id-table", saber_test.work / "id-table.json"
        run_well(self.world.train_args(run_folder, model__kind="id_table", train__stages="imitate 3 epochs"))
        self.evaluate(output, run__dir=run_folder)
        self.evaluate(saber_test.work / "id-table-2.json", run__dir=run_folder, ranks=2, model__head="sharded")
        self.assertEqual((saber_test.work / "id-table-2.json").read_bytes(), output.read_bytes())
        other = saber_test.work / "other-library.h5"
        for change in (lambda file: file["image"].__setitem__(0, file["image"][0][::-1]),
                       lambda file: file["split"].__setitem__(0, 1)):  # another one, and a smaller one
            shutil.copy(self.world.embeddings, other)
            with h5py.File(other, "r+") as file:
                change(file)
            for command in ("eval", "select"):
                result = saber_test.run([command, *self.world.data_args(**{
                    "run__dir": run_folder, "eval__output": output, "data__embeddings": other})])
                self.assertEqual(result.status, 2, result)
                self.assertIn("knows no other library", result.lines("error")[0])


if __name__ == "__main__":
    saber_test.main()
